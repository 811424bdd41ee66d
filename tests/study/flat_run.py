"""Runs whose videos are of one colour a method, so that a picture tells whose video it is."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motionecho.runs.keys import digest
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.video import write_video

RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 160, 30), (30, 30, 200), (120, 120, 120)
COLORS = {"student": RED, "motionecho": GREEN, "teacher": BLUE}
IDENTITY = {"settings": {"pair": "toy", "fit": "crop"}}
FRAMES, SIZE, FPS = 4, (32, 48), 8


def flat(color: tuple[int, int, int], frames: int = FRAMES, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((frames, *size, 3), color, np.uint8)


def row(reference: int, prompt: str, method: str, seed: int = 1, **cells: Any) -> dict[str, Any]:
    return {"reference": reference, "prompt": prompt, "method": method, "seed": seed, **cells}


def rows(
    references: int, prompts: int, methods: Iterable[str] = ("student", "motionecho")
) -> list[dict[str, Any]]:
    """Every method on so many references with so many prompts each."""
    return [
        row(n, f"prompt {n}-{k}", method)
        for n in range(references)
        for k in range(prompts)
        for method in methods
    ]


def write_run(
    place: Path, rows: Iterable[Mapping[str, Any]], colors: Mapping[str, tuple[int, int, int]] = COLORS
) -> RunStore:
    """Write a run with a finished sample a row, without a model; references lie beside the run."""
    store = RunStore(str(place))
    store.create(IDENTITY, {})
    for number, cells in enumerate(rows):
        cells = dict(cells)
        reference = place.parent / f"reference-{cells['reference']}.mp4"
        if not reference.exists():
            write_video(reference, flat(GREY), FPS)
        key, method = digest([str(place), number])[:32], cells.pop("method")
        uri = store.video_uri(key, "1-a")
        path = place / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = {name: cells.pop(name) for name in ("frames", "size") if name in cells}
        write_video(path, flat(colors[method], **shown), FPS)
        echo = {"method": method, "strategy": cells.pop("strategy", "motionclone"), "background": "black"}
        store.commit(
            Record(
                key=key, id=f"{method}-{number}", status="ok", attempt="1-a", attempts=1, echo=echo,
                inputs={**cells, "reference": str(reference)}, reference={"uri": str(reference)},
                facts={"pair": "toy"}, video=Blob.of(uri, str(path)),
                committed_at=f"2026-01-01T00:00:{number % 60:02}.000+00:00",
            )
        )  # fmt: skip
    return store
