"""The command that continues a run, written out of what its place says of it."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motionecho.errors import UserError

if TYPE_CHECKING:
    from motionecho.config import RunSettings
    from motionecho.runs.store import RunStore


def resume_command(store: "RunStore", manifests: Sequence[str]) -> str | None:
    """Write the `batch submit` that continues a run; None where its place does not say what it takes."""
    from pipelines.retry import settings_of

    try:
        words = options(settings_of(store)) if manifests else None
    except UserError:  # a place of scores, or another version's run
        words = None
    if words is None:
        return None
    return shlex.join(["motionecho", "batch", "submit", manifests[-1], "--out", store.url, *words])


def options(settings: "RunSettings") -> list[str] | None:
    """Write settings as options of the command line, those that are as by default left out.

    None where no options give them, as some file for --config did.
    """
    from motionecho.cli.settings import parse_changes
    from motionecho.metrics import usual_metrics
    from motionecho.models.registry import pair_spec

    spec, echo = pair_spec(settings.pair, settings.placement.weights), settings.echo.to_dict()
    own = spec.config().to_dict()
    words = {name: str(echo[name]) for name in ("strategy", "method") if echo[name] != own[name]}
    suited = spec.config(changes=words).to_dict()
    changes = [f"{name}={_written(value)}" for name, value in echo.items() if value != suited[name]]
    try:
        if spec.config(None, words | parse_changes(changes)) != settings.echo:
            return None
    except UserError:
        return None
    gate, _, tries = (settings.gate or "").partition(", ")
    given = [("pair", settings.pair), *words.items(), *(("set", change) for change in changes)]
    given += [("fit", settings.fit)] if settings.fit != "crop" else []
    given += [("dtype", settings.dtype)] if settings.dtype != "auto" else []
    given += [("gate", gate), ("gate-tries", tries.split()[0])] if tries else []
    given += [("weights", place) for place in settings.placement.weights]
    if settings.metrics != (spec.metrics or usual_metrics()):
        given += [("metric", name) for name in settings.metrics or ("none",)]
    return [word for name, value in given for word in (f"--{name}", value)]


def _written(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
