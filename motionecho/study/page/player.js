"use strict";
/* One video with all tiles in it plays unseen, and each tile is drawn from the frame that it is at: they cannot but be
   in step. */
(() => {
  const me = study;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const SPEEDS = [1, 0.5, 0.25];

  /** Play a pair: `canvas(tile)` makes a picture of a tile; `controls` play, stop, slow and shift all of them. */
  me.play = (pair) => {
    const pictures = [];
    const video = me.el("video", {
      class: "unseen",
      src: pair.clip,
      loop: true,
      playsinline: true,
      preload: "auto",
      tabindex: "-1",
      "aria-hidden": "true",
      ".muted": true,
      ".disablePictureInPicture": true,
    });
    const place = me.el("input", {
      type: "range",
      min: 0,
      max: 1,
      step: "any",
      value: 0,
      "aria-label": "place in the videos",
    });

    function draw() {
      for (const { tile, context } of pictures) {
        const left = (tile % pair.columns) * (pair.width + 2 * pair.edge) + pair.edge;
        const top = Math.floor(tile / pair.columns) * (pair.height + 2 * pair.edge) + pair.edge;
        context.drawImage(video, left, top, pair.width, pair.height, 0, 0, pair.width, pair.height);
      }
      if (video.duration) place.value = video.currentTime / video.duration;
    }

    let going = true;
    function follow() {
      if (!going) return;
      draw();
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(follow);
      else requestAnimationFrame(follow);
    }
    video.addEventListener("loadeddata", follow);
    video.addEventListener("seeked", draw);

    const toggle = me.el(
      "button",
      { type: "button", class: "toggle", onclick: () => player.toggle() },
      "Play",
    );
    for (const name of ["play", "pause"])
      video.addEventListener(name, () => (toggle.textContent = video.paused ? "Play" : "Pause"));
    place.addEventListener("input", () => {
      video.pause();
      video.currentTime = Math.min(place.value * video.duration, video.duration - 0.01);
    });
    const speed = me.el(
      "select",
      { onchange: () => (video.playbackRate = Number(speed.value)) },
      SPEEDS.map((value) => me.el("option", { value }, `${value} ×`)),
    );
    const lost = me.el(
      "p",
      { class: "note", hidden: true, role: "alert" },
      "The videos of this pair cannot be played here: they are not beside the page, or this browser has no H.264.",
    );
    video.addEventListener("error", () => video.hasAttribute("src") && (lost.hidden = false));

    const player = {
      video,
      lost,
      controls: me.el(
        "div",
        { class: "controls" },
        toggle,
        place,
        me.el("label", {}, me.el("span", { class: "unseen" }, "speed"), speed),
      ),
      canvas: (tile, label) => {
        const picture = me.el("canvas", {
          width: pair.width,
          height: pair.height,
          role: "img",
          "aria-label": label,
        });
        pictures.push({ tile, context: picture.getContext("2d") });
        return picture;
      },
      toggle: () => (video.paused ? video.play().catch(() => {}) : video.pause()),
      start: () => calm.matches || video.play().catch(() => {}), // which may want a click first
      end: () => {
        going = false;
        video.pause();
        video.removeAttribute("src");
        video.load();
      },
    };
    return player;
  };

  /** Have the browser fetch the clip that comes next. */
  me.ahead = (pair) => {
    me.coming = me.el("video", { src: pair.clip, preload: "auto", ".muted": true });
  };
})();
