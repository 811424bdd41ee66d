"use strict";
/* What is told of the run: its head, its failures, what it was made with and on. */
(() => {
  const me = motionecho;

  /** Write a command with a button that copies it. */
  me.command = (text) => {
    const button = me.el(
      "button",
      {
        type: "button",
        onclick: async () => {
          try {
            await navigator.clipboard.writeText(text);
          } catch {
            // a page at file:// may not, in some browsers: it is selected, to be copied by hand
            getSelection().selectAllChildren(code);
            button.textContent = "Selected";
            return;
          }
          button.textContent = "Copied";
          me.say("copied");
        },
      },
      "Copy",
    );
    const code = me.el("code", { tabindex: "0" }, text);
    return me.el("p", { class: "command" }, code, button);
  };

  me.wayOut = (sample) =>
    me.el(
      "p",
      { class: "quiet" },
      sample.kind === "bad"
        ? "It fails as it stands: mend its row in the manifest (the id kept), or the file that it names, and then:"
        : "To try it again, with all that failed:",
    );

  me.replacedWords = "The report was written anew while this page was open: reload it.";

  /** Say in a few words how far a run is. */
  function far({ state }) {
    if (state.finished) return ["good", "finished"];
    if (state.ended) return ["bad", "ended before it was finished: submit it again to continue"];
    if (!state.drivers) return ["", "nobody is known to work on it"];
    if (state.silent_s !== null && state.silent_s > 90)
      return ["bad", `nothing heard for ${me.duration(state.silent_s)}`];
    return ["busy", state.eta_s ? `at work, about ${me.duration(state.eta_s)} left` : "at work"];
  }

  me.drawHead = () => {
    const { head } = me,
      title = head.runs.map((run) => run.name).join(" beside ");
    document.title = `${title} - motionecho report`;
    const lines = head.runs.map((run, n) => {
      const [kind, words] = far(run),
        letter = head.runs.length > 1 ? `${"AB"[n]}: ` : "";
      return me.el(
        "p",
        { class: "line" },
        letter,
        me.el("span", { class: `state ${kind}` }, words),
        me.el("span", {}, `pair ${run.pair || "unknown"}`),
        me.el("bdi", { class: "place" }, run.place),
      );
    });
    me.fill(
      document.getElementById("head"),
      me.el("p", { class: "eyebrow" }, `motionecho report, as of ${me.moment(head.made_at)}`),
      me.el("h1", {}, me.el("bdi", {}, title)),
      lines,
      me.el("dl", { id: "tiles" }),
    );
  };

  /** Fill in the figures that a glance takes, of the samples that pass the filters. */
  me.drawTiles = (chosen) => {
    const tiles = document.getElementById("tiles"),
      samples = me.withTwins(chosen);
    const tile = (name, value, below, title) =>
      me.el(
        "div",
        { title },
        me.el("dt", {}, name),
        me.el("dd", {}, value),
        me.el("dd", { class: "below" }, below),
      );
    const done = samples.filter((sample) => sample.ok),
      failed = samples.filter((sample) => !sample.ok);
    const causes = Object.entries(Object.groupBy ? Object.groupBy(failed, (s) => s.cause) : {}).sort(
      (a, b) => b[1].length - a[1].length,
    );
    const totals = me.head.runs.map((run) => run.state.total),
      total = totals.includes(null) ? null : totals.reduce((a, b) => a + b, 0);
    const of = me.isFiltered()
      ? "of those filtered"
      : total === null
        ? ""
        : `of ${total.toLocaleString("en")}`;
    const shown = [
      tile("done", done.length.toLocaleString("en"), of),
      tile(
        "failed",
        failed.length.toLocaleString("en"),
        causes
          .slice(0, 3)
          .map(([cause, own]) => `${own.length} ${cause}`)
          .join(", ") || " ",
      ),
    ];
    for (const role of ["motion", "text", "cost", "seconds"]) {
      const figure = me.head.roles[role],
        mean = figure && me.meanOf(done, figure);
      if (!mean) continue;
      const reach = mean.low === null ? `of ${mean.n}` : `${me.number(mean.low)} to ${me.number(mean.high)}`;
      shown.push(tile(me.label(figure), me.number(mean.mean), reach, me.meaning(figure)));
    }
    me.fill(tiles, ...shown);
  };

  me.failuresView = (view, samples) => {
    const failed = samples.filter((sample) => !sample.ok);
    if (!failed.length) {
      me.fill(
        view,
        me.el(
          "p",
          { class: "quiet" },
          me.isFiltered() ? "No failed sample passes these filters." : "Nothing has failed.",
        ),
      );
      return;
    }
    const causes = new Map();
    for (const sample of failed) {
      const cause = `${sample.cause}${sample.stage ? ` at ${sample.stage}` : ""}`;
      causes.set(cause, (causes.get(cause) || 0) + 1);
    }
    const most = [...causes]
      .sort((a, b) => b[1] - a[1])
      .map(([cause, number]) => me.el("li", {}, me.el("b", {}, String(number)), ` ${cause}`));
    const line = (sample) =>
      me.el(
        "tr",
        {},
        me.el(
          "th",
          { scope: "row" },
          me.el(
            "button",
            { type: "button", class: "plain", onclick: () => me.show({ sample: sample.name }) },
            me.el("bdi", {}, sample.id),
          ),
        ),
        [sample.stage, sample.cause, sample.message, String(sample.attempts), sample.clip].map((text) =>
          me.el("td", {}, me.el("bdi", {}, text)),
        ),
      );
    const bad = failed.filter((sample) => sample.kind === "bad").length;
    const words = bad
      ? `${me.count(bad, "sample")} failed as ${bad === 1 ? "it stands: its row has" : "they stand: their rows have"} to be mended in the manifest, ids kept, before the command helps.`
      : "The command tries all of them again.";
    me.fill(
      view,
      me.el("ul", { class: "causes" }, most),
      me.el("p", {}, words),
      ...me.head.runs
        .filter((_, n) => failed.some((sample) => sample.run === n))
        .map((run) => me.command(run.commands.retry)),
      me.el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Failed samples" },
        me.el(
          "table",
          { class: "failures" },
          me.el(
            "thead",
            {},
            me.el(
              "tr",
              {},
              ["sample", "stage", "cause", "reason", "attempts", "reference"].map((text) =>
                me.el("th", { scope: "col" }, text),
              ),
            ),
          ),
          me.el("tbody", {}, failed.slice(0, 1000).map(line)),
        ),
      ),
      failed.length > 1000
        ? me.el(
            "p",
            { class: "quiet" },
            `The first 1,000 of ${failed.length.toLocaleString("en")}; filter to see others.`,
          )
        : "",
    );
  };

  me.runView = (view) => me.fill(view, ...me.head.runs.flatMap(aboutRun));

  function aboutRun(run, number) {
    const settings = Object.entries(run.echo).map(([name, value]) => {
      const [symbol, doc] = me.head.settings[name] || ["", ""];
      return me.el(
        "tr",
        {},
        me.el("th", { scope: "row" }, name),
        me.el("td", {}, symbol),
        me.el("td", {}, JSON.stringify(value)),
        me.el("td", { class: "quiet" }, doc),
      );
    });
    const machines = run.machines.map((each) =>
      me.el(
        "tr",
        {},
        [each.name, each.device, String(each.samples)].map((text) => me.el("td", {}, text)),
      ),
    );
    const table = (name, columns, lines) =>
      lines.length
        ? [
            me.el("h3", {}, name),
            me.el(
              "div",
              { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
              me.el(
                "table",
                { class: "facts" },
                me.el(
                  "thead",
                  {},
                  me.el(
                    "tr",
                    {},
                    columns.map((text) => me.el("th", { scope: "col" }, text)),
                  ),
                ),
                me.el("tbody", {}, lines),
              ),
            ),
          ]
        : [];
    const list = (name, values) =>
      Object.keys(values).length ? [me.el("h3", {}, name), me.pairsOf(values)] : [];
    return [
      me.el("h2", {}, me.head.runs.length > 1 ? `${"AB"[number]}: ${run.name}` : "This run"),
      ...run.damaged.map((sentence) => me.el("p", { class: "note" }, sentence)),
      run.without_preview
        ? me.el(
            "div",
            { class: "note" },
            me.el(
              "p",
              {},
              `${me.count(run.without_preview, "sample")} ${run.without_preview === 1 ? "has" : "have"} no preview; this makes what lacks:`,
            ),
            me.command(run.commands.previews),
          )
        : "",
      me.pairsOf({
        place: run.place,
        begun: run.created_at && me.moment(run.created_at),
        manifests: run.manifests.join(", "),
        ...run.settings,
        metrics: (run.settings.metrics || []).join(", "),
        "weights at": run.weights_at.join(", "),
      }),
      ...table("Settings", ["setting", "symbol", "value", "meaning"], settings),
      ...table("Machines", ["machine", "device", "samples"], machines),
      ...list("Weights (sha256)", run.weights),
      ...list("Versions", run.versions),
      me.el("p", { class: "quiet" }, "Is every file what was written?"),
      me.command(run.commands.verify),
    ];
  }
})();
