"""An object store with all its moods, and the promises that are checked at every change of it.

Listings lag and come in any order; requests fail before and after they have taken effect; conditional writes
are refused without need; the disk is full for a while; every request takes its time.
"""

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fsspec import AbstractFileSystem

from motionecho.runs import layout
from tests.simulation.world import Violation, World

ROOT = "place/run"


@dataclass
class Moods:
    """Shares of requests that go wrong in a way, and seconds that listings lag by."""

    fails_before: float = 0.0
    fails_after: float = 0.0
    refuses: float = 0.0
    lag: float = 0.0
    full: tuple[float, float] = (0.0, 0.0)
    skew: float = 0.0  # of the store's clock
    slow: float = 0.02


@dataclass
class File:
    data: bytes
    changed: float
    appeared: float


@dataclass
class Store:
    """The files of the world, the ones just deleted among them, as a lagging listing still shows those."""

    world: World
    moods: Moods = field(default_factory=Moods)
    files: dict[str, File] = field(default_factory=dict)
    graves: dict[str, tuple[File, float]] = field(default_factory=dict)
    at_work: Callable[[], list[str]] = list  # names of drivers that have begun to work
    by_hand: float = -1e9  # when a person last deleted something
    wiped: bool = False  # a person deleted it all: what was on its way then has no blobs

    def request(self, effect: Any, writes: bool = False) -> Any:
        """Let an effect take place, or not, as the store is in the mood for."""
        world, moods = self.world, self.moods
        world.pause(world.chance.expovariate(1 / moods.slow))
        if world.happens(moods.fails_before):
            raise OSError("503 Slow Down")
        if writes and not world.calm and moods.full[0] <= world.now < moods.full[1]:
            raise OSError(errno.ENOSPC, "no space left on the store")
        result = effect()
        if writes:
            world.pause(0.0)  # its process may be killed before it hears of it
        if world.happens(moods.fails_after):
            raise OSError("500 Internal Server Error")
        return result

    # --- changes, each checked

    def write(self, path: str, data: bytes, create: bool) -> None:
        if create and path in self.files:
            raise FileExistsError(path)
        if create and self.world.happens(self.moods.refuses):
            raise OSError("409 ConditionalRequestConflict")
        if path.startswith(f"{ROOT}/{layout.RECORDS}/") and path.endswith(".json"):
            self._check_record(path, data)
        appeared = self.files[path].appeared if path in self.files else self.world.now
        self.files[path] = File(data, self.world.now + self.moods.skew, appeared)
        self.graves.pop(path, None)
        if self.world.process is not None and f"/{layout.PROGRESS}/" not in path:
            self.world.process.facts["has begun"] = True
        self.world.tell(f"{self._who()} writes {path.removeprefix(ROOT)}")

    def remove(self, path: str) -> None:
        if path not in self.files:
            raise FileNotFoundError(path)
        self._check_removal(path)
        self.graves[path] = (self.files.pop(path), self.world.now)
        self.world.tell(f"{self._who()} removes {path.removeprefix(ROOT)}")

    def delete_by_hand(self, paths: list[str]) -> None:
        """Delete files as a person does, or another program: no promise holds for them."""
        for path in paths:
            del self.files[path]
        self.by_hand = self.world.now
        self.world.tell(f"a person deletes {paths[:3]}, {len(paths)} files in all")

    def listing(self, folder: str) -> dict[str, File]:
        """What a listing shows: perhaps not yet what was written a moment ago, still what was deleted."""
        world, lag, inside = self.world, 0.0 if self.world.calm else self.moods.lag, folder.rstrip("/") + "/"
        found = {
            path: file
            for path, file in self.files.items()
            if path.startswith(inside) and not (world.now - file.appeared < lag and world.happens(0.5))
        }
        for path, (file, at) in self.graves.items():
            if path.startswith(inside) and world.now - at < lag and world.happens(0.5):
                found[path] = file
        names = list(found)
        world.chance.shuffle(names)
        return {name: found[name] for name in names}

    # --- the promises

    def records(self) -> dict[str, dict[str, Any]]:
        """The latest record of every sample, straight from the files."""
        latest: dict[str, tuple[int, dict[str, Any]]] = {}
        for path, file in self.files.items():
            if path.startswith(f"{ROOT}/{layout.RECORDS}/"):
                data = json.loads(file.data)
                if data["generation"] > latest.get(data["key"], (0, {}))[0]:
                    latest[data["key"]] = data["generation"], data
        return {key: data for key, (_, data) in latest.items()}

    def finished(self) -> set[str]:
        """The keys of samples that have been finished, though they may have been requeued since."""
        records = (json.loads(f.data) for path, f in self.files.items() if f"/{layout.RECORDS}/" in path)
        return {record["key"] for record in records if record["status"] == "ok"}

    def _check_record(self, path: str, data: bytes) -> None:
        if path in self.files:
            raise Violation(f"{self._who()} writes over the record {path}")
        record = json.loads(data)
        before = self.records().get(record["key"])
        if before and before["status"] == "ok" and record["status"] != "requeued":
            raise Violation(f"{self._who()} makes {record['key']} again, which is finished")
        for name in ("video", "stats"):
            if record[name] and f"{ROOT}/{record[name]['uri']}" not in self.files and not self.wiped:
                raise Violation(f"{self._who()} commits {path}, whose {name} is not there")

    def _check_removal(self, path: str) -> None:
        uri = path.removeprefix(f"{ROOT}/")
        if "/.clock-" in path:
            return
        if self._who().startswith("fresh"):
            if self.at_work() and not self.wiped:  # leases, too
                raise Violation(f"{self._who()} removes {uri} beside {self.at_work()}")
            return
        records, key = self.records(), layout.key_of(uri)
        named = layout.sample_of(uri)
        if named and named[1] >= records[key]["generation"]:
            raise Violation(f"{self._who()} removes {uri}, the latest record of a sample")
        for record in records.values():
            for name in ("video", "stats"):
                if record[name] and record[name]["uri"] == uri:
                    raise Violation(f"{self._who()} removes {uri}, which a record names")
        if uri == layout.RUN:
            raise Violation(f"{self._who()} removes {uri}")

    def _who(self) -> str:
        process = self.world.process
        return process.name if process else "someone"


