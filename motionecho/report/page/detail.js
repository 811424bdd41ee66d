"use strict";
/* One sample by itself: large, with everything that is known of it. */
(() => {
  const me = motionecho;
  const dialog = document.getElementById("detail");

  /** Open the sample that the address names, or close. */
  me.openDetail = async () => {
    const place = me.state.sample;
    const sample = place === "" ? null : me.samples.find((each) => each.name === place);
    if (!sample) {
      if (dialog.open) dialog.close();
      return;
    }
    me.forget(dialog);
    me.fill(dialog, heading(sample), me.el("p", { class: "quiet" }, "Opening ..."));
    if (!dialog.open) dialog.showModal();
    const { shard } = me.head;
    let more = null;
    try {
      more = (await me.load("details", Math.floor(sample.place / shard)))[sample.place % shard];
    } catch (problem) {
      dialog.lastChild.textContent = me.replaced ? me.replacedWords : String(problem.message);
    }
    if (more && me.state.sample === place) {
      me.fill(dialog, heading(sample), body(sample, more));
      dialog.scrollTop = 0;
    }
  };

  dialog.addEventListener("close", () => {
    const place = me.state.sample;
    me.forget(dialog);
    me.fill(dialog);
    if (place !== "") me.show({ sample: "" });
    me.focusCard(place);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  /** Go to the next or the previous of the samples that are shown. */
  me.step = (by) => {
    const chosen = me.chosenNow(),
      at = chosen.findIndex((sample) => sample.name === me.state.sample);
    const next = chosen[at + by];
    if (at >= 0 && next) me.show({ sample: next.name });
  };

  function heading(sample) {
    const chosen = me.chosenNow(),
      at = chosen.indexOf(sample);
    const button = (text, name, act, off) =>
      me.el("button", { type: "button", "aria-label": name, title: name, onclick: act, disabled: off }, text);
    return me.el(
      "div",
      { class: "heading" },
      me.el("h2", { id: "detail-name", tabindex: "-1", autofocus: true }, me.el("bdi", {}, sample.id)),
      button("←", "Previous sample", () => me.step(-1), at < 1),
      button("→", "Next sample", () => me.step(1), at < 0 || at + 1 >= chosen.length),
      button("✕", "Close", () => dialog.close()),
    );
  }

  function body(sample, more) {
    const twin = sample.twin === null ? null : me.samples[sample.twin];
    const run = me.head.runs[sample.run];
    return me.el(
      "div",
      { class: sample.ok ? "body" : "body failed" },
      sample.ok ? me.el("div", { class: "look" }, media(sample, twin), steps(sample, more)) : null,
      me.el(
        "div",
        { class: "tell" },
        me.el("p", { class: "prompt large", dir: "auto" }, sample.prompt || "no prompt"),
        sample.ok ? null : failure(sample, more, run),
        figures(sample, twin, more),
        commands(sample, run),
        facts("Sample", known(sample, more)),
        facts("Settings that differ from the run's", more.changed),
        facts("Columns of its row", more.inputs),
        facts("Seconds", more.seconds),
        facts("Not measured", more.skipped),
      ),
    );
  }

  function media(sample, twin) {
    const videos = [];
    const one = (each, letter) => {
      const player = me.player(each, { big: true });
      if (!player) return me.el("p", { class: "nothing" }, "no video");
      videos.push(player);
      const words = each.preview ? ["reference", "result"] : ["result"];
      const named = words
        .slice(each === twin ? -1 : 0)
        .map((word) => me.el("i", {}, word === "result" && letter ? `result ${letter}` : word));
      return me.el("div", { class: "frame" }, player, me.el("span", { class: "sides" }, named));
    };
    const letters = twin ? "AB"[sample.run] : "";
    const pictures = [one(sample, letters), twin ? one(twin, "AB"[twin.run]) : null];
    if (videos.length > 1) me.inStep(videos);
    return me.el(
      "div",
      {},
      me.el("div", { class: twin && twin.preview ? "media two" : "media" }, pictures),
      videos.length ? me.controls(videos) : null,
    );
  }

  function steps(sample, more) {
    if (!sample.ok) return null;
    if (!sample.strip)
      return me.el(
        "p",
        { class: "quiet" },
        "What its steps saw is not known: the table of its trace is not there.",
      );
    const [start, end] = sample.strip.limits;
    const words =
      start === null
        ? "The teacher did not run by the loss."
        : `The teacher runs above delta_1 = ${me.number(start)} and ends below delta_2 = ${me.number(end)}.`;
    return me.el(
      "section",
      {},
      me.el("h3", {}, "Steps"),
      me.strip(sample, { large: true }),
      me.stripKey(),
      me.el("p", { class: "quiet" }, words),
      me.el(
        "details",
        {},
        me.el("summary", {}, "As a table"),
        me.el(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "Steps" },
          me.stepTable(more.steps, sample.strip),
        ),
      ),
    );
  }

  function figures(sample, twin, more) {
    if (!sample.ok) return null;
    const row = (figure) => {
      const change = me.change(sample, figure);
      return me.el(
        "tr",
        {},
        me.el("th", { scope: "row", title: me.meaning(figure) }, me.label(figure)),
        me.el("td", {}, me.figureText(figure, me.figureOf(sample, figure))),
        twin
          ? [
              me.el("td", {}, me.figureText(figure, me.figureOf(twin, figure))),
              me.el("td", {}, change === null ? "-" : (change > 0 ? "+" : "") + me.number(change)),
            ]
          : null,
      );
    };
    const ours = "AB"[sample.run],
      other = "AB"[1 - sample.run];
    const top = twin
      ? me.el(
          "thead",
          {},
          me.el(
            "tr",
            {},
            ["", ours, other, "B less A"].map((text) => me.el("th", { scope: "col" }, text)),
          ),
        )
      : null;
    const there = me.head.figures.filter((figure) => me.figureOf(sample, figure) !== null);
    const first = there.filter((figure) => me.head.headlines.includes(figure));
    const others = Object.fromEntries(
      there
        .filter((figure) => !first.includes(figure))
        .map((figure) => [figure, me.figureText(figure, me.figureOf(sample, figure))]),
    );
    const makers = Object.entries(more.makers)
      .filter(([, maker]) => maker)
      .map(([metric, maker]) => `${metric} ${maker}`);
    return me.el(
      "section",
      {},
      me.el("h3", {}, "Figures"),
      me.el("table", { class: "figures" }, top, me.el("tbody", {}, first.map(row))),
      me.el(
        "details",
        {},
        me.el("summary", {}, "All that was measured"),
        pairsOf({ ...others, ...more.more }),
        makers.length ? me.el("p", { class: "quiet" }, makers.join(", ")) : null,
      ),
    );
  }

  function failure(sample, more, run) {
    return me.el(
      "section",
      { class: "failure" },
      me.el("h3", {}, `Failed: ${sample.cause}${sample.stage ? ` at ${sample.stage}` : ""}`),
      me.el("p", {}, sample.message),
      more.strikes.length > 1
        ? me.el(
            "ol",
            {},
            more.strikes.map((strike) => me.el("li", {}, strike)),
          )
        : null,
      me.wayOut(sample),
      me.command(run.commands.retry),
      more.traceback
        ? me.el("details", {}, me.el("summary", {}, "Traceback"), me.el("pre", {}, more.traceback))
        : null,
    );
  }

  const commands = (sample, run) =>
    sample.ok
      ? me.el("section", {}, me.el("h3", {}, "Make it again"), me.command(run.commands.replay + sample.key))
      : null;

  function known(sample, more) {
    const link = (way, text) => (way ? me.el("a", { href: way }, text) : null);
    const files = [
      link(sample.video, "video"),
      link(more.files.stats, "steps"),
      link(more.files.record, "record"),
    ].filter(Boolean);
    const trace = Object.entries(more.trace.evaluations || {})
      .filter(([, number]) => number)
      .map(([kind, number]) => `${number} ${kind.replaceAll("_", " ")}`);
    return {
      files: files.flatMap((each, n) => (n ? [", ", each] : [each])),
      strategy: sample.strategy,
      method: sample.method,
      seed: sample.seed,
      reference: more.reference.uri,
      "reference sha256": more.reference.sha256,
      evaluations: trace.join(", "),
      warnings: more.warnings.join("; "),
      attempts: sample.attempts,
      "made on": more.where,
      committed: more.committed_at && me.moment(more.committed_at),
      generation: more.generation > 1 ? more.generation : null,
      key: sample.key,
      latents: more.latent_sha256,
      tries: more.tries.length ? `${more.tries.length} at the gate` : null,
    };
  }

  function facts(name, values) {
    const list = pairsOf(values);
    return list.childElementCount ? me.el("section", {}, me.el("h3", {}, name), list) : null;
  }

  /** Write names and values as a list; what says nothing is left out. */
  function pairsOf(values) {
    const list = me.el("dl", { class: "pairs" });
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length))
        continue;
      const nodes = Array.isArray(value) && value.some((each) => each instanceof Node);
      const text =
        typeof value === "number"
          ? me.number(value, 4)
          : typeof value === "string"
            ? value
            : nodes
              ? value
              : JSON.stringify(value);
      list.append(
        me.el("div", {}, me.el("dt", {}, name), me.el("dd", {}, nodes ? value : me.el("bdi", {}, text))),
      );
    }
    return list;
  }
  me.pairsOf = pairsOf;
})();
