"""Runs of drawn videos, as a submit leaves them: no model, no Ray."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motionecho.runs.keys import digest
from motionecho.runs.layout import video
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.video import write_video
from tests.runs.conftest import s3 as s3

Fill = Callable[..., RunStore]
SETTINGS = {"settings": {"pair": "toy-dit", "echo": {"steps": 4}}}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], bytes]:
    """Give the bytes of a clip: a square that goes its own way, by number, as x264 encodes it at a crf."""
    folder, made = tmp_path_factory.mktemp("clips"), dict[tuple[int, int], bytes]()

    def one(number: int, crf: int = 18) -> bytes:
        if (number, crf) not in made:
            rng = np.random.default_rng(number)
            frames = np.zeros((8, 64, 64, 3), np.uint8) + rng.integers(0, 200, 3, np.uint8)
            y, x = rng.integers(0, 24, 2)
            for step, frame in enumerate(frames):
                frame[y + 2 * step : y + 2 * step + 20, x + step : x + step + 20] = rng.integers(0, 255, 3)
            write_video(folder / "clip.mp4", frames, 8, crf=crf)
            made[number, crf] = (folder / "clip.mp4").read_bytes()
        return made[number, crf]

    return one


@pytest.fixture
def fill(clips: Callable[[int, int], bytes], tmp_path: Path) -> Fill:
    """Commit samples to a run, made where it is not there; what a row lacks is made up from its place.

    A row: id, reference (its sha256 is made of it), prompt, clip and crf, key, figures, pair, weights,
    inputs, failed.
    """

    def one(place: str, rows: list[dict[str, Any]], compact: bool = True) -> RunStore:
        store = RunStore(place)
        store.create(SETTINGS, {})
        made = []
        for number, row in enumerate(rows):
            id, name = row.get("id", f"s{number}"), row.get("reference", "one")
            key = row.get("key") or digest([place, id])[:32]
            inputs = {"id": id, "reference": f"/clips/{name}.mp4", "prompt": "a star", "seed": number}
            inputs |= {"prompt": row["prompt"]} if "prompt" in row else {}
            inputs |= row.get("inputs", {})
            about: dict[str, Any] = {"key": key, "id": id, "inputs": inputs}
            about["committed_at"] = f"2026-01-01T00:00:{number:02}.000+00:00"
            if row.get("failed"):
                made.append(Record(status="failed", error=ErrorNote(name="X"), **about))
            else:
                (tmp_path / "blob").write_bytes(clips(row.get("clip", number), row.get("crf", 18)))
                scores = {"motion_fidelity": {"follows": row.get("follows", 0.5)}}
                scores |= {metric: {metric: value} for metric, value in row.get("figures", {}).items()}
                made.append(
                    Record(
                        status="ok",
                        video=store.put_blob(video(key, "1-a"), str(tmp_path / "blob")),
                        reference={"uri": inputs["reference"], "sha256": digest(name)},
                        facts={"pair": row.get("pair", "toy-dit"), "frames": 8, "fps": 8.0},
                        weights=row.get("weights", {}),
                        scores=scores,
                        **about,
                    )
                )
            store.commit(made[-1])
        if compact:
            store.compact(made)
        return store

    return one


@pytest.fixture
def run(fill: Fill, tmp_path: Path) -> RunStore:
    """Twelve samples of four references, one of which failed; a text in one manifest column."""
    rows = [
        {"id": f"{'abcd'[n % 4]}/{n}", "reference": "abcd"[n % 4], "prompt": f"prompt {n}", "follows": n / 10,
         "inputs": {"take": n, "note": "first" if n < 4 else None}, "figures": {"toy_text": 1 - n / 20},
         "failed": n == 11}
        for n in range(12)
    ]  # fmt: skip
    return fill(str(tmp_path / "run"), rows)


@pytest.fixture
def flipped() -> Callable[[RunStore, str], Blob]:
    """Change a bit in the middle of a sample's video."""

    def one(store: RunStore, id: str) -> Blob:
        (blob,) = [record.video for record in store.records() if record.id == id and record.video]
        data = bytearray(store.folder.read(blob.uri))
        data[len(data) // 2] ^= 1
        store.folder.overwrite(blob.uri, bytes(data))
        return blob

    return one


@pytest.fixture(params=["disk", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for an export."""
    if request.param == "s3":
        yield f"{request.getfixturevalue('s3')}/{tmp_path.name}-out"
    else:
        yield str(tmp_path / "out") if request.param == "disk" else f"memory://{tmp_path.name}-out"
