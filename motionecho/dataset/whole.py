"""The bytes of a video, held against its record's digest before anything is made of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from motionecho.dataset.rows import Picked
from motionecho.errors import BadSample, Damaged
from motionecho.runs.store import RunStore

Stores = Mapping[str, RunStore]  # by the place of the run


@dataclass(frozen=True)
class Handed:
    """A sample that was handed on, now (`fresh`) or by an export before; or left out, and why."""

    sample: Picked
    fresh: bool = False
    problem: str = ""


def read_whole(stores: Stores, sample: Picked) -> bytes:
    """Return a video's bytes; raises Damaged where it is missing, unreadable, or not what its record names.

    A store that fails for now is no damage: Transient goes through.
    """
    store = stores[sample.run]
    if sample.video is None:
        raise Damaged("its record names no video within its run")
    try:
        with store.fetch(sample.video) as local:
            data = Path(local).read_bytes()  # what is hashed is what is handed on
    except (BadSample, OSError) as problem:  # not there, or on a disk that cannot read it
        raise Damaged(str(problem)) from problem
    if sample.sha256 not in (None, hashlib.sha256(data).hexdigest()):
        raise Damaged(f'"{store.absolute(sample.video)}" is not what its record says')
    return data
