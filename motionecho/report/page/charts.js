"use strict";
/* Charts drawn by hand: a histogram, a cloud of points, an interval. */
(() => {
  const me = motionecho;
  const MARKS = ["circle", "square", "triangle", "diamond", "cross", "plus"];

  /** Return about `count` round numbers from `low` to `high`. */
  function ticks(low, high, count) {
    const step = (high - low || 1) / count,
      size = 10 ** Math.floor(Math.log10(step));
    const round = [1, 2, 5, 10].find((each) => each * size >= step) * size;
    const found = [];
    for (let n = Math.ceil(low / round - 1e-9); n * round <= high + round * 1e-9; n++) found.push(n * round);
    return found;
  }

  const tickText = (value) => String(Number(value.toPrecision(6)));

  /** Draw how the values of a figure are spread; a bar that is clicked filters by its range. */
  me.histogram = (figure, samples) => {
    const { values, groups } = me.valuesOf(samples, figure);
    if (!values.length) return null;
    const low = values.reduce((a, b) => Math.min(a, b)),
      high = values.reduce((a, b) => Math.max(a, b));
    const bins = low === high ? 1 : Math.min(30, Math.max(8, Math.ceil(Math.sqrt(values.length) * 1.5)));
    const counts = new Array(bins).fill(0),
      wide = (high - low) / bins || 1;
    for (const value of values) counts[Math.min(bins - 1, Math.floor((value - low) / wide))]++;
    const mean = me.estimate(values, groups),
      most = Math.max(...counts);
    const W = 320,
      H = 120,
      L = 8,
      B = 22,
      T = 8,
      across = W - 2 * L;
    const words = `${me.label(figure)} of ${me.count(values.length, "sample")}: mean ${me.number(mean.mean)}, from ${me.number(low)} to ${me.number(high)}`;
    const drawing = me.svg("svg", {
      class: "chart",
      role: "img",
      viewBox: `0 0 ${W} ${H}`,
      "aria-label": words,
    });
    counts.forEach((count, n) => {
      const height = (count / most) * (H - B - T),
        x = L + (n * across) / bins;
      const from = low + n * wide,
        to = low + (n + 1) * wide;
      const bar = me.svg(
        "rect",
        {
          class: "bin",
          x: x + 0.5,
          width: Math.max(1, across / bins - 1),
          y: H - B - height,
          height,
          onclick: () =>
            me.show({ view: "samples", figure, min: from.toPrecision(6), max: to.toPrecision(6) }),
        },
        me.svg("title", {}, `${me.number(from)} to ${me.number(to)}: ${me.count(count, "sample")}`),
      );
      drawing.append(bar);
    });
    const place = (value) => L + ((value - low) / (high - low || 1)) * across;
    drawing.append(me.svg("line", { class: "axis", x1: L, x2: W - L, y1: H - B, y2: H - B }));
    if (high > low) {
      drawing.append(
        me.svg("line", { class: "mean", x1: place(mean.mean), x2: place(mean.mean), y1: T, y2: H - B }),
      );
      for (const tick of ticks(low, high, 5))
        drawing.append(me.svg("text", { x: place(tick), y: H - 7, "text-anchor": "middle" }, tickText(tick)));
    } else drawing.append(me.svg("text", { x: W / 2, y: H - 7, "text-anchor": "middle" }, tickText(low)));
    return { drawing, mean };
  };

  /** Draw a mean and its interval on a scale from `low` to `high`. */
  me.whisker = ({ mean, low, high }, [from, to]) => {
    const W = 84,
      place = (value) => 4 + ((value - from) / (to - from || 1)) * (W - 8);
    const drawing = me.svg("svg", {
      class: "whisker",
      viewBox: `0 0 ${W} 12`,
      width: W,
      height: 12,
      "aria-hidden": "true",
    });
    drawing.append(me.svg("line", { class: "axis", x1: 4, x2: W - 4, y1: 6, y2: 6 }));
    if (low !== null)
      drawing.append(me.svg("line", { class: "reach", x1: place(low), x2: place(high), y1: 6, y2: 6 }));
    drawing.append(me.svg("circle", { class: "at", cx: place(mean), cy: 6, r: 3.5 }));
    return drawing;
  };

  /** Draw samples by two figures, a colour and a mark for every group; a point opens its sample. */
  me.cloud = (samples, across, up, by, open) => {
    const points = [];
    for (const sample of samples) {
      const x = me.figureOf(sample, across),
        y = me.figureOf(sample, up);
      if (x !== null && y !== null) points.push({ sample, x, y, group: by(sample) });
    }
    if (!points.length) return me.el("p", { class: "quiet" }, "No sample has both figures.");
    const W = 760,
      H = 420,
      L = 56,
      R = 16,
      T = 14,
      B = 44;
    const [x0, x1] = range(points.map((p) => p.x)),
      [y0, y1] = range(points.map((p) => p.y));
    const px = (x) => L + ((x - x0) / (x1 - x0)) * (W - L - R),
      py = (y) => H - B - ((y - y0) / (y1 - y0)) * (H - T - B);
    const names = [...new Set(points.map((p) => p.group))].sort();
    const words = `${me.label(up)} against ${me.label(across)} of ${me.count(points.length, "sample")}. Arrow keys go from point to point, Enter opens one.`;
    const drawing = me.svg("svg", {
      class: "chart cloud",
      role: "img",
      tabindex: "0",
      viewBox: `0 0 ${W} ${H}`,
      "aria-label": words,
    });
    for (const tick of ticks(y0, y1, 6)) {
      drawing.append(me.svg("line", { class: "grid", x1: L, x2: W - R, y1: py(tick), y2: py(tick) }));
      drawing.append(me.svg("text", { x: L - 8, y: py(tick) + 4, "text-anchor": "end" }, tickText(tick)));
    }
    for (const tick of ticks(x0, x1, 8))
      drawing.append(me.svg("text", { x: px(tick), y: H - B + 18, "text-anchor": "middle" }, tickText(tick)));
    drawing.append(
      me.svg(
        "text",
        { class: "name", x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle" },
        me.label(across),
      ),
    );
    drawing.append(
      me.svg(
        "text",
        {
          class: "name",
          x: 14,
          y: (T + H - B) / 2,
          "text-anchor": "middle",
          transform: `rotate(-90 14 ${(T + H - B) / 2})`,
        },
        me.label(up),
      ),
    );
    names.forEach((name, n) => {
      const own = points
        .filter((p) => p.group === name)
        .map((p) => mark(MARKS[n % MARKS.length], px(p.x), py(p.y)));
      drawing.append(me.svg("path", { class: `points series-${n % 6}`, d: own.join("") })); // one path, as ten thousand nodes are slow
    });
    const ring = me.svg("circle", { class: "ring", r: 9, cx: -20, cy: -20 });
    const told = me.el("p", { class: "told quiet" }, "Point at a sample; a click opens it.");
    drawing.append(ring);
    const sorted = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
    let at = -1;
    const pick = (n) => {
      at = n;
      const { sample, x, y } = sorted[n];
      ring.setAttribute("cx", px(x));
      ring.setAttribute("cy", py(y));
      told.textContent = `${sample.id}: ${me.label(up)} ${me.number(y)}, ${me.label(across)} ${me.number(x)}. ${sample.prompt}`;
    };
    const nearest = (event) => {
      const box = drawing.getBoundingClientRect(),
        x = ((event.clientX - box.left) / box.width) * W,
        y = ((event.clientY - box.top) / box.height) * H;
      let best = 0,
        least = Infinity;
      sorted.forEach((p, n) => {
        const far = (px(p.x) - x) ** 2 + (py(p.y) - y) ** 2;
        if (far < least) [best, least] = [n, far];
      });
      return best;
    };
    drawing.addEventListener("pointermove", (event) => pick(nearest(event)));
    drawing.addEventListener("click", (event) => {
      pick(nearest(event));
      open(sorted[at].sample);
    });
    drawing.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (by) pick(Math.min(sorted.length - 1, Math.max(0, at + by)));
      else if (event.key === "Enter" && at >= 0) open(sorted[at].sample);
      else return;
      me.say(told.textContent);
      event.preventDefault();
      event.stopPropagation();
    });
    const key = me.el(
      "ul",
      { class: "key" },
      names.map((name, n) =>
        me.el(
          "li",
          {},
          me.svg(
            "svg",
            { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
            me.svg("path", { class: `points series-${n % 6}`, d: mark(MARKS[n % MARKS.length], 6, 6) }),
          ),
          " ",
          name || "none",
        ),
      ),
    );
    return me.el("div", {}, names.length > 1 ? key : null, drawing, told);
  };

  function range(values) {
    const low = values.reduce((a, b) => Math.min(a, b)),
      high = values.reduce((a, b) => Math.max(a, b));
    const air = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.5;
    return [low - air, high + air];
  }

  function mark(kind, x, y) {
    const at = (dx, dy) => `${(x + dx).toFixed(1)} ${(y + dy).toFixed(1)}`;
    if (kind === "square") return `M${at(-3.4, -3.4)}h6.8v6.8h-6.8z`;
    if (kind === "triangle") return `M${at(0, -4.4)}l4.2 7.4h-8.4z`;
    if (kind === "diamond") return `M${at(0, -4.6)}l4.6 4.6l-4.6 4.6l-4.6 -4.6z`;
    if (kind === "cross")
      return `M${at(-4, -2.6)}l1.4 -1.4l2.6 2.6l2.6 -2.6l1.4 1.4l-2.6 2.6l2.6 2.6l-1.4 1.4l-2.6 -2.6l-2.6 2.6l-1.4 -1.4l2.6 -2.6z`;
    if (kind === "plus") return `M${at(-1, -4.4)}h2v3.4h3.4v2h-3.4v3.4h-2v-3.4h-3.4v-2h3.4z`;
    return `M${at(-3.8, 0)}a3.8 3.8 0 1 0 7.6 0a3.8 3.8 0 1 0 -7.6 0z`;
  }
})();
