"""What each stage asks of the cluster, read from a YAML file and laid over the pools worked out from it.

    separate: true            # pools for inversion, generation and what follows; false: one does all
    max_attempts: 3
    stages:
      generate: {workers: 4, gpus: 0.5, cpus: 2, memory: 8GiB, resources: {big_gpu: 1}}
      score: {workers: 8, gpus: 0, cpus: 1}

Where stages share a worker, what is said of one of them holds for the worker.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from motionecho.errors import BadSample, UserError, nearest
from motionecho.runs.files import fetch
from pipelines.tasks import STAGES, StageSpec

TOP = {"separate": bool, "max_attempts": int, "infra_attempts": int, "backoff_s": float}
UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


@dataclass(frozen=True)
class PoolSpec:
    """How many actors of which stages, and what each asks of the cluster."""

    stages: tuple[StageSpec, ...]
    size: int
    num_gpus: float = 0.0
    num_cpus: float = 1.0
    threads: int | None = None
    memory: int | None = None  # bytes
    resources: Mapping[str, float] = field(default_factory=dict)  # Ray's custom ones

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    @property
    def name(self) -> str:
        return "+".join(self.names)


@dataclass(frozen=True)
class Resources:
    """Of one stage; None leaves it to the cluster's size. `memory` in bytes, `resources` by Ray's names."""

    workers: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)


def read_execution(path: str) -> dict[str, Any]:
    """Fields of Execution out of a YAML file; UserError naming the file and what is wrong with it."""
    import yaml

    try:
        with fetch(path) as local, open(local, encoding="utf-8") as stream:
            data = yaml.safe_load(stream) or {}
    except (OSError, BadSample) as problem:
        raise UserError(f'cannot read engine file "{path}": {problem}') from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f'engine file "{path}" is not YAML: {" ".join(str(problem).split())}') from problem
    _known(path, data, [*TOP, "stages"])
    found = {name: _typed(path, name, data[name], TOP[name]) for name in TOP if name in data}
    stages = data.get("stages") or {}
    _known(path, stages, [stage.name for stage in STAGES])
    return found | {"resources": {name: _resources(f"{path}: {name}", each) for name, each in stages.items()}}


def laid_over(specs: Sequence[PoolSpec], asked: Mapping[str, Resources]) -> list[PoolSpec]:
    """The pools with what was asked for; UserError where two stages of one pool want different things."""
    return [_one(spec, {name: asked[name] for name in spec.names if name in asked}) for spec in specs]


def _one(spec: PoolSpec, asked: Mapping[str, Resources]) -> PoolSpec:
    changes: dict[str, Any] = {}
    names = {"workers": "size", "gpus": "num_gpus", "cpus": "num_cpus"}
    for stage, wanted in asked.items():
        for each in fields(wanted):
            value = getattr(wanted, each.name)
            if value is None or value == {}:
                continue
            name = names.get(each.name, each.name)
            if changes.setdefault(name, value) != value:
                raise UserError(
                    f"{' and '.join(asked)} share a worker, so {stage} cannot have {each.name}={value} while "
                    f"another has {changes[name]}; set `separate: true`, or say it once"
                )
    if "num_cpus" in changes and spec.threads is not None:
        changes["threads"] = max(1, int(changes["num_cpus"]))
    if changes.get("num_gpus", 0) > 0:
        changes["threads"] = None
    return replace(spec, **changes)


def _resources(where: str, data: Any) -> Resources:
    _known(where, data, [each.name for each in fields(Resources)])
    kinds = {"workers": int, "gpus": float, "cpus": float}
    found: dict[str, Any] = {n: _typed(where, n, data[n], kind) for n, kind in kinds.items() if n in data}
    if found.get("workers") == 0:
        raise UserError(f"{where}: workers=0 would leave the stage undone; give 1 or more")
    if found.get("gpus", 0) > 1 and found["gpus"] != int(found["gpus"]):
        raise UserError(f"{where}: gpus={found['gpus']} has to be a whole number, or a fraction below 1")
    if "memory" in data:
        found["memory"] = _bytes(where, data["memory"])
    custom = data.get("resources") or {}
    _known(where, custom, custom)
    return Resources(
        **found, resources={str(n): _typed(where, n, value, float) for n, value in custom.items()}
    )


def _known(where: str, data: Any, names: Any) -> None:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: a mapping is wanted, not {data!r}")
    for name in data:
        if name not in names:
            raise UserError(
                f'{where}: unknown key "{name}"{nearest(str(name), names)}; known: {", ".join(names)}'
            )


def _typed(where: str, name: str, value: Any, kind: type) -> Any:
    fits = isinstance(value, bool) if kind is bool else isinstance(value, int | float) and value >= 0
    if not fits or (kind is not bool and (isinstance(value, bool) or (kind is int and value != int(value)))):
        wanted = {bool: "true or false", int: "a whole number from 0", float: "a number from 0"}[kind]
        raise UserError(f"{where}: {name}={value!r} is not {wanted}")
    return kind(value)


def _bytes(where: str, value: Any) -> int:
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]i?)?b?\s*", str(value).lower())
    if not found:
        raise UserError(f"{where}: memory={value!r} is no size such as 8GiB")
    return int(float(found[1]) * UNITS[found[2] or ""])
