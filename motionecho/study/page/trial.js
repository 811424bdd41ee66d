"use strict";
/* The screen of a pair: its videos, its questions, and the keys that answer them. */
(() => {
  const me = study;
  const { el, fill } = me;

  me.trial = (number) => {
    const { trials } = me.state;
    const { kind, pair, order, asked } = trials[number];
    const kept = me.of(number);
    const player = me.play(pair);
    let since = performance.now();
    const count = () => {
      kept.seconds += (performance.now() - since) / 1000;
      since = performance.now();
    };
    const seen = () => (document.hidden ? count() : (since = performance.now()));

    const fields = me.words.questions.map((question, at) => {
      const choices = order.map((tile, place) => {
        const input = el("input", {
          type: "radio",
          name: question.id,
          value: tile,
          ".checked": kept.answers[question.id] === tile,
          onchange: () => choose(at, place, false),
          onfocus: () => turn(at),
        });
        return el("label", { class: "pick" }, input, el("span", {}, me.letter(place)));
      });
      return el(
        "fieldset",
        { class: "question", onclick: () => turn(at) },
        el("legend", {}, question.text),
        el("div", { class: "picks" }, choices),
      );
    });
    const radios = (at) => [...fields[at].querySelectorAll("input")];
    const open = () => me.words.questions.findIndex(({ id }) => !kept.answers[id]);
    const problem = el("p", { class: "quiet", id: "problem", role: "alert" });
    let current = Math.max(0, open());

    function turn(at) {
      current = at;
      fields.forEach((field, n) => field.classList.toggle("current", n === at));
    }

    function choose(at, place, on) {
      radios(at)[place].checked = true;
      kept.answers[me.words.questions[at].id] = order[place];
      me.keep();
      fill(problem);
      progress();
      if (on) {
        me.say(`question ${at + 1}: ${me.letter(place)}`);
        turn(Math.min(at + 1, fields.length - 1));
      }
    }

    function onward() {
      const left = open();
      if (left >= 0) {
        fill(problem, `Question ${left + 1} has no answer yet.`);
        turn(left);
        radios(left)[0].focus();
        return;
      }
      number + 1 < trials.length ? me.trial(number + 1) : me.finish();
    }

    const bar = el("progress", { max: trials.length, "aria-label": "sets answered" });
    const progress = () => (bar.value = me.answered());

    function pressed(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return; // one that is held says it once
      const { tagName: tag, type, checked } = event.target;
      const place = /^[1-9]$/.test(event.key)
        ? Number(event.key) - 1
        : event.key.length === 1
          ? event.key.toLowerCase().charCodeAt(0) - 97
          : -1;
      if (place >= 0 && place < order.length && tag !== "SELECT") choose(current, place, true);
      else if (event.key === " " && !["BUTTON", "SELECT"].includes(tag) && (type !== "radio" || checked))
        player.toggle();
      else if (event.key === "Enter" && !["BUTTON", "A"].includes(tag)) onward();
      else return;
      event.preventDefault();
    }

    const shownOne = (tile, name) =>
      el(
        "figure",
        { class: tile ? null : "reference" },
        player.canvas(tile, name),
        el("figcaption", { "aria-hidden": "true" }, name.replace("Video ", "")),
      );
    const form = el(
      "form",
      {
        class: "questions",
        "aria-label": "Questions",
        onsubmit: (event) => {
          event.preventDefault();
          onward();
        },
      },
      fields,
      el(
        "div",
        { class: "onward" },
        el("button", { type: "button", disabled: number === 0, onclick: () => me.trial(number - 1) }, "Back"),
        el("button", { class: "main" }, number + 1 < trials.length ? "Next" : "Finish"),
        problem,
      ),
    );
    document.addEventListener("keydown", pressed);
    document.addEventListener("visibilitychange", seen);
    const leave = () => {
      document.removeEventListener("keydown", pressed);
      document.removeEventListener("visibilitychange", seen);
      if (!document.hidden) count();
      me.keep();
      player.end();
    };
    me.show(
      "trial",
      leave,
      el("div", { class: "top" }, me.heading(`Set ${number + 1} of ${trials.length}`), bar),
      kind === "check"
        ? el(
            "p",
            { class: "prompt check" },
            `A check that somebody is looking: please choose ${me.letter(order.indexOf(asked))} in every question, whatever is shown.`,
          )
        : el("p", { class: "prompt" }, el("span", { class: "quiet" }, "The text: "), pair.prompt),
      el(
        "div",
        { class: order.length > 3 ? "stage wide" : "stage", "data-videos": order.length },
        shownOne(0, "Reference"),
        order.map((tile, place) => shownOne(tile, `Video ${me.letter(place)}`)),
      ),
      player.lost,
      player.controls,
      form,
      el(
        "p",
        { class: "quiet foot" },
        el(
          "span",
          { class: "keys" },
          `Keys: ${order.map((_, place) => place + 1).join(" ")} choose, Enter goes on, Space plays and pauses. `,
        ),
        el("button", { type: "button", class: "plain", onclick: me.finish }, "Stop here and save"),
      ),
      player.video,
    );
    turn(current);
    progress();
    player.start();
    if (number + 1 < trials.length) me.ahead(trials[number + 1].pair);
  };
})();