class Files(AbstractFileSystem):
    """The store as fsspec sees it; `store` is that of the history under way."""

    protocol = "sim"
    store: Store
    cachable = False

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **words: Any) -> bytes:
        return bytes(self.store.request(lambda: self._file(path).data))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **words: Any) -> None:
        name = self._strip_protocol(path)
        self.store.request(lambda: self.store.write(name, value, mode == "create"), writes=True)

    def put_file(self, lpath: str, rpath: str, **words: Any) -> None:
        with open(lpath, "rb") as stream:
            self.pipe_file(rpath, stream.read())

    def get_file(self, rpath: str, lpath: str, **words: Any) -> None:
        data = self.cat_file(rpath)
        with open(lpath, "wb") as stream:
            stream.write(data)

    def info(self, path: str, **words: Any) -> dict[str, Any]:
        return dict(self.store.request(lambda: self._info(self._strip_protocol(path), self._file(path))))

    def exists(self, path: str, **words: Any) -> bool:
        return bool(self.store.request(lambda: self._strip_protocol(path) in self.store.files))

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False,
             **words: Any) -> Any:  # fmt: skip
        found = self.store.request(lambda: self.store.listing(self._strip_protocol(path)))
        return {name: self._info(name, file) for name, file in found.items()}

    def rm_file(self, path: str) -> None:
        self.store.request(lambda: self.store.remove(self._strip_protocol(path)), True)

    def _file(self, path: str) -> File:
        try:
            return self.store.files[self._strip_protocol(path)]
        except KeyError:
            raise FileNotFoundError(path) from None

    @staticmethod
    def _info(name: str, file: File) -> dict[str, Any]:
        return {"name": name, "size": len(file.data), "type": "file", "LastModified": file.changed}
