"""The word of everyone who works on a run's place: one file each, written before anything is done.

A driver makes samples; any number may work side by side. A sweeper deletes (`batch gc`, `--fresh`), and does
so alone. Both write their lease first and look at the others' then, so that of two that begin at one moment
at least one sees the other: a sweeper is refused beside a driver, and a driver waits for a sweeper to end.

How old a lease is, the store alone says: its time of change is compared with that of a file made just now,
since clocks of machines differ. A lease that was not renewed for LEASE_S is taken to be its driver's last
word. One that was, but whose process is gone from this very machine, has lapsed as well.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self

from motionecho.errors import Damaged, Transient, UserError
from motionecho.runs import layout
from motionecho.runs.files import HURRIED_S
from motionecho.runs.folder import Folder, Listed
from motionecho.runs.keys import digest
from motionecho.runs.parallel import in_order
from motionecho.runs.sealed import read_object

IN_JOB = "MOTIONECHO_JOB"  # in the environment of a run that is a job of a cluster: the job's id
# Words that are counted with or opened, which somebody may have edited.
KINDS: dict[str, Any] = {"total": int, "eta_s": int | float, "manifest": str, "job": str | None}
AHEAD_S = 60.0  # a time of change that lies further in the future is none
LEASE_S = 900.0  # a driver renews its lease every 15 s; a store may be away for minutes
LOOK_EVERY_S = 2.0  # at a sweeper that is waited for
Role = Literal["driver", "sweeper"]


@dataclass(frozen=True)
class Submitted:
    """A manifest that a driver works on: where it is, and the keys of its rows, by digest and number."""

    manifest: str
    rows: str
    total: int


@dataclass(frozen=True)
class Word:
    """The last word of one driver or sweeper, and when it was written, by the store's clock.

    `changed` is None where the store tells no times; `age` in seconds is None there, and where no clock was
    asked for, and below 0 where somebody has set the time of the file into the future. `sources` are the
    manifests of a driver. `says` is the whole of what it wrote: `driver.Progress` among it.
    """

    life: str
    says: Mapping[str, Any]
    age: float | None = None
    changed: float | None = None

    @property
    def role(self) -> Role:
        return "sweeper" if self.says.get("role") == "sweeper" else "driver"

    @property
    def ended(self) -> bool:
        return bool(self.says.get("ended"))

    @property
    def live(self) -> bool:
        """Tell whether its process has to be taken for one at work."""
        lapsed = self.age is not None and self.age > LEASE_S
        return not (self.ended or lapsed or _gone(self.says))

    @property
    def is_ahead(self) -> bool:
        """Tell whether its file claims to be of a time to come, so that it would count as new until then."""
        return self.age is not None and self.age < -AHEAD_S

    @property
    def sources(self) -> list[Submitted]:
        try:
            found = [Submitted(**each) for each in self.says.get("sources") or ()]
        except TypeError:  # edited by hand: it still tells that someone is here
            return []
        return [each for each in found if tuple(map(type, astuple(each))) == (str, str, int)]

    @property
    def uri(self) -> str:
        old = self.life == layout.stem(layout.OLD_PROGRESS)
        return layout.OLD_PROGRESS if old else layout.lease(self.life)

    def refusal(self, url: str, what: str = "deleted") -> UserError:
        """Say why nothing can be deleted, or begun, at a place."""
        does = "is at work" if self.role == "driver" else "is deleting"
        ends = f"one that was killed counts as ended {LEASE_S / 60:.0f} minutes later"
        if self.is_ahead:
            ahead = -(self.age or 0.0)
            ends = f"if it was killed, delete {self.uri} there, whose time is {ahead:.0f} s in the future"
        return UserError(
            f'nothing was {what}: {self} {does} on "{url}"; wait until it has ended, or stop it ({ends})'
        )

    def __str__(self) -> str:
        """Name the process as a refusal does."""
        who = f"{self.role} {self.life}"
        who += f" (process {self.says['pid']} on {self.says.get('host')})" if self.says.get("pid") else ""
        who += "" if self.says else " (whose word is damaged)"
        known = self.age is not None and not self.is_ahead
        return who + (f", heard {max(0.0, self.age or 0.0):.0f} s ago" if known else "")


@dataclass
class Lease:
    """A lease that this process holds on a run's place; `say` renews it, `end` gives it back."""

    folder: Folder
    role: Role
    sources: Sequence[Mapping[str, Any]] = ()
    life: str = field(default_factory=lambda: secrets.token_hex(4))  # which its attempts bear as well
    renewed: float | None = None
    known: frozenset[str] = frozenset()  # lives that were here when it was taken
    lost: str | None = None  # why what is unfinished may be gone
    lock: Lock = field(default_factory=lambda: Lock(), repr=False)  # of who speaks: several threads may

    @classmethod
    def take(
        cls,
        folder: Folder,
        role: Role,
        rows: Mapping[str, Iterable[str]] | None = None,
        tell: Callable[[str], object] = lambda message: None,
    ) -> Self:
        """Write a lease, then look who else is here; `rows` are the keys of each manifest to work on.

        A driver waits while a sweeper is at work, and says so; a sweeper is refused beside a driver, and
        beside another sweeper, by a UserError that names it. So is a driver whose wait would have no end.
        """
        patient, folder = folder, folder.within(HURRIED_S)
        sources = []
        for manifest, keys in (rows or {}).items():
            lines = "".join(f"{key}\n" for key in sorted(keys))
            name = digest(lines)[:32]
            folder.overwrite(layout.rows(name), lines.encode())
            sources.append({"manifest": manifest, "rows": name, "total": lines.count("\n")})
        lease = cls(folder, role, sources)
        lease.say({})
        try:
            lease._wait_for_others(tell)
        except BaseException:
            lease.end({})
            raise
        lease.folder = patient
        return lease

    def say(self, words: Mapping[str, Any], ended: bool = False) -> None:
        """Write the words down, which renews the lease."""
        with self.lock:
            self._say(words, ended)

    def end(self, words: Mapping[str, Any]) -> None:
        self.say(words, ended=True)

    def check(self) -> None:
        """Raise Transient where what this process knows of the place may not hold any more.

        That takes one that was silent for half a lease, as on a machine that was put to sleep.
        """
        if self._silent() > LEASE_S / 2:
            with self.lock:
                if self._silent() > LEASE_S / 2:  # no other thread has spoken meanwhile
                    self._say({})
        if self.lost:
            raise Transient(f"{self.lost}: submit again; what is finished is kept")

    def _say(self, words: Mapping[str, Any], ended: bool = False) -> None:
        now, silent = _passed(), self._silent()
        about = {"schema_version": 2, "life": self.life, "role": self.role, "sources": self.sources}
        body = {**about, **_here(), **words, "ended": ended}
        self.folder.overwrite(layout.lease(self.life), json.dumps(body).encode())
        if silent > LEASE_S / 2:  # others may have taken this process for dead
            came = [word for word in self._others() if word.life not in self.known and self._minds(word)]
            if came:
                self.lost = f"{came[0]} came while this {self.role} was silent for {silent:.0f} s"
        self.renewed = now  # not before the look: one that failed is to be had again

    def _silent(self) -> float:
        """Return the seconds since the lease was renewed; 0 before it is taken."""
        return 0.0 if self.renewed is None else _passed() - self.renewed

    def _minds(self, word: Word) -> bool:
        """Tell whether this process cannot work beside that one."""
        return "sweeper" in (self.role, word.role)

    def _others(self) -> list[Word]:
        words = read(self.folder, self.folder.clock(layout.PROGRESS))
        return [word for word in words if word.life != self.life]

    def _wait_for_others(self, tell: Callable[[str], object]) -> None:
        told = False
        while True:
            others = self._others()
            self.known = frozenset(word.life for word in others)
            busy = [word for word in others if word.live and self._minds(word)]
            if not busy:
                return
            if self.role == "sweeper":
                raise busy[0].refusal(self.folder.url)
            for word in busy:
                if word.is_ahead:  # it would count as new for as long as that
                    raise word.refusal(self.folder.url, "begun")
            if not told:
                tell(f"waiting for {busy[0]}, which deletes leftovers here")
            told = True
            time.sleep(LOOK_EVERY_S)


