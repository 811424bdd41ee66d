"""Does the method work? Table 3 of the paper on the embedded pair, scored against ground truth.

Pairs are held out: references move as training never showed in detail (and, for some, by programs it
never saw), prompts ask for shape and colour couples that training left out.

    motionecho bench methods --pairs 64 --seeds 2            # TABLE
    motionecho bench methods --curve --pairs 64 --seeds 4    # CURVE
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motionecho.bench.ablation_report import TRACKED
from motionecho.config import EchoConfig
from motionecho.echo import echo
from motionecho.guidance.strategy import strategy_of
from motionecho.inversion import Motion, adapters, inverted
from motionecho.metrics.protocol import Item, Metric
from motionecho.models.pair import ModelPair
from motionecho.models.toy.settings import JUDGE
from motionecho.sprites.judge import (
    centre_error,
    load_judge,
    steadiness,
    text_accuracy,
    velocity_cosine,
    verdict,
)
from motionecho.sprites.motions import TRAVELLING_MOTIONS
from motionecho.sprites.render import render, to_uint8
from motionecho.sprites.scenes import Scenes, captions, sample_scenes
from motionecho.teacher import alone
from motionecho.trace import StepTrace, Trace

SPLITS = {"validation": 20_000, "test": 10_000}  # first generator seed; tuning sees the former only

Row = Mapping[str, Any]
TABLE: dict[str, Row] = {
    "student": {"preset": "student"},
    "+ motion guidance": {"preset": "guided-student", "noise_blend": 0},
    "+ inverted noise": {"preset": "guided-student", "noise_blend": 0.03, "inversion_steps": 25},
    "+ teacher": {"preset": "teacher-always"},
    "+ adaptive": {},
    "paper's setting": {"preset": "paper"},
    "teacher only, 50 steps": {"teacher_only": 50},
}
CURVE: dict[str, Row] = {
    **{f"guided student, {n} steps": {"preset": "guided-student", "steps": n} for n in (4, 8, 16)},
    **{f"MotionEcho always, {n} steps": {"preset": "teacher-always", "steps": n} for n in (4, 8, 16)},
    **{f"MotionEcho adaptive, {n} steps": {"steps": n} for n in (4, 8, 16)},
    **{f"teacher only, {n} steps": {"teacher_only": n} for n in (10, 15, 25, 50)},
}


@dataclass(frozen=True)
class AblationSet:
    """A set of n pairs of reference and prompt, ready to sample from."""

    pair: ModelPair
    scenes: Scenes
    clips: NDArray[np.uint8]
    prompts: list[str]
    motion: Motion
    text: Tensor
    null: Tensor
    training_s: float  # of each reference

    @classmethod
    def draw(cls, pair: ModelPair, n: int, split: str, config: EchoConfig) -> "AblationSet":
        generator = torch.Generator().manual_seed(SPLITS[split])
        scenes = sample_scenes(n, generator, motions=TRAVELLING_MOTIONS, looks="any")
        prompts = captions(sample_scenes(n, generator, looks="held_out"), texture=False)
        clips = to_uint8(render(scenes))
        z0 = torch.stack([pair.codec.encode(clip) for clip in clips])
        null = pair.encode_text([""] * n)
        reference, schedule = config.reference, pair.schedule
        z_T = inverted(pair.teacher, schedule, z0, null, reference)
        student, teacher = (
            [strategy_of(model, reference).prepare(model, schedule, one[None], null[:1]) for one in z0]
            for model in (pair.student, pair.teacher)
        )
        parts = zip(z_T, student, teacher, strict=True)
        motions = [Motion(*each, reference, pair.spec.name) for each in parts]
        motion, seconds = Motion.stack(motions, pair.device), 0.0
        if reference.trains:  # all beside each other, to the end that each would come to alone
            began = time.perf_counter()
            text = pair.encode_text(captions(scenes, texture=False))
            trained = adapters(pair, z0, text, reference)
            seconds = (time.perf_counter() - began) / n
            motion = replace(
                motion,
                **{role: replace(getattr(motion, role), adapter=its) for role, its in trained.items()},
            )
        return cls(pair, scenes, clips, prompts, motion, pair.encode_text(prompts), null, seconds)

    def sample(self, config: EchoConfig, seed: int) -> tuple[Tensor, list[Trace]]:
        """Sample latents [n, c, f, h, w] of every pair with the noise of `seed`; return them and traces."""
        traces = [Trace() for _ in self.prompts]

        def record(lines: list[StepTrace]) -> None:
            for trace, line in zip(traces, lines, strict=True):
                trace.steps.append(line)

        seeds = [1000 * seed + k for k in range(len(self.prompts))]
        method = alone if config.sampling.method == "teacher" else echo
        z0 = method(self.pair, self.motion, self.text, self.null, seeds, config, record)
        return z0, traces

    def score(
        self, z0: Tensor, traces: Sequence[Trace], tracked: Metric | None = None
    ) -> list[dict[str, Any]]:
        """Score every sample against ground truth, with its cost and, where one is given, a tracker."""
        judge, truth = (
            load_judge(str(JUDGE), str(self.pair.device)),
            self.scenes.screen(),
        )
        rows = []
        for k, prompt in enumerate(self.prompts):
            video = self.pair.codec.decode(z0[k : k + 1])[0]
            frames = torch.from_numpy(video).movedim(-1, 1) / 127.5 - 1
            seen = {name: value.cpu() for name, value in verdict(judge, frames.to(self.pair.device)).items()}
            right = text_accuracy(seen, prompt)
            rows.append(
                {
                    "pair": k,
                    "motion": self.scenes.motion[k],
                    "velocity": velocity_cosine(seen["centre"], truth[k]),
                    "error_px": centre_error(seen["centre"], truth[k]),
                    "text": sum(right.values()) / len(right),
                    "consistency": steadiness(seen),
                    "cost": traces[k].forward_equivalents(),
                    "activated": sum(line.active for line in traces[k].steps),
                    **traces[k].evaluations(),
                }
            )
            if tracked is not None:
                figures = tracked(Item(video, self.clips[k], prompt, self.pair.spec.fps))
                found = {name: figures[name] for name in TRACKED}
                rows[-1] |= {name: float("nan") if x is None else x for name, x in found.items()}
        return rows


def settings_of(pair: ModelPair, row: Row) -> EchoConfig:
    """Return the config of a table row."""
    changes = dict(row)
    only, preset = changes.pop("teacher_only", None), changes.pop("preset", None)
    if only is None:
        return pair.spec.config(preset, changes)
    walk = pair.spec.config(preset, changes | {"method": "teacher"})
    strength = walk.guidance.teacher_strength
    if walk.guidance.steer == "shift":  # the same total displacement over any number of steps
        strength *= walk.teacher.teacher_grid_steps / only
    return walk.updated({"teacher_grid_steps": only, "teacher_strength": strength})


def measure(task: AblationSet, row: Row, seeds: int, tracked: Metric | None = None) -> list[dict[str, Any]]:
    """Run one row for every seed: per-sample scores as flat dicts."""
    config = settings_of(task.pair, row)
    samples = []
    for seed in range(seeds):
        began = time.perf_counter()
        z0, traces = task.sample(config, seed)
        seconds = (time.perf_counter() - began) / len(traces)
        samples += [
            {"seed": seed, "seconds": seconds, "training": task.training_s} | s
            for s in task.score(z0, traces, tracked)
        ]
    return samples
