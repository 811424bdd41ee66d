"""What a report says of a run as a whole: how far it is, what it was made with and on."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from motionecho.config import EchoConfig
from motionecho.metrics.compare import Scored, compare, is_bookkeeping
from motionecho.runs.keys import LATER
from motionecho.runs.places import Place
from motionecho.runs.records import Record
from motionecho.runs.results import Index
from motionecho.runs.state import state_of
from motionecho.runs.store import RunStore


def facts(store: RunStore, index: Index) -> dict[str, Any]:
    """Return what is known of a run beside its samples, as plain JSON values."""
    words, state = store.run() or {}, state_of(store, index)
    identity, about = words.get("identity", {}), words.get("about") or {}
    settings = identity.get("settings") or {}
    echo, names = LATER | (settings.get("echo") or {}), EchoConfig.names()
    quoted = shlex.quote(store.url)
    return {
        "name": Place(store.url).name or store.url,
        "place": store.url,
        "state": {name: getattr(state, name) for name in ("total", "done", "failed", "finished", "ended")}
        | {"silent_s": state.silent_s, "eta_s": state.eta_s, "drivers": len(state.drivers)},
        "created_at": about.get("created_at"),
        "manifests": list(state.manifests),
        "versions": about.get("versions") or {},
        "weights": identity.get("weights") or {},
        "weights_at": about.get("weights_at") or [],
        "pair": settings.get("pair"),
        "settings": {name: value for name, value in settings.items() if name != "echo"},
        "echo": {name: echo[name] for name in (*names, *echo) if name in echo},
        "damaged": list(state.damaged),
        "commands": {
            "retry": f"motionecho batch retry {quoted}",
            "replay": f"motionecho batch replay {quoted} ",
            "verify": f"motionecho batch verify {quoted}",
        },
    }


class Machines:
    """A count of the samples that each machine and device made."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, record: Record) -> None:
        if record.ok and record.where:
            self.counts[record.where.name, record.made_on] += 1

    def listed(self) -> list[dict[str, Any]]:
        """Return a dict for each, the one that made most first."""
        return [{"name": name, "device": on, "samples": n} for (name, on), n in self.counts.most_common()]


def meanings() -> dict[str, list[str]]:
    """Map every setting to the paper's symbol for it and what it means."""
    return {each["name"]: [each["symbol"], each["doc"]] for each in EchoConfig.describe()}


def side_by_side(a: Sequence[Scored], b: Sequence[Scored]) -> dict[str, Any]:
    """Compare two runs pair by pair, as `motionecho compare` does; UserError where nothing pairs."""
    result = asdict(compare(a, b))
    result["figures"] = {name: each for name, each in result["figures"].items() if not is_bookkeeping(name)}
    return result


def way_between(page: str, run: str) -> str | None:
    """Return the relative way from a report's folder to a run's, None where they are in different stores."""
    if "://" not in page and "://" not in run:
        return os.path.relpath(run, page).replace(os.sep, "/")
    ours, theirs = page.split("/"), run.split("/")
    if ours[:3] != theirs[:3]:
        return None
    return os.path.relpath("/".join(theirs[3:]) or ".", "/".join(ours[3:]) or ".").replace(os.sep, "/")