def read(folder: Folder, now: float | None) -> list[Word]:
    """Return the word of everyone who was ever at work on a place, oldest first, with its age at `now`.

    `now` is `Folder.clock` where a decision hangs on it.
    """
    files = {path: file for path, file in folder.listed(layout.PROGRESS).items() if path.endswith(".json")}
    old = folder.look(layout.OLD_PROGRESS)
    if old is not None:
        files[layout.OLD_PROGRESS] = old
    words = in_order(lambda path: _words(folder, path), files)
    found = [_word(path, says, files[path], now) for path, says in zip(files, words, strict=True)]
    return sorted(found, key=lambda word: (word.changed or 0.0, word.life))


def word_of(folder: Folder, life: str, now: float | None) -> Word | None:
    """Return one word by its life, whatever a listing that lags may say; None where there is none."""
    path = layout.lease(life)
    file = folder.look(path)
    return None if file is None else _word(path, _words(folder, path), file, now)


def _word(path: str, says: Mapping[str, Any], file: Listed, now: float | None) -> Word:
    age = None if now is None or file.changed is None else now - file.changed
    return Word(layout.stem(path), says, age, file.changed)


def _words(folder: Folder, path: str) -> dict[str, Any]:
    """Read what someone wrote; nothing where it is damaged: that someone is here shows all the same."""
    try:
        words = read_object(folder.read(path))
    except FileNotFoundError:
        return {"ended": True}
    except Damaged:
        return {}
    return {name: word for name, word in words.items() if isinstance(word, KINDS.get(name, object))}


def _here() -> dict[str, Any]:
    """Say which process of which machine this is, and of which job."""
    job = os.environ.get(IN_JOB)
    return {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "job": job}


def _machine() -> str | None:
    """Name this boot of this machine, or container, in which a process number means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux: only time tells
        return None


def _gone(says: Mapping[str, Any]) -> bool:
    """Tell whether the process is one of this machine, and is no more."""
    machine, pid = says.get("machine"), says.get("pid")
    if machine is None or machine != _machine() or not isinstance(pid, int):
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"  # dead, and not yet buried by its parent


def _passed() -> float:
    """Return seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
