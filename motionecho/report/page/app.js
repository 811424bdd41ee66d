"use strict";
/* The page as a whole: it loads the samples, draws what the address asks for, and listens to keys. */
(() => {
  const me = motionecho;
  const VIEWS = { samples: "Samples", figures: "Figures", failures: "Failures", run: "Run" };
  const KEYS = [
    ["j k, arrows", "go from sample to sample"],
    ["Enter", "open it"],
    ["Esc", "close, or clear the search"],
    ["/", "search"],
    ["1 2 3 4", "samples, figures, failures, run"],
    ["p", "pause or play all videos; with one open, that one"],
    ["?", "these keys"],
  ];
  const view = document.getElementById("view"),
    tools = document.getElementById("tools"),
    help = document.getElementById("help");
  let waiting = 0,
    typed = {}; // and not shown yet, by field: another filter that is set meanwhile redraws all of them

  /** Draw the view again, for the samples that pass the filters. */
  me.redraw = () => {
    const { state } = me,
      name = VIEWS[state.view] ? state.view : "samples",
      chosen = me.chosen();
    if (name !== "samples") me.forget(view);
    document.body.dataset.view = name;
    me.drawTiles(chosen);
    const failed = me.withTwins(chosen).filter((sample) => !sample.ok).length;
    const counts = { samples: chosen.length, failures: failed };
    for (const tab of document.querySelectorAll("#tabs [data-view]")) {
      const own = tab.dataset.view;
      tab.setAttribute("aria-current", own === name ? "page" : "false");
      tab.querySelector("span").textContent = own in counts ? counts[own].toLocaleString("en") : "";
    }
    if (name === "samples") me.gallery(view, chosen);
    else if (name === "figures") me.figuresView(view, chosen);
    else if (name === "failures") me.failuresView(view, me.withTwins(chosen));
    else me.runView(view);
    const all = me.cards().length,
      still = me.samples.length < me.head.count ? ` so far, of ${me.head.count.toLocaleString("en")}` : "";
    document.getElementById("number").textContent =
      `${chosen.length.toLocaleString("en")} of ${all.toLocaleString("en")}${still}`;
    document.getElementById("clear").hidden = !me.isFiltered();
  };

  /** Do what a change of the state asks for: redraw, or open and close one sample. */
  function changed(changes) {
    const filters = Object.keys(changes).filter((name) => name !== "sample");
    if (filters.length) {
      fill();
      me.redraw();
      me.say(document.getElementById("number").textContent);
    }
    if ("sample" in changes) me.openDetail();
  }

  function drawTabs() {
    const pause = me.el(
      "button",
      { type: "button", id: "pause", "aria-pressed": "false", onclick: me.togglePause },
      "Pause videos",
    );
    const result = me.el(
      "p",
      { class: "result" },
      me.el("span", { id: "number" }),
      me.el(
        "button",
        { type: "button", id: "clear", onclick: () => ((typed = {}), me.clear()) },
        "Clear filters",
      ),
      pause,
    );
    me.fill(
      document.getElementById("tabs"),
      Object.entries(VIEWS).map(([name, text]) => {
        const tab = me.el(
          "button",
          { type: "button", onclick: () => me.show({ view: name }) },
          text,
          " ",
          me.el("span", { class: "badge" }),
        );
        tab.dataset.view = name;
        return tab;
      }),
      result,
    );
  }

  function select(name, label, options, usual) {
    const box = me.el(
      "select",
      { name, onchange: () => me.show({ [name]: box.value }) },
      me.el("option", { value: "" }, usual),
      options.map(([value, text]) => me.el("option", { value }, text)),
    );
    return me.el("label", {}, me.el("span", {}, label), box);
  }

  /** Draw search, filters and order; filters with but one choice are left out. */
  function drawTools() {
    const { head } = me,
      words = (name) => me.choices[name].map((word) => [word, word]);
    const figures = head.figures.map((figure) => [figure, me.label(figure)]);
    const type = (name, delay) => (event) => {
      clearTimeout(waiting);
      typed[name] = event.target.value;
      waiting = setTimeout(() => {
        me.show(typed);
        typed = {};
      }, delay);
    };
    const range = (name, label) =>
      me.el(
        "label",
        { class: "short" },
        me.el("span", {}, label),
        me.el("input", { name, type: "number", step: "any", oninput: type(name, 200) }),
      );
    const two = head.runs.length > 1;
    const sorts = [
      ...figures,
      ...(two ? me.spoken().map((figure) => [`change:${figure}`, `${me.label(figure)}, B less A`]) : []),
      ["status", "status"],
      ["reference", "reference"],
      ["strategy", "strategy"],
      ["prompt", "prompt"],
    ];
    const down = me.el("button", {
      type: "button",
      id: "down",
      onclick: () => me.show({ down: me.state.down ? "" : "1" }),
    });
    const search = me.el("input", {
      name: "text",
      type: "search",
      placeholder: "prompt, id, reference, reason",
      oninput: type("text", 100),
      autocomplete: "off",
    });
    const filters = [
      two
        ? select(
            "run",
            "run",
            head.runs.map((run, n) => [String(n), `${"AB"[n]} alone: ${run.name}`]),
            "A beside B",
          )
        : null,
      select(
        "status",
        "status",
        [
          ["done", "done"],
          ["failed", "failed"],
        ],
        "all",
      ),
      me.choices.cause.length > 1 ? select("cause", "cause", words("cause"), "all") : null,
      me.choices.strategy.length > 1 ? select("strategy", "strategy", words("strategy"), "all") : null,
      me.choices.method.length > 1 ? select("method", "method", words("method"), "all") : null,
      me.choices.clip.length > 1 ? select("reference", "reference", words("clip"), "all") : null,
      figures.length
        ? [select("figure", "figure", figures, "any"), range("min", "from"), range("max", "to")]
        : null,
    ];
    me.fill(
      tools,
      me.el("label", { class: "search" }, me.el("span", {}, "search"), search),
      me.el(
        "details",
        { id: "filters", open: matchMedia("(min-width: 700px)").matches },
        me.el("summary", {}, "Filters and order"),
        me.el(
          "div",
          { class: "fields" },
          filters,
          me.el("span", { class: "together" }, select("sort", "order", sorts, "id"), down),
        ),
      ),
    );
    tools.addEventListener("submit", (event) => event.preventDefault());
    fill();
  }

  /** Have the fields say what the state does. */
  function fill() {
    for (const field of tools.elements) {
      if (field.name && field.name in me.state && field !== document.activeElement)
        field.value = me.state[field.name];
    }
    const down = document.getElementById("down");
    down.textContent = me.state.down ? "↓" : "↑";
    down.setAttribute("aria-label", me.state.down ? "Order: highest first" : "Order: lowest first");
    for (const name of ["min", "max"])
      tools.elements[name]?.closest("label").toggleAttribute("hidden", !me.state.figure);
  }

  me.togglePause = () => {
    const paused = me.pauseAll(),
      button = document.getElementById("pause");
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Play videos" : "Pause videos";
  };

  function drawHelp() {
    const lines = KEYS.map(([keys, what]) =>
      me.el(
        "div",
        {},
        me.el(
          "dt",
          {},
          keys.split(/(?<=\w) /).map((key) => [me.el("kbd", {}, key), " "]),
        ),
        me.el("dd", {}, what),
      ),
    );
    me.fill(
      help,
      me.el(
        "div",
        { class: "heading" },
        me.el("h2", { id: "help-name" }, "Keys"),
        me.el("button", { type: "button", "aria-label": "Close", onclick: () => help.close() }, "✕"),
      ),
      me.el("dl", { class: "pairs" }, lines),
    );
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event,
      typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (typing) {
      if (key === "Escape" && event.target.name === "text") {
        event.target.value = "";
        delete typed.text;
        me.show({ text: "" });
        event.target.blur();
      }
      return;
    }
    const detail = document.getElementById("detail").open,
      on = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[key];
    if (event.target.tagName === "VIDEO" && key.startsWith("Arrow")) return; // its own keys: back and forth in time
    let taken = true;
    if (key === "?") help.open ? help.close() : help.showModal();
    else if (help.open) taken = false;
    else if (detail && on) me.step(on);
    else if (detail && key === "p") document.querySelector("#detail .toggle")?.click();
    else if (detail) taken = false;
    else if (key === "/") tools.elements.text.focus();
    else if (key === "p") me.togglePause();
    else if (/^[1-4]$/.test(key)) me.show({ view: Object.keys(VIEWS)[key - 1] });
    else if (me.state.view === "samples" && /^(j|k|Arrow)/.test(key)) taken = me.moveCard(key);
    else taken = false;
    if (taken) event.preventDefault();
  });

  async function start() {
    if (!me.head) {
      me.fill(
        view,
        me.el(
          "p",
          { class: "note" },
          "The data of this report are not beside it (data/head.js): copy the whole folder.",
        ),
      );
      return;
    }
    me.drawHead();
    drawTabs();
    drawHelp();
    try {
      const shards = Array.from({ length: me.head.shards }, (_, number) => me.load("samples", number));
      for (const [number, shard] of shards.entries()) {
        for (const sample of await shard) me.samples.push(me.prepare(sample, me.samples.length));
        if (number === 0 && shards.length > 1) draw();
      }
    } catch (problem) {
      view.before(
        me.el(
          "p",
          { class: "note", role: "alert" },
          me.replaced ? me.replacedWords : String(problem.message),
        ),
      );
    }
    draw();
    me.openDetail();
    document.body.dataset.ready = "yes";
  }

  /** Draw with what is there: with the first shard, and once all are. */
  function draw() {
    me.choices = Object.fromEntries(
      ["strategy", "method", "clip", "cause"].map((name) => [name, me.distinct(name)]),
    );
    if (!tools.childElementCount) me.begin(changed);
    drawTools();
    me.redraw();
  }

  start();
})();
