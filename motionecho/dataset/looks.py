"""What videos look like, kept in an export's place: one that goes on decodes none again.

A cache, by the sha256 of a video's bytes: what cannot be read of it is looked at anew.
"""

import hashlib
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motionecho.runs.folder import Folder
from motionecho.runs.tables import written

Look = NDArray[np.int16]  # [frames, pixels * 3]
EVERY = 500  # looks of a file


class LookBook:
    """The looks that are known in a folder, read when it is made; None is that of what cannot be decoded."""

    def __init__(self, folder: Folder, under: str, frames: int) -> None:
        self.folder, self.under, self.frames, self.lock = folder, under, frames, Lock()
        self.known: dict[str, bytes] = {}
        self.fresh: dict[str, bytes] = {}
        for path in folder.find(under):
            try:
                table = pq.read_table(pa.BufferReader(folder.read(path)))
                self.known |= dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
            except (FileNotFoundError, pa.ArrowException, TypeError, ValueError):
                continue

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self.known

    def look(self, sha256: str) -> Look | None:
        """Return a look that is known."""
        data = self.known[sha256]
        return np.frombuffer(data, np.uint8).reshape(self.frames, -1).astype(np.int16) if data else None

    def keep(self, sha256: str | None, look: Look | None) -> None:
        """Remember a look, and write down what is new from time to time."""
        if sha256 is None:
            return
        data = b"" if look is None else look.astype(np.uint8).tobytes()
        with self.lock:
            self.known[sha256] = self.fresh[sha256] = data
            full, self.fresh = (self.fresh, {}) if len(self.fresh) >= EVERY else ({}, self.fresh)
        self._write(full)

    def flush(self) -> None:
        """Write down what is new."""
        with self.lock:
            rest, self.fresh = self.fresh, {}
        self._write(rest)

    def _write(self, looks: dict[str, bytes]) -> None:
        if looks:
            columns = {"sha256": [*looks], "look": pa.array([*looks.values()], pa.binary())}
            name = hashlib.sha256("".join(sorted(looks)).encode()).hexdigest()[:16]
            self.folder.overwrite(f"{self.under}/{name}.parquet", written(pa.table(columns)))
