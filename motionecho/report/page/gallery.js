"use strict";
/* The samples as cards, a few dozen at a time. */
(() => {
  const me = motionecho;
  const AT_ONCE = 48;
  let chosen = [],
    shown = 0,
    grid = null,
    more = null;

  const reach = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && grow(), {
    rootMargin: "800px 0px",
  });

  /** Show the samples as cards in `view`. */
  me.gallery = (view, samples) => {
    const begins =
      grid?.isConnected &&
      me.head.runs.length === 1 && // a twin that was not loaded yet has no place in its card
      chosen.slice(0, shown).every((sample, n) => sample === samples[n]);
    chosen = samples;
    if (begins && shown && shown < samples.length) {
      more.hidden = false; // those that are seen stay as they are, and play on
      return;
    }
    me.forget(view);
    shown = 0;
    grid = me.el("ol", { class: me.head.runs.length > 1 ? "gallery wide" : "gallery" });
    more = me.el("button", { type: "button", class: "more", onclick: grow }, "Show more");
    const words =
      me.head.runs.length && !me.head.count ? "There is no sample yet." : "No sample passes these filters.";
    me.fill(view, samples.length ? me.stripKey() : me.el("p", { class: "quiet" }, words), grid, more);
    grow();
    reach.observe(more);
  };

  function grow() {
    const next = chosen.slice(shown, shown + AT_ONCE);
    grid.append(...next.map(card));
    shown += next.length;
    more.hidden = shown >= chosen.length;
  }

  function card(sample) {
    const twin = sample.twin === null || me.state.run !== "" ? null : me.samples[sample.twin];
    const open = me.el(
      "button",
      {
        type: "button",
        class: twin ? "media two" : "media",
        "aria-label": `Open ${sample.id}`,
        onclick: () => me.show({ sample: sample.name }),
      },
      media(sample, twin ? "A" : ""),
      twin ? media(twin, "B") : null,
    );
    const videos = [...open.querySelectorAll("video")];
    if (videos.length > 1) me.inStep(videos);
    const item = me.el(
      "li",
      { class: sample.ok ? "card" : "card failed" },
      open,
      me.el(
        "p",
        { class: "prompt", dir: "auto" },
        sample.prompt || me.el("span", { class: "quiet" }, "no prompt"),
      ),
      sample.ok
        ? numbers(sample, twin)
        : me.el("p", { class: "reason" }, me.el("b", {}, sample.cause), " ", sample.message),
      sample.ok ? me.strip(sample) : null,
      me.el("p", { class: "id" }, me.el("bdi", {}, sample.id), tags(sample)),
    );
    item.dataset.name = sample.name;
    return item;
  }

  function media(sample, letter) {
    const player = me.player(sample);
    if (!player) return me.el("span", { class: "nothing" }, sample.ok ? "no video" : "failed");
    const sides = sample.preview
      ? me.el(
          "span",
          { class: "sides", "aria-hidden": "true" },
          letter === "B" ? null : me.el("i", {}, "reference"),
          me.el("i", {}, letter ? `result ${letter}` : "result"),
        )
      : me.el(
          "span",
          { class: "sides", "aria-hidden": "true" },
          me.el("i", {}, letter ? `result ${letter}, no preview` : "result, no preview"),
        );
    return me.el("span", { class: "frame" }, player, sides);
  }

  function numbers(sample, twin) {
    const list = me.el("dl", { class: "numbers" });
    for (const figure of me.spoken()) {
      const value = me.figureOf(sample, figure);
      const text = twin
        ? `${me.figureText(figure, value, 2)} → ${me.figureText(figure, me.figureOf(twin, figure), 2)}`
        : me.figureText(figure, value, 2);
      list.append(
        me.el("div", {}, me.el("dt", { title: me.meaning(figure) }, me.label(figure)), me.el("dd", {}, text)),
      );
    }
    return list;
  }

  function tags(sample) {
    const words = ["strategy", "method"]
      .filter((name) => me.choices[name].length > 1)
      .map((name) => sample[name]);
    return words.filter(Boolean).map((word) => me.el("span", { class: "tag" }, word));
  }

  /** Move between cards by keys: one on or back, or a row. */
  me.moveCard = (key) => {
    const cards = [...document.querySelectorAll(".gallery .media")];
    if (!cards.length) return false;
    const at = cards.indexOf(document.activeElement);
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const by = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
    if (at < 0 && key.startsWith("Arrow")) return false; // arrows scroll until a card has the focus
    const next = cards[at < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, at + by))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    return true;
  };

  /** Give the focus back to a card, where it is among those shown. */
  me.focusCard = (name) => {
    const found = document.querySelector(`.gallery [data-name="${CSS.escape(name)}"] .media`);
    if (found) found.focus();
  };

  me.chosenNow = () => chosen;
})();
