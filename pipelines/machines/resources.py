"""The demands of each stage on the cluster, read from a YAML file and laid over the pools worked out.

    separate: true            # pools for inversion, generation and what follows; false: one does all
    max_attempts: 3
    stages:
      generate: {workers: 4, gpus: 0.5, cpus: 2, memory: 8GiB, resources: {big_gpu: 1}}
      score: {workers: 8, gpus: 0, cpus: 1}
      text: {memory: 16GiB}   # of pairs that have this stage: a node with room for the encoder, or {gpus: 1}

Where stages share a worker, what is said of one of them holds for the worker.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass as strict

from motionecho.errors import BadSample, Transient, UserError, nearest
from motionecho.runs.files import fetch
from motionecho.strict import STRICT, Number, Whole, read_as
from pipelines.tasks import STAGES, TEXT, StageSpec

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
    """The actors of a pool: how many, of which stages, and what each asks of the cluster."""

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

    @property
    def early(self) -> bool:
        return all(stage.early for stage in self.stages)


def _enough(workers: int | None) -> int | None:
    if workers == 0:
        raise ValueError("would leave the stage undone; give 1 or more")
    return workers


def _share(gpus: float | None) -> float | None:
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError("has to be a whole number, or a fraction below 1")
    return gpus


def _bytes(size: Any) -> Any:
    if size is None or (isinstance(size, int) and not isinstance(size, bool)):
        return size
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", str(size).lower())
    if not found or (found[2] is None and "." in found[1]):
        raise ValueError("is no size such as 8GiB")
    return int(float(found[1]) * UNITS[found[2] or ""])


@strict(frozen=True, config=STRICT)
class Resources:
    """The demands of a stage; None leaves it to the cluster. `memory` in bytes, `resources` as Ray has it."""

    workers: Annotated[Whole | None, Field(ge=0), AfterValidator(_enough)] = None
    gpus: Annotated[Number | None, Field(ge=0), AfterValidator(_share)] = None
    cpus: Annotated[Number | None, Field(ge=0)] = None
    memory: Annotated[int | None, Field(ge=1), BeforeValidator(_bytes)] = None
    resources: Mapping[str, Annotated[Number, Field(ge=0)]] = Field(default_factory=dict)


@strict(frozen=True, config=STRICT)
class ExecutionFile:
    """The fields that a file may set of a run's execution; None leaves one to Execution's default."""

    separate: bool | None = None
    max_attempts: Annotated[Whole | None, Field(ge=0)] = None
    infra_attempts: Annotated[Whole | None, Field(ge=0)] = None
    backoff_s: Annotated[Number | None, Field(ge=0)] = None
    stages: dict[Any, Any] | None = None


def read_execution(path: str) -> dict[str, Any]:
    """Read fields of Execution from a YAML file; UserError naming the file and what is wrong with it."""
    import yaml

    try:
        with fetch(path) as local, open(local, encoding="utf-8") as stream:
            data = yaml.safe_load(stream) or {}
    except (OSError, BadSample, Transient) as problem:
        raise UserError(f'cannot read engine file "{path}": {problem}') from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f'engine file "{path}" is not YAML: {" ".join(str(problem).split())}') from problem
    found = vars(read_as(ExecutionFile, data, path))
    stages, known = found["stages"] or {}, [stage.name for stage in (*STAGES, TEXT)]
    for name in stages:
        if name not in known:
            hint = nearest(str(name), known)
            raise UserError(f'{path}: unknown key "{name}"{hint}; known: {", ".join(known)}')
    resources = {name: read_as(Resources, each, f"{path}: {name}") for name, each in stages.items()}
    rest = {name: value for name, value in found.items() if name != "stages" and value is not None}
    return rest | {"resources": resources}


def laid_over(specs: Sequence[PoolSpec], asked: Mapping[str, Resources]) -> list[PoolSpec]:
    """Lay demands over the pools; UserError where two stages of one pool want different things."""
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
