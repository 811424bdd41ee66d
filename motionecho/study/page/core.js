"use strict";
/* The one object of the page: the study as its script hands it over. */
const study = (() => {
  const me = { words: null, take, show, heading, ...elements };
  let leave = () => {}; // what ends the screen that is shown

  /** Take what data.js hands over. */
  function take(text) {
    me.words = JSON.parse(text);
  }

  /** Show a screen in place of the one before; `ending` is called when another is. */
  function show(name, ending, ...children) {
    leave();
    leave = ending || (() => {});
    document.body.dataset.screen = name;
    const view = document.getElementById("view");
    me.fill(view, ...children);
    scrollTo(0, 0);
    view.querySelector("h1").focus({ preventScroll: true });
  }

  function heading(text) {
    return me.el("h1", { tabindex: "-1" }, text);
  }

  return me;
})();
