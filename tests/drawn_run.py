"""A run of thirty samples as a submit leaves it, made by the ledger of drawn clips: no model, no Ray."""

import random
from pathlib import Path
from typing import Any

import numpy as np

from motionecho.config import EchoConfig
from motionecho.report.preview import write_preview
from motionecho.runs.keys import digest
from motionecho.runs.layout import preview, stats, video
from motionecho.runs.notes import Blob, ErrorNote, Host
from motionecho.runs.records import Record
from motionecho.runs.results import to_parquet
from motionecho.runs.store import RunStore
from motionecho.trace import StepTrace, Trace, by_column
from motionecho.video import read_clip, write_video

CLIPS = Path(__file__).parents[1] / "manifests" / "clips"
NAMES = ("arc", "bounce", "linear", "scale")
STRATEGIES = ("moft", "motionclone")
COUNT, FAILED = 30, 4
ATTEMPT = "1-abc"
HOSTILE = (
    '</script><script>document.title="taken"</script><img src=x onerror="document.title=1">\u2028\u202exe'
)
ECHO = EchoConfig.of(activation_threshold=100, truncation_threshold=80).to_dict()
IDENTITY = {"settings": {"pair": "toy", "fit": "crop", "metrics": ["motion_fidelity"], "echo": ECHO}}


def draw(place: str, older: bool = False, better: float = 0.0) -> list[Record]:
    """Make the run; `older` as a version without previews and steps in records did. Returns its records."""
    store, folder = RunStore(place), Path(place)
    store.create(IDENTITY, {"created_at": "2026-01-01T00:00:00.000+00:00", "versions": {"python": "3.11"}})
    clips = [read_clip(str(CLIPS / f"{name}.mp4"), 16, 64, 64).frames for name in NAMES]
    made: dict[int, list[bytes]] = {}
    records = []
    for number in range(COUNT):
        record = _record(number, better)
        if record.ok:
            sort = number % len(NAMES)
            if sort not in made:
                made[sort] = _files(folder, clips[sort], clips[sort][:, :, ::-1])
            trace = _trace(number)
            key, table = record.key, to_parquet(trace.rows())
            blobs = {
                "video": _put(folder, video(key, ATTEMPT), made[sort][0]),
                "stats": _put(folder, stats(key, ATTEMPT), table),
            }
            if not older:
                blobs["preview"] = _put(folder, preview(key, ATTEMPT), made[sort][1])
            steps = {} if older else by_column(trace.rows())
            record = Record(**_fields(record) | blobs | {"trace": trace.summary(), "steps": steps})
        store.commit(record)
        records.append(record)
    store.compact(records[: COUNT // 2])
    return records


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _record(number: int, better: float) -> Record:
    rng = random.Random(number)
    name, strategy = NAMES[number % len(NAMES)], STRATEGIES[number // 2 % 2]
    id = f"{name}-{number}" if number else 'first "<b>bold</b>"'
    prompt = HOSTILE if number == 0 else f"a {('red', 'green', 'blue')[number % 3]} star, take {number}"
    inputs = {
        "id": id,
        "prompt": prompt,
        "seed": 2**62 + number,
        "reference": str(CLIPS / f"{name}.mp4"),
        "note": HOSTILE,
    }
    common: dict[str, Any] = {
        "key": digest([number])[:32],
        "id": id,
        "inputs": inputs,
        "reference": {"uri": inputs["reference"]},
        "echo": ECHO | {"strategy": strategy},
        "attempts": 1,
        "committed_at": f"2026-01-01T00:00:{number:02}.000+00:00",
    }
    if number % 7 == 3:
        kind, name = ("bad", "BadSample") if number == 3 else ("strike", "Timeout")
        why = ErrorNote(kind=kind, name=name, message=f"it took too long {HOSTILE}", stage="generate")
        return Record(status="failed", error=why, **common)
    fidelity = {"follows": round(rng.uniform(0.3, 0.9) + better, 4), "motion_fidelity_status": "ok"}
    text = {"toy_text": round(rng.uniform(0.8, 1), 4), "toy_text_status": "ok"}
    return Record(
        status="ok",
        attempt=ATTEMPT,
        scores={"motion_fidelity": fidelity, "toy_text": text},
        metrics={"motion_fidelity": {"version": "drawn", "key": "k"}},
        seconds={"generate": 2.0, "generate_sample": 1.5, "generate_decode": 0.25},
        where=Host(name="drawing-board", device="cpu", threads=2),
        **common,
    )


def _trace(number: int) -> Trace:
    rng, trace = random.Random(100 + number), Trace()
    for n in range(8):
        step = StepTrace(n, 1000.0 - 125 * n, 875.0 - 125 * n, seconds=0.1)
        step.spend("student", 1, 0)
        if n < 4:
            step.loss = step.window_mean = rng.uniform(60, 240)
            step.active = step.loss > 100
            step.teacher_steps = rng.randint(1, 4) if step.active else 0
            step.truncated = step.active and step.teacher_steps < 4
            step.spend("teacher", step.teacher_steps, step.teacher_steps)
        trace.steps.append(step)
    return trace


def _files(folder: Path, reference: np.ndarray, result: np.ndarray) -> list[bytes]:
    """Return the bytes of a video and of its preview."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".drawn.mp4"
    write_video(path, result, 8)
    whole = [path.read_bytes()]
    write_preview(path, reference, result, 8)
    whole.append(path.read_bytes())
    path.unlink()
    return whole


def _put(folder: Path, uri: str, data: bytes) -> Blob:
    path = folder / uri
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Blob.of(uri, str(path))
