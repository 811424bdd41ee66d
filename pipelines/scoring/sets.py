"""Set metrics of a scored source: the features its records name, read back and compared in the driver."""

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motionecho.errors import UserError
from motionecho.metrics.sets import SETS, check_fid, set_score
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.scoring.run import Scoring


def score_sets(
    names: Iterable[str], records: Sequence[Record], scoring: Scoring, store_url: str, allow_small_fid: bool
) -> dict[str, dict[str, Any]]:
    """Take every named set metric over the records' videos and their distinct references; keep it.

    What cannot be said is a row with its reason as `status`, never an error: the figures per video stand.
    """
    store = RunStore(store_url)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        embedder = SETS[name]
        if embedder in scoring.skipped:
            found[name] = {"status": "skipped", "reason": scoring.skipped[embedder]}
            continue
        rows = [record.scores[embedder] for record in records if record.ok and embedder in record.scores]
        videos = dict.fromkeys(row[f"{embedder}_video"] for row in rows)
        references = dict.fromkeys(uri for row in rows if (uri := row[f"{embedder}_reference"]))
        try:
            if name == "fid":
                check_fid(len(videos), len(references), allow_small_fid)
            features = [_read(store, uris) for uris in (videos, references)]
            found[name] = set_score(name, *features) | {"features": scoring.metrics[embedder]}
        except UserError as refusal:
            found[name] = {"status": "refused", "reason": str(refusal)}
    if found:
        store.put_text(store.sets_uri, json.dumps(found, indent=1))
    return found


def _read(store: RunStore, uris: Iterable[str]) -> list[NDArray[np.float32]]:
    return [np.load(io.BytesIO(data), allow_pickle=False) for data in store.folder.read_all(uris)]
