"""The cost of a video: seconds, memory and network evaluations of every way to sample, on this device."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motionecho.bench.ablation import settings_of
from motionecho.bench.clock import timed
from motionecho.bench.tables import WAYS, WORDS
from motionecho.config import EchoConfig, ReferenceSettings
from motionecho.inversion import Motion, invert
from motionecho.make import Maker
from motionecho.models.pair import ModelPair
from motionecho.trace import Trace

PROMPT = "a red star on a blue background"  # in words that every pair knows
# Random networks do not denoise: strong guidance would carry their latents away. What it costs is the same.
STEADY = {"gradient": "unit_rms", "student_strength": 0.1, "teacher_strength": 0.1,
          "teacher_guidance_scale": 1.5}  # fmt: skip
MODES: dict[str, dict[str, Any]] = {
    "plain": {"activation": "never", "student_strength": 0.0},
    "guided": {"activation": "never"},
    "teacher always": {"activation": "always"},
    "adaptive": {"activation": "adaptive", "threshold_unit": "loss"},
}
PRICED = 4  # steps of training that are run, to price the whole


def measure(
    pair: ModelPair, steps: Sequence[int], repeats: int = 3, changes: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one row for every number of steps and mode, after the row of the inversion of a reference.

    Seconds are the median of `repeats` videos from prompt to frames, after one that is not counted; memory
    is the peak of what torch holds of the device in GiB, None where it does not count. Adaptive runs have
    the thresholds at which the teacher serves about half of its steps, found by a run in which it serves all.
    """
    config = pair.spec.defaults.updated((STEADY if pair.spec.is_random else {}) | (changes or {}))
    clip = clip_of(pair)
    timed(lambda: invert(pair, clip, config.updated({"inversion_steps": 1})), pair.device)
    seconds, peak, motion = timed(lambda: invert(pair, clip, config), pair.device)
    yield {
        "steps": config.reference.inversion_steps,
        "mode": "inversion",
        "seconds": seconds,
        "peak_gib": peak,
    }

    for number in steps:
        for mode, its in MODES.items():
            row = config.updated({"steps": number} | its | _own(config, mode))
            if mode == "adaptive":
                row = row.updated(_halfway(pair, motion, row))
            video(pair, motion, row)
            runs = [timed(partial(video, pair, motion, row), pair.device) for _ in range(repeats)]
            trace = runs[-1][2]
            yield {
                "steps": number,
                "mode": mode,
                "seconds": round(statistics.median(run[0] for run in runs), 4),
                "peak_gib": runs[-1][1],
                **trace.evaluations(),
                "forwards": trace.forward_equivalents(),
                "activated": sum(step.active for step in trace.steps),
                "delta_1": row.activation.activation_threshold if mode == "adaptive" else None,
                "delta_2": row.activation.truncation_threshold if mode == "adaptive" else None,
            }


def by_strategy(
    pair: ModelPair, steps: int, repeats: int = 1, changes: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one row for each strategy of the pair and way to sample, and one for structure control if it can.

    Training is timed over a few steps and priced for all, in seconds a reference, without its inversion.
    Adaptive activation is left out: it costs what lies between the student's and always.
    """
    ways = {name: row for name, row in WAYS.items() if row.get("activation") != "adaptive"}
    rows = {f"{word}, {name}": {"strategy": word, **row} for word in WORDS for name, row in ways.items()}
    if "structure" in pair.spec.methods:
        rows["structure"] = {"method": "structure"}
    clip, seen, prepared = clip_of(pair), None, dict[str, float | None]()
    for name, row in rows.items():
        if row.get("strategy") in pair.spec.lacks:
            continue
        config = settings_of(pair, row).updated(STEADY if pair.spec.is_random else {})
        config = config.updated({"steps": steps} | (changes or {}))
        short = replace(config.reference, inversion_steps=1, train_steps=PRICED)
        if short != seen:
            seen = short
            motion, prepared = _prepared(pair, clip, config, short)
        video(pair, motion, config)
        runs = [timed(partial(video, pair, motion, config), pair.device) for _ in range(repeats)]
        yield {
            "steps": steps,
            "mode": name,
            "seconds": round(statistics.median(run[0] for run in runs), 3),
            "peak_gib": runs[-1][1],
            "forwards": runs[-1][2].forward_equivalents(),
            **prepared,
        }


def _prepared(
    pair: ModelPair, clip: NDArray[np.uint8], config: EchoConfig, short: ReferenceSettings
) -> tuple[Motion, dict[str, float | None]]:
    """See a reference by settings cut `short`; return its motion, and what training by the whole takes."""

    def seen(train_steps: int) -> tuple[float, float | None, Motion]:
        few = replace(config, reference=replace(short, train_steps=train_steps))
        return timed(lambda: invert(pair, clip, few), pair.device)

    *_, motion = seen(PRICED)  # what is built at first use is not counted
    motion = replace(motion, reference=config.reference)
    if not short.trains:
        return motion, {"training_s": None, "training_gib": None}
    (once, *_), (twice, peak, _) = seen(PRICED), seen(2 * PRICED)
    whole = (twice - once) / PRICED * config.reference.train_steps
    return motion, {"training_s": round(whole, 1), "training_gib": peak}


def clip_of(pair: ModelPair) -> NDArray[np.uint8]:
    """Draw a clip of noise at the pair's size."""
    size = (pair.spec.frames, pair.spec.height, pair.spec.width, 3)
    return np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)


def _own(config: EchoConfig, mode: str) -> dict[str, Any]:
    """Return what a mode changes: a student that is not guided by default is guided in its own row."""
    return {"student_strength": 0.1} if mode == "guided" and config.guidance.student_strength == 0 else {}


def video(pair: ModelPair, motion: Motion, config: EchoConfig) -> Trace:
    """Make a video from prompt to frames; return how it came about."""
    return Maker(pair).make(motion, PROMPT, 0, config).trace


def _halfway(pair: ModelPair, motion: Motion, config: EchoConfig) -> dict[str, float]:
    """Return thresholds between the losses of a run in which neither of them counts."""
    trace = video(pair, motion, config.updated({"activation_threshold": 0.0, "truncation_threshold": 0.0}))
    served = [step for step in trace.steps if step.active]
    means = [step.window_mean for step in served if step.window_mean is not None]
    losses = [step.teacher_loss for step in served if step.teacher_loss is not None]
    return {
        "activation_threshold": statistics.median_low(means) if len(means) > 1 else 0.0,
        "truncation_threshold": statistics.median(losses) if losses else 0.0,
    }
