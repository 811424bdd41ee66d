"use strict";
/* The one object of the page: its data as scripts hand them over, and how elements are made.
   Nothing here or elsewhere parses HTML: texts of strangers become text nodes. */
const motionecho = (() => {
  const parts = new Map(); // by name and number: what loads it, and what it waits for
  const me = { head: null, samples: [], take, load, el, svg, fill, say, replaced: false };

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

  /** Make an element: attributes, handlers (onclick), properties by ".name", then children or texts. */
  function el(tag, attributes = {}, ...children) {
    return dressed(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes = {}, ...children) {
    return dressed(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  function dressed(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name.startsWith(".")) node[name.slice(1)] = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...told(children));
    return node;
  }

  /** Put children or texts in place of what an element holds. */
  function fill(node, ...children) {
    node.replaceChildren(...told(children));
  }

  const told = (children) =>
    children.flat(3).filter((child) => ![null, undefined, false, ""].includes(child));

  /** Tell those who listen to the page. */
  function say(text) {
    document.getElementById("said").textContent = text;
  }

  return me;
})();
