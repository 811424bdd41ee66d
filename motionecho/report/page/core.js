"use strict";
/* The one object of the page: its data as scripts hand them over. */
const motionecho = (() => {
  const parts = new Map(); // by name and number: what loads it, and what it waits for
  const me = { head: null, samples: [], take, load, ...elements, replaced: false };

  /** Take what a script of data/ hands over. */
  function take([name, stamp, number], text) {
    if (name === "head") {
      me.head = JSON.parse(text);
      return;
    }
    const part = parts.get(`${name}-${number}`);
    if (part && stamp === me.head.stamp) part.keep(JSON.parse(text));
    else me.replaced = true;
  }

  /** Load a shard of "samples" or "details" once; resolves to its rows. */
  function load(name, number) {
    const key = `${name}-${number}`;
    if (!parts.has(key)) {
      const part = {};
      part.rows = new Promise((keep, fail) => {
        part.keep = keep;
        const script = document.createElement("script");
        script.src = `data/${name}-${String(number).padStart(3, "0")}.js?${me.head.stamp}`;
        const lost = () => fail(new Error(`${script.src.split("?")[0]} is not of this report`));
        script.onerror = lost;
        script.onload = lost; // after what it holds was kept, this changes nothing
        parts.set(key, part);
        document.head.append(script);
      });
    }
    return parts.get(key).rows;
  }

  return me;
})();
