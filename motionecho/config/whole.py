"""All settings together: of a video (`EchoConfig`), of a run (`RunSettings`), of the place it computes.

Manifests, files and `--set` name the settings of all groups flat.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any, Literal, Self, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from motionecho import strict
from motionecho.config.groups import (
    STRATEGIES,
    ActivationSettings,
    GuidanceSettings,
    MethodSettings,
    ReferenceSettings,
    StudentSettings,
    TeacherSettings,
    flat,
)
from motionecho.errors import UserError, nearest
from motionecho.strict import STRICT, Names, Places


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EchoConfig:
    """The hyper-parameters of MotionEcho; `motionecho config show` prints them with their meaning.

    Defaults are the paper's where it states a value. A pair may bring its own: `defaults` in its
    family's `settings.py`, below `motionecho/models/`.
    """

    sampling: MethodSettings = MethodSettings()
    student: StudentSettings = StudentSettings()
    guidance: GuidanceSettings = GuidanceSettings()
    teacher: TeacherSettings = TeacherSettings()
    activation: ActivationSettings = ActivationSettings()
    reference: ReferenceSettings = ReferenceSettings()

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Build from single settings by name or symbol, the others as by default; UserError as `updated`."""
        return cls().updated(settings)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return every setting's name, group after group."""
        return tuple(_infos())

    @classmethod
    def describe(cls) -> list[dict[str, Any]]:
        """Return a dict for every setting: name, symbol, doc, default, and words if it is one of a few."""
        return [
            {
                "name": name,
                "symbol": _symbol(name),
                "doc": its.description,
                "default": its.default,
                "words": _words(name),
            }
            for name, its in _infos().items()
        ]

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with `changes`, given as values or text, by name or by the paper's symbol.

        Raises UserError on an unknown name, a value of the wrong type or out of range, and where sampling
        would begin with inverted noise that is not made.
        """
        made = self._replaced(changes)
        if made.student.begins_inverted and made.reference.inversion_steps == 0:
            raise UserError(
                "setting inversion_steps=0 makes no inverted noise that sampling could begin with: it needs "
                f'noise_blend=0, not {made.student.noise_blend:g}, and initial_noise="blend"'
            )
        return made

    @classmethod
    def read(cls, name: str, value: Any) -> Any:
        """Read the value of one setting by itself, whatever the others are; UserError as `updated`."""
        return cls()._replaced({name: value}).to_dict()[resolve_name(name)]

    def _replaced(self, changes: Mapping[str, Any]) -> Self:
        if not isinstance(changes, Mapping):
            raise UserError(f"echo has to be a mapping of settings, not {changes!r}")
        groups: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            name = resolve_name(name)
            groups.setdefault(_group_of(name), {})[name] = value
        changed = {}
        for group, values in groups.items():
            try:
                changed[group] = replace(getattr(self, group), **values)
            except ValidationError as problem:
                raise UserError(f"setting {strict.mistake(problem, type(getattr(self, group)))}") from None
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings flat, as plain JSON values."""
        return {
            name: value for spec in fields(self) for name, value in flat(getattr(self, spec.name)).items()
        }


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Placement:
    """The place where a pair computes and how its memory is managed: none of it changes a result.

    device: "auto" (the first GPU, if any), "cpu", "cuda", "cuda:1". weights: where they are looked for, since
    their sha256 is what decides results. offload: networks take turns on the device. eager: plain torch on a
    GPU too.
    """

    device: str = "auto"
    weights: Places = ()
    offload: bool = False
    eager: bool = False


PLACES = tuple(spec.name for spec in fields(Placement))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunSettings:
    """The settings that a batch run needs to be reproduced; all but the placement is written to run.json."""

    pair: str
    echo: EchoConfig  # the settings above
    metrics: Names = ()  # taken of every video
    fit: Literal["crop", "resize", "pad"] = "crop"  # how a clip is brought to the pair's size
    dtype: str = "auto"  # float32, bfloat16 or float16; auto: as the device has it
    gate: str | None = None  # a quality gate as `gate.Gate` writes it
    placement: Placement = Placement()

    def decides(self) -> dict[str, Any]:
        """Return all that decides results as plain JSON values: a run is continued only where it is equal."""
        return flat(self, leave_out="placement") | {"echo": self.echo.to_dict()}

    def to_dict(self) -> dict[str, Any]:
        """Return these settings and where they compute, flat, as a config file has them."""
        return self.decides() | flat(self.placement)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` or `decides` made; UserError on what does not belong there."""
        where = {name: data[name] for name in PLACES if name in data}
        rest = {name: value for name, value in data.items() if name not in where}
        whole = {"echo": EchoConfig().updated(data.get("echo", {}))}
        return strict.read_as(
            cls, rest | whole | {"placement": strict.read_as(Placement, where, "settings")}, "settings"
        )


def resolve_name(name: str) -> str:
    """Map a setting's name or paper symbol to its name; raise UserError naming the nearest otherwise."""
    key, known = name.strip().replace("-", "_"), _names()
    if key in known:
        return known[key]
    hint = nearest(key, known) or "; `motionecho config show` lists them"
    raise UserError(f'unknown setting "{name}"{hint}')


@cache
def _names() -> dict[str, str]:
    """Every setting by its name and by its symbol, where it has one."""
    by_name = {name: name for name in EchoConfig.names()}
    return by_name | {symbol: name for name in by_name if (symbol := _symbol(name))}


@cache
def _groups() -> dict[str, dict[str, FieldInfo]]:
    """Return what pydantic knows of every setting, by group and name."""
    return {spec.name: cast(Any, spec.type).__pydantic_fields__ for spec in fields(EchoConfig)}


@cache
def _infos() -> dict[str, FieldInfo]:
    return {name: info for group in _groups().values() for name, info in group.items()}


@cache
def _group_of(name: str) -> str:
    return next(group for group, names in _groups().items() if name in names)


def _words(name: str) -> tuple[str, ...]:
    """Return the words that a setting has to be one of; none where it may be anything of its type."""
    kind = _infos()[name].annotation
    if name == "strategy":
        return tuple(STRATEGIES)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _symbol(name: str) -> str:
    more = _infos()[name].json_schema_extra
    return str(more["symbol"]) if isinstance(more, dict) else ""
