"""Every setting that decides what a video looks like, strict about names, types and ranges.

`EchoConfig` holds the paper's hyper-parameters and every reading of the paper that could go two ways, in
groups: each helper takes its own. Manifests, files and `--set` name settings flat. `RunSettings` adds what a
batch run needs to be reproduced, and `Placement` where it computes. All are frozen.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from motionecho import strict
from motionecho.errors import UserError, nearest
from motionecho.strict import STRICT, Color, Maybe, Names, Number, Places, Truth, Whole, stripped

# What follows a motion, by the word that settings choose it with: "module:function", imported when used.
STRATEGIES = {"motionclone": "motionecho.guidance.motionclone:strategy"}


def _known_strategy(word: str) -> str:
    if word not in STRATEGIES:
        raise ValueError(f"is no strategy{nearest(word, STRATEGIES)}; known: {', '.join(STRATEGIES)}")
    return word


def _setting(
    default: Any, doc: str, symbol: str = "", low: float | None = None, high: float | None = None
) -> Any:
    return Field(default=default, description=doc, json_schema_extra={"symbol": symbol}, ge=low, le=high)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudentSettings:
    """The student's steps (Eq. 3, 4)."""

    steps: Whole = _setting(16, "student steps", "N", 1, 200)
    student_noise: Annotated[Literal["solver", "fresh", "predicted"], stripped] = _setting(
        "solver",
        "noise of the student's step: the solver's own choice, fresh Gaussian (Eq. 4) or its own prediction",
    )
    noise_blend: Number = _setting(
        0.01, "share of the inverted reference in the initial noise (App. B.2)", "g", 0, 1
    )

    def steps_in(self, share: float) -> int:
        """Count the leading student steps that make up `share` of all; at least one unless it is 0."""
        return 0 if share == 0 else max(1, round(share * self.steps))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GuidanceSettings:
    """The motion guidance of student and teacher (Sec. 4.1)."""

    student_strength: Number = _setting(500.0, "strength of the student's guidance; 0: none", "eta", 0)
    teacher_strength: Number = _setting(
        2000.0, "strength of the teacher's guidance; 0: none", "eta_teacher", 0
    )
    gradient: Annotated[Literal["raw", "unit_rms"], stripped] = _setting(
        "raw", "use the gradient as it is (MotionClone), or scaled to unit root mean square per sample"
    )
    student_update: Annotated[Literal["x0", "direction"], stripped] = _setting(
        "x0",
        "guidance moves the student's clean prediction (Eq. 3), or only the direction of its next latent",
    )
    teacher_update: Annotated[Literal["x0", "direction"], stripped] = _setting(
        "direction", "the same for the teacher's DDIM steps; MotionClone moves the direction only"
    )
    guided_fraction: Number = _setting(0.5, "leading share of student steps that are guided", "p", 0, 1)
    warm_up: Whole = _setting(0, "student steps over which the strength ramps up", low=0)
    cool_down: Whole = _setting(0, "guided student steps over which the strength ramps down", low=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TeacherSettings:
    """The teacher's branch: test-time distillation (Sec. 4.2)."""

    teacher_weight: Number = _setting(
        0.3, "weight of the teacher's endpoint in the interpolation (Eq. 5)", "lambda", 0, 1
    )
    teacher_fraction: Maybe[Number] = _setting(
        None, "leading share of student steps in which the teacher may run; none: guided_fraction", "", 0, 1
    )
    teacher_guidance_scale: Number = _setting(
        8.5, "classifier-free guidance scale s in eps_u + s (eps_c - eps_u)", "w", 0
    )
    teacher_grid: Annotated[Literal["dense", "interval"], stripped] = _setting(
        "dense",
        "the teacher walks its own uniform grid, or teacher_max_steps equal steps within the interval",
    )
    teacher_grid_steps: Whole = _setting(50, "points of the teacher's dense grid", "", 1, 1000)
    renoise_position: Number = _setting(
        1.0, "t_s as a share of the interval from t_i up to t_{i+1}", "rho", 0, 1
    )
    renoise: Annotated[Literal["fresh", "predicted"], stripped] = _setting(
        "fresh", "noise that lifts the student's prediction to t_s"
    )
    endpoint_guidance: Truth = _setting(True, "guide the endpoint prediction at t_i too (Fig. 3c)")
    teacher_max_steps: Whole = _setting(4, "cap on guided teacher steps in one student step", "N_max", 1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ActivationSettings:
    """The adaptive acceleration: when the teacher runs and when its walk ends (Sec. 4.3)."""

    activation: Annotated[Literal["never", "always", "adaptive"], stripped] = _setting(
        "adaptive", "when the teacher runs"
    )
    threshold_unit: Annotated[Literal["loss", "first_loss"], stripped] = _setting(
        "loss", "delta_1 and delta_2 are motion losses, or shares of the sample's first student motion loss"
    )
    activation_threshold: Number = _setting(
        400.0, "teacher runs while the windowed motion loss is above it", "delta_1", 0
    )
    truncation_threshold: Number = _setting(
        380.0, "teacher guidance ends once its motion loss is below it", "delta_2", 0
    )
    window: Whole = _setting(2, "student motion losses averaged for the decision", "W", 1)
    window_includes_current: Truth = _setting(
        True, "the current step's loss belongs to the window (App. A.1)"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReferenceSettings:
    """The part of a reference that is kept; a motion's key is made of this group and no other setting."""

    strategy: Annotated[str, stripped, AfterValidator(_known_strategy)] = _setting(
        "motionclone", "what of the motion is compared"
    )
    inversion_steps: Whole = _setting(50, "DDIM inversion steps, with an empty prompt", "", 1, 1000)
    inversion_evaluate_at: Annotated[Literal["target", "source"], stripped] = _setting(
        "target", "timestep at which inversion evaluates the noise: the one it goes to, or comes from"
    )
    reference_timestep: Number = _setting(400.0, "time of the reference representation", "t_alpha", 0, 1000)
    layers: Names = _setting((), "probed temporal attention layers; empty: the pair's own")
    background: Color = _setting("black", "colour, by name or as #rrggbb, under what is transparent")

    def to_dict(self) -> dict[str, Any]:
        return flat(self)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EchoConfig:
    """The hyper-parameters of MotionEcho; `motionecho config show` prints them with their meaning.

    Defaults are the paper's where it states a value. A pair may bring its own: `defaults` in its
    family's `settings.py`, below `motionecho/models/`.
    """

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
        """Return a dict for every setting: name, symbol, doc, default."""
        return [
            {"name": name, "symbol": _symbol(name), "doc": its.description, "default": its.default}
            for name, its in _infos().items()
        ]

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with `changes`, given as values or text, by name or by the paper's symbol.

        Raises UserError on an unknown name, a value of the wrong type or out of range.
        """
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
    echo: EchoConfig
    metrics: Names = ()
    fit: Literal["crop", "resize", "pad"] = "crop"
    dtype: str = "auto"
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


def flat(group: Any, leave_out: str = "") -> dict[str, Any]:
    """Return a dataclass of plain values as JSON holds it: tuples become lists."""
    values = {spec.name: getattr(group, spec.name) for spec in fields(group) if spec.name != leave_out}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def resolve_name(name: str) -> str:
    """Map a setting's name or paper symbol to its name; raise UserError naming the nearest otherwise."""
    key, known = name.strip().replace("-", "_"), _names()
    if key in known:
        return known[key]
    raise UserError(f'unknown setting "{name}"{nearest(key, known)}')


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


def _symbol(name: str) -> str:
    more = _infos()[name].json_schema_extra
    return str(more["symbol"]) if isinstance(more, dict) else ""
