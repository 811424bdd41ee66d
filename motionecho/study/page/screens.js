"use strict";
/* The first screen and the last: what it is about, and the answers as a file. */
(() => {
  const me = study;
  const { el, fill } = me;
  const CODE = /^[a-z0-9_-]{1,40}$/;
  const cleaned = (text) => text.trim().toLowerCase();

  // --- what it is about

  function welcome(fresh) {
    const { pairs, repeats, check, questions } = me.words;
    const number = pairs.length + repeats + (check ? 1 : 0);
    const asked = new URLSearchParams(location.search).get("rater");
    const known = [asked && cleaned(asked), me.lastRater()].find((code) => code && CODE.test(code));
    const field = el("input", {
      id: "rater",
      name: "rater",
      value: (!fresh && known) || me.code(),
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
      fill(
        told,
        done ? `With this code ${done} of ${number} are answered on this device: it goes on there.` : "",
      );
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
          next < 0 ? me.finish() : me.trial(next);
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
    me.show(
      "welcome",
      null,
      me.heading("Compare videos"),
      el(
        "p",
        {},
        `You will see ${number} sets of short videos without sound. Each was made to show what a text says, moving as the reference video does. Watch them as often as you like, then choose one video for each of ${questions.length} questions; where none stands out, choose the one you would rather.`,
      ),
      el(
        "ol",
        { class: "asked" },
        questions.map(({ text }) => el("li", {}, text)),
      ),
      form,
      el(
        "p",
        { class: "quiet" },
        "Your answers stay on this device until you hand them over yourself: at the end they are saved as a file. It has your code, what you chose, and how many seconds each set was open; nothing else.",
      ),
    );
    found();
  }

  // --- the answers

  me.finish = () => {
    const { trials, keeps } = me.state;
    const done = me.answered();
    const text = el("textarea", { readonly: true, rows: 6, "aria-label": "your answers as text" });
    const copied = el("span", { class: "quiet", role: "status" });
    const next = trials.findIndex((_, at) => !me.whole(at));
    me.show(
      "finish",
      null,
      me.heading(done === trials.length ? "Thank you" : "Save your answers"),
      el(
        "p",
        {},
        `${done} of ${trials.length} sets are answered. Save the answers and send the file to whoever asked you.`,
      ),
      el(
        "p",
        { class: "row" },
        el("button", { type: "button", class: "main", id: "save", onclick: me.download }, "Save the answers"),
        el(
          "button",
          { type: "button", onclick: () => me.trial(next < 0 ? trials.length - 1 : next) },
          next < 0 ? "Back" : "Go on",
        ),
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
              onclick: async () =>
                fill(copied, (await me.copy(text)) ? "Copied." : "Select the text and copy it."),
            },
            "Copy",
          ),
          copied,
        ),
      ),
      keeps
        ? null
        : el("p", { class: "note" }, "This browser keeps nothing for this page: save before you close it."),
      el("button", { type: "button", class: "plain", onclick: () => welcome(true) }, "Another code"),
    );
    text.value = JSON.stringify(me.answers()); // with the seconds of the screen before
  };

  if (me.words) welcome(false);
  else
    fill(
      document.getElementById("view"),
      el("h1", {}, "Compare videos"),
      el("p", { class: "note" }, "data.js is not beside this page."),
    );
  document.body.dataset.ready = "";
})();
