"use strict";
/* What a rater has answered: kept in this browser after every answer, and handed over as a file or as text. */
(() => {
  const me = study;
  const here = () => `video-study/${me.words.study}`;
  const whose = (rater) => `${here()}/rater/${rater}`; // no code is mistaken for another name

  function stored(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // a browser that keeps nothing for pages of a disk, or for nobody
    }
  }

  /** Return the code that was used last for this study in this browser, or null. */
  me.lastRater = () => stored(`${here()}/last`);

  /** Open what a rater has answered: by the number of the trial, {answers: {question: tile}, seconds}. */
  me.open = (rater) => {
    let done = {};
    try {
      done = JSON.parse(stored(whose(rater))) || {};
    } catch {
      done = {}; // cut short: nothing to go on with
    }
    me.state = { rater, done, trials: me.trials(me.words, rater), keeps: true };
    return me.state;
  };

  me.of = (number) => (me.state.done[number] ??= { answers: {}, seconds: 0 });

  me.keep = () => {
    try {
      localStorage.setItem(whose(me.state.rater), JSON.stringify(me.state.done));
      localStorage.setItem(`${here()}/last`, me.state.rater);
    } catch {
      me.state.keeps = false;
    }
  };

  me.whole = (number) => me.words.questions.every(({ id }) => me.of(number).answers[id]);

  me.answered = () => me.state.trials.filter((_, number) => me.whole(number)).length;

  /** Return the file of answers, as it is tallied. */
  me.answers = () => {
    const { rater, trials } = me.state;
    const rows = trials.map(({ kind, pair, order, asked }, number) => {
      const { answers, seconds } = me.of(number);
      return { kind, pair: pair.pair, order, ...(asked && { asked }), answers, seconds: Math.round(seconds) };
    });
    return {
      schema_version: 1,
      study: me.words.study,
      rater,
      saved_at: new Date().toISOString(),
      of: trials.length,
      trials: rows.filter(({ answers }) => Object.keys(answers).length),
    };
  };

  me.fileName = () => `answers-${me.words.study.slice(0, 6)}-${me.state.rater}.json`;

  me.download = () => {
    const url = URL.createObjectURL(
      new Blob([JSON.stringify(me.answers(), null, 1)], { type: "application/json" }),
    );
    const link = me.el("a", { href: url, download: me.fileName() });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    me.say("answers saved as a file");
  };

  /** Copy a field's text; resolves to whether that went well. */
  me.copy = async (field) => {
    try {
      await navigator.clipboard.writeText(field.value);
      return true;
    } catch {
      field.select(); // where there is no clipboard for pages, the old way
      return document.execCommand("copy");
    }
  };
})();
