"use strict";
/* The steps of a sample as a strip: the loss of each against delta_1, where the teacher ran and for how long. */
(() => {
  const me = motionecho;
  const TALLEST = 2.5; // times delta_1, beyond which a bar is cut
  const HEIGHT = 40, FOOT = 9; // of the bars, and below them the teacher's steps

  /** Draw a strip; all of one page have delta_1 at one height, so that samples compare. */
  me.strip = (sample) => {
    const { strip } = sample;
    if (!strip || !strip.active.length) return null;
    const count = strip.active.length, width = Math.max(3, Math.min(14, 280 / count)), bar = width * 0.72;
    const scale = scaleOf(strip), total = HEIGHT + FOOT + 4;
    const drawing = me.svg("svg", {
      class: "strip", role: "img", viewBox: `0 0 ${count * width} ${total}`, width: count * width, height: total,
      "aria-label": inWords(sample),
    });
    drawing.append(me.svg("title", {}, inWords(sample)));
    strip.active.forEach((active, n) => {
      const x = n * width + (width - bar) / 2, loss = strip.loss[n];
      if (loss === null || loss === undefined) {
        drawing.append(me.svg("rect", { class: "none", x, y: HEIGHT - 1.5, width: bar, height: 1.5 }));
      } else {
        const share = Math.min(1, loss / scale), height = Math.max(1.5, share * (HEIGHT - 4));
        drawing.append(me.svg("rect", { class: active ? "active" : "plain", x, y: HEIGHT - height, width: bar, height }));
        if (loss > scale) drawing.append(me.svg("path", { class: "cut", d: `M${x} 6 l${bar} -3` }));
      }
      if (strip.teacher_steps[n]) {
        const most = Math.max(...strip.teacher_steps, 1), size = (FOOT - 2) * (0.4 + 0.6 * strip.teacher_steps[n] / most);
        const cut = strip.truncated[n] ? "teacher truncated" : "teacher";
        drawing.append(me.svg("rect", { class: cut, x: x + 0.5, y: HEIGHT + 3, width: Math.max(1, bar - 1), height: size }));
      }
    });
    const limit = strip.limits[0];
    if (limit !== null) {
      const y = HEIGHT - Math.min(1, limit / scale) * (HEIGHT - 4);
      drawing.append(me.svg("line", { class: "limit", x1: 0, x2: count * width, y1: y, y2: y }));
    }
    return drawing;
  };

  /** Return the loss that is as high as a bar can be. */
  function scaleOf(strip) {
    const highest = Math.max(...strip.loss.filter((loss) => loss !== null), 0) || 1;
    return strip.limits[0] ? strip.limits[0] * TALLEST : highest;
  }

  function inWords({ strip }) {
    const steps = strip.active.map((active, n) => (active ? n + 1 : 0)).filter(Boolean);
    const cut = strip.truncated.map((truncated, n) => (truncated ? n + 1 : 0)).filter(Boolean);
    const words = [`${me.count(strip.active.length, "step")}`];
    words.push(steps.length ? `the teacher ran in ${steps.join(", ")}` : "the teacher never ran");
    if (cut.length) words.push(`truncated in ${cut.join(", ")}`);
    return `${words.join("; ")}.`;
  }

  me.stripKey = () =>
    me.el(
      "ul", { class: "key" },
      me.el("li", { class: "key-plain" }, "motion loss of a step"),
      me.el("li", { class: "key-active" }, "the teacher ran"),
      me.el("li", { class: "key-teacher" }, "its steps"),
      me.el("li", { class: "key-truncated" }, "truncated"),
      me.el("li", { class: "key-limit" }, "delta_1"),
    );

  /** The same as a table, from the sample's trace. */
  me.stepTable = (steps, strip) => {
    const row = (cells, tag) => me.el("tr", {}, cells.map((cell) => me.el(tag, {}, cell)));
    const names = ["step", "t", "loss", "window mean", "teacher ran", "teacher steps", "truncated", "teacher loss", "cost", "seconds"];
    const value = (name, n) => me.number((steps[name] || [])[n], 4);
    const yes = (name, n) => ((steps[name] || [])[n] ? "yes" : "no");
    const lines = (steps.step || strip.active).map((_, n) =>
      row([
        String(n + 1), value("t", n), value("loss", n), value("window_mean", n), yes("active", n),
        value("teacher_steps", n), yes("truncated", n), value("teacher_loss", n), me.number(strip.cost[n]), value("seconds", n),
      ], "td"));
    return me.el("table", { class: "steps" }, me.el("thead", {}, row(names, "th")), me.el("tbody", {}, lines));
  };
})();
