"use strict";
/* The three screens: what it is about, a pair with its questions, and the answers as a file. */
(() => {
  const me = study;
  const { el, fill } = me;
  const view = document.getElementById("view");
  const CODE = /^[a-z0-9_-]{1,40}$/;
  let leave = () => {}; // what ends the screen that is shown

  function show(name, ...children) {
    document.body.dataset.screen = name;
    fill(view, ...children);
    scrollTo(0, 0);
    view.querySelector("h1").focus({ preventScroll: true });
  }

  const heading = (text) => el("h1", { tabindex: "-1" }, text);
  const cleaned = (text) => text.trim().toLowerCase();

  // --- what it is about

  function welcome() {
    leave();
    leave = () => {};
    const { pairs, repeats, check, questions } = me.words;
    const number = pairs.length + repeats + (check ? 1 : 0);
    const asked = new URLSearchParams(location.search).get("rater");
    const known = [asked && cleaned(asked), me.lastRater()].find((code) => code && CODE.test(code));
    const field = el("input", {
      id: "rater",
      name: "rater",
      value: known || me.code(),
      maxlength: 40,
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      "aria-describedby": "about-code found",
      oninput: found,
    });
    const told = el("p", { id: "found", class: "quiet", "aria-live": "polite" });
    function found() {
      const code = cleaned(field.value);
      const done = CODE.test(code) ? (me.open(code), me.answered()) : 0;
      fill(told, done ? `With this code ${done} of ${number} are answered on this device: it goes on there.` : "");
    }
    const form = el(
      "form",
      {
        class: "begin",
        onsubmit: (event) => {
          event.preventDefault();
          const code = cleaned(field.value);
          if (!CODE.test(code)) {
            fill(told, "A code has letters a to z, digits, - and _, 40 at most.");
            field.focus();
            return;
          }
          const { trials } = me.open(code);
          me.keep();
          const next = trials.findIndex((_, at) => !me.whole(at));
          next < 0 ? finish() : trial(next);
        },
      },
      el("label", { for: "rater" }, "Your code"),
      el("div", { class: "together" }, field, el("button", { class: "main" }, "Begin")),
      el(
        "p",
        { id: "about-code", class: "quiet" },
        "Keep this one, or choose your own; with the same code you can go on later on this device. Please do not use your name.",
      ),
      told,
    );
    show(
      "welcome",
      heading("Compare videos"),
      el(
        "p",
        {},
        `You will see ${number} sets of short videos without sound. Each was made to show what a text says, moving as the reference video does. Watch them as often as you like, then choose one video for each of ${questions.length} questions; where none stands out, choose the one you would rather.`,
      ),
      el("ol", { class: "asked" }, questions.map(({ text }) => el("li", {}, text))),
      form,
      el(
        "p",
        { class: "quiet" },
        "Your answers stay on this device until you hand them over yourself: at the end they are saved as a file. It has your code, what you chose, and how many seconds each set was open; nothing else.",
      ),
    );
    found();
  }

  // --- one pair

  function trial(number) {
    leave();
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
      number + 1 < trials.length ? trial(number + 1) : finish();
    }

    const bar = el("progress", { max: trials.length, "aria-label": "sets answered" });
    const progress = () => (bar.value = me.answered());

    function pressed(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { tagName: tag, type, checked } = event.target;
      const place = /^[1-9]$/.test(event.key)
        ? Number(event.key) - 1
        : event.key.length === 1
          ? event.key.toLowerCase().charCodeAt(0) - 97
          : -1;
      if (place >= 0 && place < order.length && tag !== "SELECT") choose(current, place, true);
      else if (event.key === " " && !["BUTTON", "SELECT"].includes(tag) && (type !== "radio" || checked)) player.toggle();
      else if (event.key === "Enter" && !["BUTTON", "A"].includes(tag)) onward();
      else return;
      event.preventDefault();
    }

    const shownOne = (tile, name) =>
      el("figure", { class: tile ? null : "reference" }, player.canvas(tile, name), el("figcaption", { "aria-hidden": "true" }, name.replace("Video ", "")));
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
        el("button", { type: "button", disabled: number === 0, onclick: () => trial(number - 1) }, "Back"),
        el("button", { class: "main" }, number + 1 < trials.length ? "Next" : "Finish"),
        problem,
      ),
    );
    document.addEventListener("keydown", pressed);
    document.addEventListener("visibilitychange", seen);
    leave = () => {
      document.removeEventListener("keydown", pressed);
      document.removeEventListener("visibilitychange", seen);
      if (!document.hidden) count();
      me.keep();
      player.end();
    };
    show(
      "trial",
      el("div", { class: "top" }, heading(`Set ${number + 1} of ${trials.length}`), bar),
      kind === "check"
        ? el("p", { class: "prompt check" }, `A check that somebody is looking: please choose ${me.letter(order.indexOf(asked))} in every question, whatever is shown.`)
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
        el("span", { class: "keys" }, `Keys: ${order.map((_, place) => place + 1).join(" ")} choose, Enter goes on, Space plays and pauses. `),
        el("button", { type: "button", class: "plain", onclick: finish }, "Stop here and save"),
      ),
      player.video,
    );
    turn(current);
    progress();
    player.start();
    if (number + 1 < trials.length) me.ahead(trials[number + 1].pair);
  }

  // --- the answers

  function finish() {
    leave();
    leave = () => {};
    const { trials, keeps } = me.state;
    const done = me.answered();
    const text = el("textarea", { readonly: true, rows: 6, "aria-label": "your answers as text" });
    text.value = JSON.stringify(me.answers());
    const copied = el("span", { class: "quiet", role: "status" });
    const next = trials.findIndex((_, at) => !me.whole(at));
    show(
      "finish",
      heading(done === trials.length ? "Thank you" : "Save your answers"),
      el("p", {}, `${done} of ${trials.length} sets are answered. Save the answers and send the file to whoever asked you.`),
      el(
        "p",
        { class: "row" },
        el("button", { type: "button", class: "main", id: "save", onclick: me.download }, "Save the answers"),
        el("button", { type: "button", onclick: () => trial(next < 0 ? trials.length - 1 : next) }, next < 0 ? "Back" : "Go on"),
      ),
      el("p", { class: "quiet" }, me.fileName()),
      el(
        "details",
        {},
        el("summary", {}, "Or copy them as text"),
        text,
        el(
          "p",
          { class: "row" },
          el(
            "button",
            {
              type: "button",
              id: "copy",
              onclick: async () => fill(copied, (await me.copy(text)) ? "Copied." : "Select the text and copy it."),
            },
            "Copy",
          ),
          copied,
        ),
      ),
      keeps ? null : el("p", { class: "note" }, "This browser keeps nothing for this page: save before you close it."),
      el("button", { type: "button", class: "plain", onclick: welcome }, "Another code"),
    );
  }

  if (me.words) welcome();
  else fill(view, el("h1", {}, "Compare videos"), el("p", { class: "note" }, "data.js is not beside this page."));
  document.body.dataset.ready = "";
})();
