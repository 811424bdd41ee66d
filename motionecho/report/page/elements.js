"use strict";
/* How elements are made. Nothing here or elsewhere parses HTML: texts of strangers become text nodes. */
const elements = (() => {
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

  return { el, svg, fill, say };
})();
