"use strict";
/* Numbers as people read them, and means with their intervals. */
(() => {
  const me = motionecho;
  const DRAWS = 1000; // of the bootstrap
  const MANY = 400; // groups beyond which the bootstrap and the normal interval are one and the same
  const LABELS = { cost_forward_equivalents: "cost", cost_seconds: "seconds" }; // others have their tables' names
  const MEANINGS = {
    cost_forward_equivalents: "network evaluations in forward passes, a guided one counting as three",
    cost_seconds: "seconds of sampling and decoding",
    follows: "how far the result follows the motion of its reference, 0 to 1",
  };
  const weights = new Map();

  me.label = (figure) => LABELS[figure] || figure;
  me.meaning = (figure) => MEANINGS[figure] || figure;

  /** Write a number with about three digits that say something; "-" where there is none. */
  me.number = (value, digits = 3) => {
    if (typeof value !== "number") return "-";
    if (Number.isInteger(value) && Math.abs(value) < 1e7) return value.toLocaleString("en");
    const size = Math.floor(Math.log10(Math.abs(value))) + 1; // digits before the point
    if (size > 6 || size < -2) return value.toExponential(1);
    return value.toFixed(size > 0 ? Math.max(0, digits - size) : digits);
  };

  /** Write a sample's figure, those that are fractions with as many digits whatever they are. */
  me.figureText = (figure, value, digits = 3) =>
    typeof value === "number" && isFraction(figure) ? value.toFixed(digits) : me.number(value, digits);
  const fractions = new Map();
  function isFraction(figure) {
    if (!fractions.has(figure)) {
      const { values } = me.valuesOf(me.samples, figure);
      fractions.set(
        figure,
        values.some((value) => !Number.isInteger(value)) && values.every((value) => Math.abs(value) <= 1),
      );
    }
    return fractions.get(figure);
  }

  me.count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  me.duration = (seconds) => {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  };

  me.moment = (text) => {
    const at = new Date(text);
    return Number.isNaN(at.getTime())
      ? String(text)
      : `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  };

  /** Average, with the interval that holds the mean with 95 %: whole groups are drawn, as those of one are alike. */
  me.estimate = (values, groups) => {
    const place = new Map();
    const member = groups.map((name) => place.get(name) ?? (place.set(name, place.size), place.size - 1));
    const sums = new Float64Array(place.size),
      counts = new Float64Array(place.size);
    values.forEach((value, n) => {
      sums[member[n]] += value;
      counts[member[n]] += 1;
    });
    const n = values.length,
      mean = sums.reduce((a, b) => a + b, 0) / n;
    if (place.size < 2) return { mean, low: null, high: null, n };
    if (place.size > MANY) {
      const spread = Math.sqrt(sums.reduce((all, sum, g) => all + (sum - mean * counts[g]) ** 2, 0)) / n;
      return { mean, low: mean - 1.96 * spread, high: mean + 1.96 * spread, n };
    }
    const drawn = draws(place.size),
      means = new Float64Array(DRAWS);
    for (let d = 0; d < DRAWS; d++) {
      let sum = 0,
        count = 0;
      for (let g = 0, at = d * place.size; g < place.size; g++, at++) {
        sum += drawn[at] * sums[g];
        count += drawn[at] * counts[g];
      }
      means[d] = sum / count;
    }
    means.sort();
    return { mean, low: quantile(means, 0.025), high: quantile(means, 0.975), n };
  };

  /** Return how often each group is taken in each draw, always the same draws for as many groups. */
  function draws(groups) {
    if (!weights.has(groups)) {
      const taken = new Uint16Array(DRAWS * groups),
        random = generator(groups);
      for (let d = 0; d < DRAWS; d++)
        for (let g = 0; g < groups; g++) taken[d * groups + Math.floor(random() * groups)]++;
      weights.set(groups, taken);
    }
    return weights.get(groups);
  }

  /** mulberry32: small, seeded, and good enough to draw groups. */
  function generator(seed) {
    let state = seed * 0x9e3779b9;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function quantile(sorted, share) {
    const at = share * (sorted.length - 1),
      low = Math.floor(at);
    return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  }
  me.quantile = quantile;

  /** Return the values that the samples have of a figure, and their references. */
  me.valuesOf = (samples, figure) => {
    const at = me.head.figures.indexOf(figure),
      values = [],
      groups = [];
    for (const sample of samples) {
      if (typeof sample.figures[at] !== "number") continue;
      values.push(sample.figures[at]);
      groups.push(sample.reference);
    }
    return { values, groups };
  };

  me.meanOf = (samples, figure) => {
    const { values, groups } = me.valuesOf(samples, figure);
    return values.length ? me.estimate(values, groups) : null;
  };

  me.figureOf = (sample, figure) => sample.figures[me.head.figures.indexOf(figure)] ?? null;
})();
