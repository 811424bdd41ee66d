"use strict";
/* Videos that load when they come into sight and are let go when they leave it: browsers hold some dozens only.
   Reference and result are one file, so that they cannot but be in step. */
(() => {
  const me = motionecho;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const SPEEDS = [1, 0.5, 0.25],
    FRAME = 1 / 8; // seconds of one, of most pairs
  const near = new Set(); // in sight, or nearly
  let paused = false; // by a person, all of them

  const watcher = new IntersectionObserver(
    (seen) => {
      for (const { target, isIntersecting } of seen) (isIntersecting ? enter : leave)(target);
    },
    { rootMargin: "300px 0px" },
  );

  const still = () => paused || calm.matches;
  me.isPaused = () => still();

  me.pauseAll = () => {
    paused = !paused;
    for (const video of near) still() ? video.pause() : play(video);
    me.say(paused ? "videos paused" : "videos play");
    return paused;
  };
  calm.addEventListener("change", () => near.forEach((video) => (still() ? video.pause() : play(video))));

  /** Make the picture of a sample: its preview, or its video alone; null where it has neither. */
  me.player = (sample, { big = false } = {}) => {
    const source = sample.preview || sample.video;
    if (!source) return null;
    const video = me.el("video", {
      class: sample.preview ? "pair" : "alone",
      loop: true,
      playsinline: true,
      preload: "none",
      tabindex: "-1",
      "aria-label": describe(sample),
      ".muted": true,
      ".disablePictureInPicture": true,
    });
    video.dataset.source = source;
    if (sample.preview) video.addEventListener("loadedmetadata", () => shape(video));
    video.addEventListener("error", () => lost(video, sample));
    if (big) video.addEventListener("click", () => (video.paused ? play(video) : video.pause()));
    else {
      const frame = () => video.closest("button") || video;
      requestAnimationFrame(() => {
        for (const name of ["pointerenter", "focus"]) frame().addEventListener(name, () => play(video));
        for (const name of ["pointerleave", "blur"])
          frame().addEventListener(name, () => still() && video.pause());
      });
    }
    watcher.observe(video);
    return video;
  };

  /** Give all players the shape of the first that is known, so that nothing moves when others load. */
  function shape({ videoWidth, videoHeight }) {
    const root = document.documentElement.style;
    if (videoHeight && !root.getPropertyValue("--shape"))
      root.setProperty("--shape", videoWidth / videoHeight);
  }

  function describe(sample) {
    const what = sample.preview ? `reference ${sample.clip} at the left, result at the right` : "the result";
    return `Video of ${sample.id}: ${what}. Prompt: ${sample.prompt}`;
  }

  function enter(video) {
    near.add(video);
    if (!video.hasAttribute("src")) video.src = video.dataset.source;
    if (still())
      video.preload = "metadata"; // its first frame
    else play(video);
  }

  function leave(video) {
    near.delete(video);
    video.pause();
    if (video.hasAttribute("src")) {
      video.removeAttribute("src");
      video.load();
    }
  }

  function play(video) {
    if (!video.hasAttribute("src")) video.src = video.dataset.source;
    if (video.dataset.led) {
      video.preload = "auto";
      return;
    }
    video.play().catch(() => {}); // taken out of sight meanwhile, or the browser wants a click first
  }

  /** A preview that is not there gives way to the video, and that to a word. */
  function lost(video, sample) {
    if (!video.hasAttribute("src")) return;
    if (video.dataset.source === sample.preview && sample.video) {
      video.dataset.source = video.src = sample.video;
      video.className = "alone";
      video.setAttribute("aria-label", describe({ ...sample, preview: null }));
      const sides = video.closest(".frame")?.querySelector(".sides");
      if (sides) me.fill(sides, me.el("i", {}, "result, its preview cannot be shown"));
    } else {
      watcher.unobserve(video);
      near.delete(video);
      video.replaceWith(me.el("span", { class: "nothing" }, "its video is not where its record says"));
    }
  }

  me.forget = (root) =>
    root.querySelectorAll("video").forEach((video) => {
      watcher.unobserve(video);
      leave(video);
    });

  /** Make what plays, stops and shifts videos; the others follow the first. */
  me.controls = (videos) => {
    const [video] = videos;
    const toggle = me.el(
      "button",
      { type: "button", class: "toggle", onclick: () => (video.paused ? play(video) : video.pause()) },
      "Play",
    );
    const place = me.el("input", {
      type: "range",
      min: 0,
      max: 1,
      step: "any",
      value: 0,
      "aria-label": "place in the video",
    });
    const shift = (by) => {
      video.pause();
      video.currentTime = Math.min(video.duration - FRAME / 2, Math.max(0, video.currentTime + by * FRAME));
    };
    place.addEventListener("input", () => {
      video.pause();
      video.currentTime = place.value * video.duration;
    });
    for (const name of ["timeupdate", "seeked"])
      video.addEventListener(name, () => (place.value = video.currentTime / video.duration || 0));
    for (const name of ["play", "pause"])
      video.addEventListener(name, () => (toggle.textContent = video.paused ? "Play" : "Pause"));
    const speed = me.el(
      "select",
      { onchange: () => videos.forEach((each) => (each.playbackRate = Number(speed.value))) },
      SPEEDS.map((value) => me.el("option", { value }, `${value} ×`)),
    );
    const button = (text, name, act) =>
      me.el("button", { type: "button", "aria-label": name, title: name, onclick: act }, text);
    return me.el(
      "div",
      { class: "controls" },
      toggle,
      button("‹", "One frame back", () => shift(-1)),
      button("›", "One frame on", () => shift(1)),
      place,
      me.el("label", {}, me.el("span", { class: "unseen" }, "speed"), speed),
    );
  };

  /** Keep videos of two runs together: the others do not play, but are put to every frame that the first shows. */
  me.inStep = (videos) => {
    const [first, ...others] = videos;
    if (first.requestVideoFrameCallback) {
      const follow = (_, { mediaTime }) => {
        for (const other of others)
          if (!other.seeking && other.readyState) other.currentTime = mediaTime + 0.01;
        first.requestVideoFrameCallback(follow);
      };
      others.forEach((other) => (other.dataset.led = "yes"));
      first.requestVideoFrameCallback(follow);
      return;
    }
    first.addEventListener("timeupdate", () => {
      for (const other of others) {
        if (Math.abs(other.currentTime - first.currentTime) > 0.06 && other.readyState > 1)
          other.currentTime = first.currentTime;
      }
    });
    first.addEventListener("seeked", () =>
      others.forEach((other) => (other.currentTime = first.currentTime)),
    );
    for (const name of ["play", "pause"])
      first.addEventListener(name, () =>
        others.forEach((other) => (name === "play" ? play(other) : other.pause())),
      );
  };
})();
