"use strict";
/* What a rater is shown in which order. All of it follows from the study and the rater's code, so that a page that is
   opened again goes on with the same; nothing in it knows of methods, only of tiles. */
(() => {
  const me = study;

  /** Make a source of numbers in [0, 1) of a text: MurmurHash3's mixing seeds Mulberry32. */
  function dice(text) {
    let hash = 1779033703 ^ text.length;
    for (let at = 0; at < text.length; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 3432918353);
      hash = (hash << 13) | (hash >>> 19);
    }
    hash = Math.imul(hash ^ (hash >>> 16), 2246822507);
    hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
    let state = (hash ^ (hash >>> 16)) >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** Shuffle a copy, every order as likely (Fisher and Yates). */
  function shuffled(list, random) {
    const found = [...list];
    for (let at = found.length - 1; at > 0; at--) {
      const other = Math.floor(random() * (at + 1));
      [found[at], found[other]] = [found[other], found[at]];
    }
    return found;
  }

  /** List what a rater is shown: every pair, the first of them once more at the end, a check between them.
      `order` are the tiles as they are shown, from the left; tile 0 is the reference and not among them. */
  me.trials = (words, rater) => {
    const random = dice(`${words.study} ${rater}`);
    const order = (pair) =>
      shuffled(
        Array.from({ length: pair.tiles - 1 }, (_, at) => at + 1),
        random,
      );
    const pairs = shuffled(words.pairs, random);
    const trials = pairs.map((pair) => ({ kind: "pair", pair, order: order(pair) }));
    trials.push(
      ...pairs.slice(0, words.repeats).map((pair) => ({ kind: "repeat", pair, order: order(pair) })),
    );
    if (words.check) {
      const pair = pairs[Math.floor(random() * pairs.length)];
      const tiles = order(pair);
      const check = { kind: "check", pair, order: tiles, asked: tiles[Math.floor(random() * tiles.length)] };
      trials.splice(Math.floor(((1 + random()) * trials.length) / 3) + 1, 0, check);
    }
    return trials;
  };

  me.letter = (place) => String.fromCharCode(65 + place);

  /** Draw a code that says nothing of anyone, of letters and digits that are not taken for each other. */
  me.code = () =>
    Array.from(
      crypto.getRandomValues(new Uint8Array(8)),
      (n) => "abcdefghjkmnpqrstuvwxyz23456789"[n % 31],
    ).join("");
})();
