"use strict";
/* The view of figures: how they are spread, fidelity against cost, one group against another, one run against another. */
(() => {
  const me = motionecho;
  let across = "",
    up = "",
    by = "";

  me.figuresView = (view, samples) => {
    const done = samples.filter((sample) => sample.ok);
    if (!done.length) {
      me.fill(
        view,
        me.el(
          "p",
          { class: "quiet" },
          "No finished sample passes these filters, so there is nothing to measure.",
        ),
      );
      return;
    }
    me.fill(
      view,
      ...[me.head.beside ? beside() : null, groups(samples), cloud(done), spreads(done)].filter(Boolean),
    );
  };

  const part = (name, about, ...rest) =>
    me.el("section", {}, me.el("h2", {}, name), me.el("p", { class: "quiet" }, about), ...rest);

  function select(label, value, options, change) {
    const box = me.el(
      "select",
      { onchange: (event) => change(event.target.value) },
      options.map(([name, text]) => me.el("option", { value: name, selected: name === value }, text)),
    );
    return me.el("label", { class: "choice" }, label, " ", box);
  }

  const all = () => me.head.figures.map((figure) => [figure, me.label(figure)]);
  const again = () => me.redraw();

  function spreads(done) {
    const cell = (figure) => {
      const drawn = me.histogram(figure, done);
      return (
        drawn &&
        me.el(
          "figure",
          {},
          me.el(
            "figcaption",
            { title: me.meaning(figure) },
            me.el("b", {}, me.label(figure)),
            " ",
            interval(drawn.mean),
          ),
          drawn.drawing,
        )
      );
    };
    const { headlines, figures } = me.head,
      others = figures.filter((figure) => !headlines.includes(figure));
    const rest = me.el(
      "details",
      {
        class: "rest",
        ontoggle: (event) =>
          event.target.open &&
          event.target.childElementCount < 2 &&
          event.target.append(me.el("div", { class: "charts" }, others.map(cell))),
      },
      me.el("summary", {}, me.count(others.length, "further figure")),
    );
    return part(
      "Distributions",
      "With means and their intervals. A bar that is clicked shows the samples in it.",
      me.el("div", { class: "charts" }, headlines.map(cell)),
      others.length ? rest : null,
    );
  }

  function cloud(done) {
    const { roles, figures } = me.head;
    if (figures.length < 2) return null;
    across = figures.includes(across) ? across : roles.cost || figures[1];
    up = figures.includes(up) ? up : roles.motion || figures[0];
    const choices = me.el(
      "div",
      { class: "row" },
      select("up", up, all(), (value) => {
        up = value;
        again();
      }),
      select("across", across, all(), (value) => {
        across = value;
        again();
      }),
    );
    return part(
      "Fidelity against cost",
      "Every point is a sample.",
      choices,
      me.cloud(
        done,
        across,
        up,
        (sample) => me.groupOf(sample, groupBy()),
        (sample) => me.show({ sample: sample.name }),
      ),
    );
  }

  const NAMES = { strategy: "strategy", method: "method", clip: "reference", run: "run" };
  const groupBy = () =>
    by ||
    (me.head.runs.length > 1
      ? "run"
      : me.choices.strategy.length > 1
        ? "strategy"
        : me.choices.method.length > 1
          ? "method"
          : "clip");
  me.groupOf = (sample, name) =>
    name === "run" ? `${"AB"[sample.run]}: ${me.head.runs[sample.run].name}` : sample[name] || "none";

  /** Compare the groups of samples figure by figure. */
  function groups(samples) {
    const name = groupBy(),
      found = new Map();
    for (const sample of withTwins(samples)) {
      const group = me.groupOf(sample, name);
      if (!found.has(group)) found.set(group, []);
      found.get(group).push(sample);
    }
    const figures = me.head.figures.filter((figure) => me.head.headlines.includes(figure));
    const all = [...found].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    const sorted = all.slice(0, 200);
    const means = sorted.map(([, own]) =>
      figures.map((figure) =>
        me.meanOf(
          own.filter((s) => s.ok),
          figure,
        ),
      ),
    );
    const scales = figures.map((_, f) => {
      const ends = means.flatMap((row) =>
        row[f] ? [row[f].low ?? row[f].mean, row[f].high ?? row[f].mean] : [],
      );
      return ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
    });
    const lines = sorted.map(([group, own], n) => {
      const failed = own.filter((sample) => !sample.ok).length;
      return me.el(
        "tr",
        {},
        me.el("th", { scope: "row" }, me.el("bdi", {}, group)),
        me.el("td", {}, String(own.length - failed)),
        me.el("td", {}, String(failed)),
        figures.map((_, f) =>
          me.el(
            "td",
            {},
            means[n][f]
              ? [
                  me.el("b", {}, me.number(means[n][f].mean)),
                  me.whisker(means[n][f], scales[f]),
                  ends(means[n][f]),
                ]
              : "-",
          ),
        ),
      );
    });
    const options = Object.entries(NAMES).filter(([key]) => key !== "run" || me.head.runs.length > 1);
    return part(
      `By ${NAMES[name]}`,
      "Means with the interval that holds them with 95 %, by a bootstrap that draws references.",
      me.el(
        "div",
        { class: "row" },
        select("group by", name, options, (value) => {
          by = value;
          again();
        }),
      ),
      me.el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": `Figures by ${NAMES[name]}` },
        me.el(
          "table",
          { class: "groups" },
          me.el(
            "thead",
            {},
            me.el(
              "tr",
              {},
              [NAMES[name], "done", "failed", ...figures.map(me.label)].map((text) =>
                me.el("th", { scope: "col" }, text),
              ),
            ),
          ),
          me.el("tbody", {}, lines),
        ),
      ),
      all.length > sorted.length
        ? me.el("p", { class: "quiet" }, `The first 200 of ${all.length.toLocaleString("en")}; filter to see others.`)
        : null,
    );
  }

  const ends = ({ low, high }) =>
    me.el(
      "span",
      { class: "ends" },
      low === null ? "one reference" : `${me.number(low)} to ${me.number(high)}`,
    );

  function interval(estimate) {
    const reach = estimate.low === null ? "" : `, ${me.number(estimate.low)} to ${me.number(estimate.high)}`;
    return me.el("span", { class: "quiet" }, `mean ${me.number(estimate.mean)}${reach}`);
  }
  me.interval = interval;

  /** Two runs: a card stands for a sample of A and its twin in B; figures count both. */
  const withTwins = (samples) =>
    me.head.runs.length < 2 || me.state.run !== ""
      ? samples
      : samples.flatMap((sample) => (sample.twin === null ? [sample] : [sample, me.samples[sample.twin]]));
  me.withTwins = withTwins;

  function beside() {
    const { beside: found, runs } = me.head;
    const name = "A beside B",
      about = `A is ${runs[0].name}, B is ${runs[1].name}.`;
    if (found.problem) return part(name, `${about} They cannot be compared pair by pair: ${found.problem}.`);
    const row = ([figure, each]) =>
      me.el(
        "tr",
        {},
        me.el("th", { scope: "row" }, me.label(figure)),
        [each.mean_a, each.mean_b].map((value) => me.el("td", {}, me.number(value))),
        me.el(
          "td",
          {},
          me.el("b", {}, (each.difference.mean > 0 ? "+" : "") + me.number(each.difference.mean)),
          ends(each.difference),
        ),
        me.el("td", {}, `${Math.round(each.wins * 100)} %`),
        me.el("td", {}, String(each.difference.n)),
      );
    const unlike = Object.entries(found.unlike).map(([metric, [a, b]]) =>
      me.el(
        "p",
        { class: "note" },
        `${metric} was taken by other means in A (${a}) than in B (${b}): not comparable.`,
      ),
    );
    return part(
      name,
      `${about} ${me.count(found.pairs, "pair")} by ${found.by}; without a partner: ${found.alone[0]} of A, ${found.alone[1]} of B.`,
      unlike,
      me.el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "A beside B" },
        me.el(
          "table",
          { class: "groups" },
          me.el(
            "thead",
            {},
            me.el(
              "tr",
              {},
              ["figure", "A", "B", "B less A", "B is higher", "pairs"].map((text) =>
                me.el("th", { scope: "col" }, text),
              ),
            ),
          ),
          me.el(
            "tbody",
            {},
            me.head.headlines
              .filter((figure) => found.figures[figure])
              .map((figure) => row([figure, found.figures[figure]])),
          ),
        ),
      ),
    );
  }
})();
