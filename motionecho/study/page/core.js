"use strict";
/* The one object of the page: the study as its script hands it over, and how elements are made.
   Nothing here or elsewhere parses HTML: texts of strangers become text nodes. */
const study = (() => {
  const me = { words: null, take, el, fill, say, show, heading };
  let leave = () => {}; // what ends the screen that is shown

  /** Take what data.js hands over. */
  function take(text) {
    me.words = JSON.parse(text);
  }

  /** Make an element: attributes, handlers (onclick), properties by ".name", then children or texts. */
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
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

  /** Show a screen in place of the one before; `ending` is called when another is. */
  function show(name, ending, ...children) {
    leave();
    leave = ending || (() => {});
    document.body.dataset.screen = name;
    const view = document.getElementById("view");
    fill(view, ...children);
    scrollTo(0, 0);
    view.querySelector("h1").focus({ preventScroll: true });
  }

  function heading(text) {
    return el("h1", { tabindex: "-1" }, text);
  }

  return me;
})();
