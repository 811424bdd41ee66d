"""Does the method work? Table 3 of the paper on the embedded pair, scored against ground truth.

Pairs are held out: references move as training never showed in detail (and, for some, by programs it
never saw), prompts ask for shape and colour couples that training left out.

    python -m motionecho.backbones.toy.ablation table --pairs 64 --seeds 2 --out results
    python -m motionecho.backbones.toy.ablation curve --pairs 64 --seeds 4 --out results
"""

import argparse
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from motionecho.backbones.pair import ModelPair
from motionecho.backbones.registry import HERE, load_pair
from motionecho.backbones.toy.motions import TRAVELLING_MOTIONS
from motionecho.backbones.toy.render import render, to_uint8
from motionecho.backbones.toy.sprites import Scenes, captions, sample_scenes
from motionecho.backbones.toy.verdict import (
    centre_error,
    load_judge,
    steadiness,
    text_accuracy,
    velocity_cosine,
    verdict,
)
from motionecho.config import EchoConfig
from motionecho.echo import echo
from motionecho.inversion import Motion, ddim_invert, reference_target
from motionecho.teacher import motionclone
from motionecho.trace import StepTrace, Trace

SPLITS = {"validation": 20_000, "test": 10_000}  # first generator seed; tuning sees the former only

Row = Mapping[str, Any]
TABLE: dict[str, Row] = {
    "student": {"preset": "student"},
    "+ motion guidance": {"preset": "guided-student", "noise_blend": 0},
    "+ inverted noise": {"preset": "guided-student"},
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
class Task:
    """n pairs of reference and prompt, ready to sample from."""

    pair: ModelPair
    scenes: Scenes
    prompts: list[str]
    motion: Motion
    text: Tensor
    null: Tensor

    @classmethod
    def draw(cls, pair: ModelPair, n: int, split: str, config: EchoConfig) -> "Task":
        generator = torch.Generator().manual_seed(SPLITS[split])
        scenes = sample_scenes(n, generator, motions=TRAVELLING_MOTIONS, looks="any")
        prompts = captions(sample_scenes(n, generator, looks="held_out"), texture=False)
        z0 = torch.stack([pair.encode_video(clip) for clip in to_uint8(render(scenes))])
        null = pair.encode_text([""] * n)
        motions = [
            Motion(
                z_T,
                *(
                    reference_target(model, one[None], null[:1], config)
                    for model in (pair.student, pair.teacher)
                ),
            )
            for z_T, one in zip(ddim_invert(pair.teacher, z0, null, config), z0, strict=True)
        ]
        return cls(pair, scenes, prompts, Motion.stack(motions, pair.device), pair.encode_text(prompts), null)

    def sample(
        self, config: EchoConfig, seed: int, teacher_only: int | None = None
    ) -> tuple[Tensor, list[Trace]]:
        """Clean latents [n, c, f, h, w] of every pair with the noise of `seed`, and their traces."""
        traces = [Trace() for _ in self.prompts]

        def record(lines: list[StepTrace]) -> None:
            for trace, line in zip(traces, lines, strict=True):
                trace.steps.append(line)

        seeds = [1000 * seed + k for k in range(len(self.prompts))]
        if teacher_only is None:
            z0 = echo(
                self.pair.student, self.pair.teacher, self.motion, self.text, self.null, seeds, config, record
            )
        else:
            z0, log = motionclone(
                self.pair.teacher, self.motion, self.text, self.null, seeds, config, teacher_only
            )
            for lines in log:
                record(lines)
        return z0, traces

    def score(self, z0: Tensor, traces: Sequence[Trace]) -> list[dict[str, Any]]:
        """Ground-truth scores and cost of every sample."""
        judge, truth = (
            load_judge(str(HERE / "toy/weights/judge.safetensors"), str(self.pair.device)),
            self.scenes.screen(),
        )
        rows = []
        for k, prompt in enumerate(self.prompts):
            frames = torch.from_numpy(self.pair.decode_video(z0[k : k + 1])[0]).movedim(-1, 1) / 127.5 - 1
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
        return rows


def settings_of(pair: ModelPair, row: Row) -> tuple[EchoConfig, int | None]:
    """Config of a table row, and the steps of the teacher alone where the row is that."""
    changes = dict(row)
    only, preset = changes.pop("teacher_only", None), changes.pop("preset", None)
    if only is not None:
        # the same total displacement over any number of steps; guided over the first four fifths
        changes = {"guided_fraction": 0.8, "teacher_strength": 0.1 * 25 / only} | changes
    return pair.spec.config(preset, changes), only


def interval(values: Sequence[float], rounds: int = 2000) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval."""
    data = np.asarray(values, dtype=float)
    draws = np.random.default_rng(0).integers(0, len(data), (rounds, len(data)))
    low, high = np.percentile(data[draws].mean(1), [2.5, 97.5])
    return float(data.mean()), float(low), float(high)


def measure(
    task: Task, rows: Mapping[str, Row], seeds: int, keep: Path | None = None
) -> list[dict[str, Any]]:
    """Run every row for every seed; per-sample scores as flat dicts. `keep` receives each row's latents."""
    results = []
    for number, (name, row) in enumerate(rows.items()):
        config, only = settings_of(task.pair, row)
        kept = []
        for seed in range(seeds):
            began = time.perf_counter()
            z0, traces = task.sample(config, seed, only)
            scored = task.score(z0, traces)
            seconds = (time.perf_counter() - began) / len(scored)
            results += [{"row": name, "seed": seed, "seconds": seconds} | sample for sample in scored]
            kept.append(z0.half().cpu())
        if keep is not None:
            save_file(
                {"z0": torch.stack(kept)}, keep / f"latents-{number:02d}.safetensors", metadata={"row": name}
            )
        print(summary_line(name, [r for r in results if r["row"] == name]), flush=True)
    return results


def summary_line(name: str, samples: Sequence[Mapping[str, Any]]) -> str:
    """One markdown table row: mean [95 % interval over pairs] of each score, and the cost."""
    cells = [name]
    for column in ("velocity", "text", "consistency", "error_px"):
        by_pair = {
            p: float(np.nanmean([s[column] for s in samples if s["pair"] == p]))
            for p in {s["pair"] for s in samples}
        }
        mean, low, high = interval(list(by_pair.values()))
        digits = 1 if column == "error_px" else 3
        cells.append(f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
    for column in ("cost", "student", "student_guided", "teacher", "teacher_guided"):
        cells.append(f"{np.mean([s[column] for s in samples]):.1f}")
    return "| " + " | ".join([*cells, f"{np.mean([s['seconds'] for s in samples]):.2f}"]) + " |"


HEADER = (
    "| row | velocity cosine | text | consistency | centre error px | forward equivalents "
    "| student | student guided | teacher | teacher guided | s/video |\n" + "|---" * 11 + "|"
)


def write_csv(path: Path, samples: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(samples[0]))
        writer.writeheader()
        writer.writerows(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["table", "curve"])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--split", choices=list(SPLITS), default="test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep-latents", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pair = load_pair("toy")
    task = Task.draw(pair, options.pairs, options.split, pair.spec.defaults)
    print(
        f"{options.pairs} {options.split} pairs, {options.seeds} seeds, on {pair.device}\n\n{HEADER}",
        flush=True,
    )
    rows = TABLE if options.what == "table" else CURVE
    results = measure(task, rows, options.seeds, options.out if options.keep_latents else None)
    write_csv(options.out / f"{options.what}.csv", results)


if __name__ == "__main__":
    main()
