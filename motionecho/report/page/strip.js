"use strict";
/* The steps of a sample as a strip: the loss of each against delta_1, where the teacher ran and for how long. */
(() => {
  const me = motionecho;
  const TALLEST = 2.5; // times delta_1, beyond which a bar is cut
  const SMALL = { across: 288, widest: 24, least: 3, height: 36, foot: 7 };
  const LARGE = { across: 600, widest: 46, least: 6, height: 110, foot: 16 };

  /** Draw a strip; all of one page have delta_1 at one height, so that samples compare. */
  me.strip = (sample, { large = false } = {}) => {
    const { strip } = sample;
    if (!strip || !strip.active.length) return null;
    const size = large ? LARGE : SMALL,
      count = strip.active.length,
      { height: H, foot } = size;
    const width = Math.max(size.least, Math.min(size.widest, size.across / count)),
      bar = width * 0.78;
    const scale = scaleOf(strip),
      named = large && width >= 20,
      total = H + foot + (named ? 22 : 4);
    const high = (loss) => Math.min(1, loss / scale) * (H - 4);
    const drawing = me.svg("svg", {
      class: "strip",
      role: "img",
      viewBox: `0 0 ${count * width} ${total}`,
      width: count * width,
      height: total,
      "aria-label": inWords(sample),
    });
    const most = Math.max(...strip.teacher_steps, 1);
    strip.active.forEach((active, n) => {
      const x = n * width + (width - bar) / 2,
        loss = strip.loss[n],
        steps = strip.teacher_steps[n];
      const step = me.svg("g", {}, me.svg("title", {}, stepInWords(strip, n)));
      if (typeof loss !== "number") {
        step.append(me.svg("rect", { class: "none", x, y: H - 2, width: bar, height: 2 }));
      } else {
        const height = Math.max(2, high(loss)),
          mean = strip.window_mean[n];
        step.append(
          me.svg("rect", { class: active ? "active" : "plain", x, y: H - height, width: bar, height }),
        );
        if (loss > scale) step.append(me.svg("path", { class: "cut", d: `M${x - 1} 9 l${bar + 2} -4` }));
        if (large && typeof mean === "number" && mean !== loss)
          step.append(me.svg("circle", { class: "window", cx: x + bar / 2, cy: H - high(mean), r: 3 }));
      }
      if (steps) {
        const cut = strip.truncated[n] ? "teacher truncated" : "teacher",
          height = (foot - 1) * (0.35 + (0.65 * steps) / most);
        step.append(
          me.svg("rect", { class: cut, x: x + 0.7, y: H + 2.7, width: Math.max(1, bar - 1.4), height }),
        );
      }
      if (named) step.append(me.svg("text", { x: x + bar / 2, y: total - 4 }, me.number(strip.cost[n])));
      drawing.append(step);
    });
    if (typeof strip.limits[0] === "number") {
      const y = H - high(strip.limits[0]);
      drawing.append(me.svg("line", { class: "limit", x1: 0, x2: count * width, y1: y, y2: y }));
    }
    return drawing;
  };

  function stepInWords(strip, n) {
    const words = [
      `step ${n + 1}: ` +
        (typeof strip.loss[n] === "number" ? `loss ${me.number(strip.loss[n])}` : "not guided"),
    ];
    if (strip.active[n])
      words.push(
        `the teacher ran${strip.teacher_steps[n] ? ` ${me.count(strip.teacher_steps[n], "step")}` : ""}`,
      );
    if (strip.truncated[n]) words.push("truncated");
    if (strip.cost[n]) words.push(`cost ${me.number(strip.cost[n])}`);
    return words.join(", ");
  }

  /** Return the loss that is as high as a bar can be. */
  function scaleOf(strip) {
    const highest = Math.max(...strip.loss.filter((loss) => typeof loss === "number"), 0) || 1;
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
      "ul",
      { class: "key" },
      me.el("li", { class: "key-plain" }, "motion loss of a step"),
      me.el("li", { class: "key-active" }, "the teacher ran"),
      me.el("li", { class: "key-teacher" }, "its steps"),
      me.el("li", { class: "key-truncated" }, "truncated"),
      me.el("li", { class: "key-limit" }, "delta_1, above which it runs"),
    );

  /** The same as a table, from the sample's trace. */
  me.stepTable = (steps, strip) => {
    const row = (cells, tag) =>
      me.el(
        "tr",
        {},
        cells.map((cell) => me.el(tag, {}, cell)),
      );
    const names = [
      "step",
      "t",
      "loss",
      "window mean",
      "teacher ran",
      "teacher steps",
      "truncated",
      "teacher loss",
      "cost",
      "seconds",
    ];
    const value = (name, n) => me.number((steps[name] || [])[n], 4);
    const yes = (name, n) => ((steps[name] || [])[n] ? "yes" : "no");
    const lines = (steps.step || strip.active).map((_, n) =>
      row(
        [
          String(n + 1),
          value("t", n),
          value("loss", n),
          value("window_mean", n),
          yes("active", n),
          value("teacher_steps", n),
          yes("truncated", n),
          value("teacher_loss", n),
          me.number(strip.cost[n]),
          value("seconds", n),
        ],
        "td",
      ),
    );
    return me.el(
      "table",
      { class: "steps" },
      me.el("thead", {}, row(names, "th")),
      me.el("tbody", {}, lines),
    );
  };
})();
