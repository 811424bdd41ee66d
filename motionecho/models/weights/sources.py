"""Weights from where they are published to this node's disk, once however many processes ask.

A place is a Hugging Face repository (its cache is the hub's own, shared with diffusers), any other URL
(cached below `cache_folder`, by its name alone), or a folder on this node, which is used as it lies.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from motionecho.errors import NotThere, Unreachable, UserError
from motionecho.models.weights.arrival import Arriving, hub_bar
from motionecho.runs.local import replacing
from motionecho.runs.places import Place, local_path, opened
from motionecho.runs.urls import protocol_of

LARGE = 1 << 28  # bytes above which a file's sha256 is remembered
INDEX, PLAIN = ".index.json", re.compile(r"\w[\w.-]*")  # of weights in several files, and a name of one
SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", INDEX)  # of a place that is one file
HUB, ORGANISATION = "hf://", re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Published:
    """A published part of a pair: a Hugging Face repository, and which of its files are needed.

    `files` maps what a file is for to the names it may have, the preferred one first; an index stands for
    the files that it names too.
    """

    hub: str
    files: Mapping[str, tuple[str, ...]]
    gigabytes: float

    def keys(self, part: str) -> dict[str, str]:
        """Return what records call each file: the part's name, with the file's where there are several."""
        return {what: f"{part}/{what}" if len(self.files) > 1 else part for what in self.files}


@dataclass(frozen=True)
class WeightPlace:
    """A place where the files of one part are looked for; an empty `text` is where they are published."""

    text: str = ""

    @property
    def is_file(self) -> bool:
        return Place(self.text).name.endswith(SUFFIXES)

    def candidates(self, part: Published, what: str) -> Iterator["WeightFile"]:
        """Yield the file under each name that it may have, in the order in which they are tried."""
        base = (self.text if "?" in self.text else self.text.rstrip("/")) or f"{HUB}{part.hub}"
        if not base.startswith(HUB) and ORGANISATION.fullmatch(base) and not Path(base).exists():
            base = HUB + base
        if self.is_file:
            yield WeightFile(Place(base))
            return
        at_home = base == f"{HUB}{part.hub}"
        for name in part.files[what]:
            yield WeightFile(Place(base).within(name))
            if not at_home:  # a folder may mirror several repositories
                yield WeightFile(Place(base).within(f"{part.hub}/{name}"))


@dataclass(frozen=True)
class WeightFile:
    """A file at one place."""

    url: Place

    @property
    def is_remote(self) -> bool:
        return protocol_of(self.url) != "file"

    @property
    def on_hub(self) -> bool:
        return self.url.startswith(HUB)

    @property
    def origin(self) -> str:
        """The repository or URL that it comes from, as it is shown."""
        if self.on_hub:
            from huggingface_hub import constants

            return f"{constants.ENDPOINT}/{self._on_hub()[0]}"
        return str(self.url)

    @property
    def kept_in(self) -> str:
        """The folder of this node below which it is kept once it is fetched."""
        if self.on_hub:
            from huggingface_hub import constants

            return str(constants.HF_HUB_CACHE)
        return str(cache_folder("weights"))

    def path(self) -> Path | None:
        """Return where the file lies on this node, None where it does not; asks no network."""
        if self.on_hub:
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(*self._on_hub())
            return Path(cached) if isinstance(cached, str) else None
        path = self._cached() if self.is_remote else Path(local_path(opened(self.url)))
        return path if path.is_file() else None

    def fetch(self) -> Path | None:
        """Bring the file here, unless it is here; None where there is no such file.

        Raises UserError where the place cannot be read, Transient where a store keeps failing.
        """
        if not self.is_remote or self.path():
            return self.path()
        return self._from_hub() if self.on_hub else self._from_url()

    def shards(self) -> list["WeightFile"]:
        """Return the files that this one names, where it is the index of one in several; they lie beside it.

        Raises UserError on an index that is not one.
        """
        path = self.path() if self.url.name.endswith(INDEX) else None
        if path is None:
            return []
        try:
            names = sorted({*json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()})
            assert all(PLAIN.fullmatch(name) for name in names)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as problem:
            raise UserError(f"{path} is no index of files that lie beside it: fetch it again") from problem
        return [WeightFile(self.url.beside(name)) for name in names]

    def _on_hub(self) -> tuple[str, str]:
        organisation, name, file = self.url.removeprefix(HUB).split("/", 2)
        return f"{organisation}/{name}", file

    def _cached(self) -> Path:
        place = hashlib.sha256(self.url.encode()).hexdigest()[:12]
        return cache_folder("weights") / place / self.url.name

    def _from_hub(self) -> Path | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        repository, file = self._on_hub()
        try:  # resumes what was cut short, and holds a lock while it runs
            return Path(hf_hub_download(repository, file, tqdm_class=hub_bar(self.url.name)))
        except LocalEntryNotFoundError as problem:
            raise UserError(f"{self.url} is not on this machine and the hub cannot be reached") from problem
        except EntryNotFoundError:
            return None
        except Exception as problem:  # gated, renamed, no such repository: the hub's own words
            said = str(problem).strip().splitlines() or [type(problem).__name__]
            raise UserError(f"{self.url} cannot be fetched: {said[-1]}") from problem

    def _from_url(self) -> Path | None:
        from motionecho.runs.faults import fault_of
        from motionecho.runs.files import open_url, patiently

        path = self._cached()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.is_file():
                return path
            fs, remote = open_url(self.url)
            fault = partial(fault_of, self.url)
            try:
                with replacing(path) as temporary:
                    arriving = Arriving(self.url.name)
                    patiently(lambda: fs.get_file(remote, temporary, callback=arriving), fault=fault)
            except NotThere:
                return None
            except Unreachable as problem:
                if problem.passing:
                    raise
                raise UserError(f"cannot fetch the weights: {problem}") from problem
        return path


def cache_folder(name: str) -> Path:
    """Return a folder of this user's cache; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "motionecho" / name


def known_sha256(path: Path) -> str | None:
    """Return a file's sha256, None for a large one that was never read as it now is."""
    stat = path.stat()
    if stat.st_size < LARGE:
        return _read_sha256(path, stat.st_mtime_ns, stat.st_size)
    note, stamp = _note(path)
    if not note.is_file():
        return None
    digest, _, noted = note.read_text().strip().partition(" ")
    return digest if noted == stamp else None


def file_sha256(path: Path) -> str:
    """Return a file's sha256; that of a large one is remembered while size and time of change hold."""
    known = known_sha256(path)
    if known is not None:
        return known
    stat, (note, stamp) = path.stat(), _note(path)
    digest = _read_sha256(path, stat.st_mtime_ns, stat.st_size)
    with suppress(OSError, UserError):  # a home that cannot be written costs time, not the run
        note.parent.mkdir(parents=True, exist_ok=True)
        with replacing(note) as temporary:
            Path(temporary).write_text(f"{digest} {stamp}\n")
    return digest


def _note(path: Path) -> tuple[Path, str]:
    """Return where a file's sha256 is remembered, and what it has to be remembered with to hold."""
    name, stat = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24], path.stat()
    return cache_folder("sha256") / name, f"{stat.st_size} {stat.st_mtime_ns}"


@lru_cache(maxsize=64)
def _read_sha256(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
