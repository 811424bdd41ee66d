"""Set metrics of a scored source: the features its records name, read back and compared in the driver."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from motionecho.errors import UserError
from motionecho.metrics.sets import SETS, check_fid, set_score
from motionecho.runs.notes import ErrorNote, now
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.scoring.run import Scoring
from pipelines.scoring.stage import read_features

FEATURES = ("video", "reference")


def score_sets(
    names: Iterable[str], records: Sequence[Record], scoring: Scoring, store_url: str, allow_small_fid: bool
) -> dict[str, dict[str, Any]]:
    """Take every named set metric over the records' videos and their distinct references; keep it.

    What cannot be said is a row with its reason as `status`, never an error: the figures per video stand.
    Where features are damaged or gone, samples that name them are requeued.
    """
    store = RunStore(store_url)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        embedder = SETS[name]
        if embedder in scoring.skipped:
            found[name] = {"status": "skipped", "reason": scoring.skipped[embedder]}
            continue
        scored = [record for record in records if record.ok and embedder in record.scores]
        videos, references = (
            list(dict.fromkeys(uri for r in scored if (uri := r.scores[embedder][f"{embedder}_{of}"])))
            for of in FEATURES
        )
        try:
            if name == "fid":
                check_fid(len(videos), len(references), allow_small_fid)
            uris = [*videos, *references]
            read = dict(zip(uris, in_order(partial(read_features, store), uris), strict=True))
            whole = {uri: features for uri, features in read.items() if features is not None}
            if lost := {uri for uri in uris if uri not in whole}:
                _requeue(store, scored, embedder, lost)
                how = f"{len(lost)} of {len(uris)} files of features are damaged or gone"
                found[name] = {"status": "damaged", "reason": f"{how}; the same command makes them again"}
                continue
            sides = ([whole[uri] for uri in side] for side in (videos, references))
            found[name] = set_score(name, *sides) | {"features": scoring.metrics[embedder]}
        except UserError as refusal:
            found[name] = {"status": "refused", "reason": str(refusal)}
    if found:
        store.put_text(store.sets_uri, json.dumps(found, indent=1))
    return found


def _requeue(store: RunStore, scored: Sequence[Record], embedder: str, lost: set[str]) -> None:
    """Have one sample made again for every file, and those that show the same: a figure is taken once."""
    first: dict[str, str] = {}
    for record in scored:
        for of in FEATURES:
            first.setdefault(record.scores[embedder][f"{embedder}_{of}"], record.metrics[embedder]["key"])
    keys = {first[uri] for uri in lost}
    for record in scored:
        if record.metrics[embedder]["key"] in keys:
            message = f"the {embedder} features of its video or reference are damaged or gone"
            why = ErrorNote(kind="infra", name="Damaged", message=message, stage="score", at=now())
            store.requeue(record, why)
