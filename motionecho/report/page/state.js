"use strict";
/* What is shown: filters, order and view, kept in the address so that a view can be sent to somebody. */
(() => {
  const me = motionecho;
  const USUAL = {
    view: "samples",
    text: "",
    status: "",
    cause: "",
    run: "",
    strategy: "",
    method: "",
    reference: "",
    figure: "",
    min: "",
    max: "",
    sort: "",
    down: "",
    sample: "",
  };
  const CHOICES = ["strategy", "method"];
  const state = { ...USUAL };
  let told = () => {};
  me.state = state;

  /** Begin with what the address says; `tell` is called whenever what is shown changes. */
  me.begin = (tell) => {
    told = tell;
    read();
    addEventListener("hashchange", () => {
      if (written() !== location.hash.slice(1)) {
        read();
        told({ ...state });
      }
    });
  };

  /** Change what is shown, and the address with it. */
  me.show = (changes) => {
    Object.assign(state, changes);
    location.replace(`#${written()}`);
    told(changes);
  };

  me.clear = () => me.show({ ...USUAL, view: state.view, sort: state.sort, down: state.down });
  me.isFiltered = () =>
    Object.keys(USUAL).some((name) => !["view", "sort", "down", "sample"].includes(name) && state[name]);

  function read() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const name of Object.keys(USUAL)) state[name] = said.get(name) ?? USUAL[name];
  }

  function written() {
    const said = Object.entries(state).filter(([name, value]) => value !== USUAL[name]);
    return new URLSearchParams(said).toString();
  }

  let clips = null;

  /** Name every reference by the shortest end of its path that no other's has. */
  function clipNames(references) {
    const parts = references.map((each) => each.split("/"));
    const names = [];
    let open = [...parts.keys()];
    for (let depth = 1; open.length > 0; depth += 1) {
      const alike = new Map();
      for (const n of open) {
        names[n] = parts[n].slice(-depth).join("/");
        if (!alike.has(names[n])) alike.set(names[n], []);
        alike.get(names[n]).push(n);
      }
      open = [...alike.values()].flatMap((its) => (its.length > 1 ? its.filter((n) => depth < parts[n].length) : []));
    }
    return names;
  }

  /** Give a sample, once it is loaded, what it is found by. */
  me.prepare = (sample, place) => {
    sample.place = place;
    // what the address calls it, whatever else the report comes to hold
    sample.name = me.head.runs.length > 1 ? `${"AB"[sample.run]}.${sample.key}` : sample.key;
    clips = clips || clipNames(me.head.references);
    sample.clip = clips[sample.reference];
    const words = [
      sample.id,
      sample.prompt,
      sample.clip,
      sample.strategy,
      sample.cause,
      sample.message,
      sample.key,
    ];
    sample.words = words.filter(Boolean).join("\n").toLowerCase();
    return sample;
  };

  /** Return the samples that pass all filters, in order. */
  me.chosen = () => {
    const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
    const at = me.head.figures.indexOf(state.figure);
    const min = bound(state.min, -Infinity),
      max = bound(state.max, Infinity);
    const found = me.cards().filter((sample) => {
      if (state.status && (state.status === "done") !== sample.ok) return false;
      if (state.cause && state.cause !== sample.cause) return false;
      if (state.run !== "" && Number(state.run) !== sample.run) return false;
      if (state.reference && state.reference !== sample.clip) return false;
      if (CHOICES.some((name) => state[name] && state[name] !== sample[name])) return false;
      if (at >= 0) {
        const value = sample.figures[at];
        if (typeof value !== "number" || value < min || value > max) return false;
      }
      return words.every((word) => sample.words.includes(word));
    });
    return ordered(found);
  };

  /** Return what has a card when nothing is filtered: of two runs, twins share that of A. */
  me.cards = () =>
    me.head.runs.length < 2 || state.run !== ""
      ? me.samples
      : me.samples.filter((sample) => sample.run === 0 || sample.twin === null);

  function bound(text, otherwise) {
    const value = parseFloat(text);
    return Number.isNaN(value) ? otherwise : value;
  }

  function ordered(found) {
    const { sort } = state,
      sign = state.down ? -1 : 1;
    const value = valueBy(sort);
    if (!sort) return state.down ? found.reverse() : found;
    return found.sort((a, b) => {
      const one = value(a),
        two = value(b);
      if (one === two) return a.place - b.place;
      if (one === null || two === null) return one === null ? 1 : -1; // those without it come last either way
      return (one < two ? -1 : 1) * sign;
    });
  }

  /** Return what samples are sorted by: a figure, its change from A to B, or one of their words. */
  function valueBy(sort) {
    if (sort.startsWith("change:")) {
      const figure = sort.slice(7);
      return (sample) => me.change(sample, figure);
    }
    const at = me.head.figures.indexOf(sort);
    if (at >= 0) return (sample) => (typeof sample.figures[at] === "number" ? sample.figures[at] : null);
    if (sort === "status") return (sample) => (sample.ok ? 1 : 0);
    if (sort === "reference") return (sample) => sample.clip;
    return (sample) => sample[sort] ?? null;
  }

  /** Return a figure of B less that of A; null where a sample has no twin or no such figure. */
  me.change = (sample, figure) => {
    const twin = sample.twin === null ? null : me.samples[sample.twin];
    if (!twin) return null;
    const [one, two] = sample.run === 0 ? [sample, twin] : [twin, sample];
    const before = me.figureOf(one, figure),
      after = me.figureOf(two, figure);
    return before === null || after === null ? null : after - before;
  };

  /** Return the figures that a glance at a sample shows: motion, text, cost. */
  me.spoken = () => ["motion", "text", "cost"].map((role) => me.head.roles[role]).filter(Boolean);
  me.distinct = (name) => [...new Set(me.samples.map((sample) => sample[name]).filter(Boolean))].sort();
})();
