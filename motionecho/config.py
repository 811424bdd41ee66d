"""Every setting that decides what a video looks like, strict about names, types and ranges.

`EchoConfig` holds the paper's hyper-parameters and every reading of the paper that could go two
ways; `RunSettings` adds what a batch run needs to be reproduced. Both are frozen.
"""

import types
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from motionecho.errors import UserError, nearest


def _setting(
    default: Any, doc: str, symbol: str = "", low: float | None = None, high: float | None = None
) -> Any:
    return field(default=default, metadata={"doc": doc, "symbol": symbol, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class EchoConfig:
    """Hyper-parameters of MotionEcho; `motionecho config` prints them with their meaning.

    Defaults are the paper's where it states a value. A pair may bring its own (see the registry).
    """

    # --- student (Eq. 3, 4)
    steps: int = _setting(16, "student steps", "N", 1, 200)
    student_noise: Literal["solver", "fresh", "predicted"] = _setting(
        "solver",
        "noise of the student's step: the solver's own choice, fresh Gaussian (Eq. 4) or its own prediction",
    )
    noise_blend: float = _setting(
        0.01, "share of the inverted reference in the initial noise (App. B.2)", "g", 0, 1
    )

    # --- motion guidance (Sec. 4.1)
    layers: tuple[str, ...] = _setting((), "probed temporal attention layers; empty: the pair's own")
    reference_timestep: int = _setting(400, "timestep of the reference representation", "t_alpha", 0, 999)
    student_strength: float = _setting(500.0, "strength of the student's guidance; 0: none", "eta", 0)
    teacher_strength: float = _setting(
        2000.0, "strength of the teacher's guidance; 0: none", "eta_teacher", 0
    )
    gradient: Literal["raw", "unit_rms"] = _setting(
        "raw", "use the gradient as it is (MotionClone), or scaled to unit root mean square per sample"
    )
    student_update: Literal["x0", "direction"] = _setting(
        "x0",
        "guidance moves the student's clean prediction (Eq. 3), or only the direction of its next latent",
    )
    teacher_update: Literal["x0", "direction"] = _setting(
        "direction", "the same for the teacher's DDIM steps; MotionClone moves the direction only"
    )
    guided_fraction: float = _setting(0.5, "leading share of student steps that are guided", "p", 0, 1)
    warm_up: int = _setting(0, "student steps over which the strength ramps up", low=0)
    cool_down: int = _setting(0, "guided student steps over which the strength ramps down", low=0)

    # --- teacher branch (Sec. 4.2)
    teacher_weight: float = _setting(
        0.3, "weight of the teacher's endpoint in the interpolation (Eq. 5)", "lambda", 0, 1
    )
    teacher_fraction: float | None = _setting(
        None, "leading share of student steps in which the teacher may run; none: guided_fraction", "", 0, 1
    )
    teacher_guidance_scale: float = _setting(
        8.5, "classifier-free guidance scale s in eps_u + s (eps_c - eps_u)", "w", 0
    )
    teacher_grid: Literal["dense", "interval"] = _setting(
        "dense",
        "the teacher walks its own uniform grid, or teacher_max_steps equal steps within the interval",
    )
    teacher_grid_steps: int = _setting(50, "points of the teacher's dense grid", "", 1, 1000)
    renoise_position: float = _setting(
        1.0, "t_s as a share of the interval from t_i up to t_{i+1}", "rho", 0, 1
    )
    renoise: Literal["fresh", "predicted"] = _setting(
        "fresh", "noise that lifts the student's prediction to t_s"
    )
    endpoint_guidance: bool = _setting(True, "guide the endpoint prediction at t_i too (Fig. 3c)")

    # --- adaptive acceleration (Sec. 4.3)
    activation: Literal["never", "always", "adaptive"] = _setting("adaptive", "when the teacher runs")
    threshold_unit: Literal["loss", "first_loss"] = _setting(
        "loss", "delta_1 and delta_2 are motion losses, or shares of the sample's first student motion loss"
    )
    activation_threshold: float = _setting(
        400.0, "teacher runs while the windowed motion loss is above it", "delta_1", 0
    )
    truncation_threshold: float = _setting(
        380.0, "teacher guidance ends once its motion loss is below it", "delta_2", 0
    )
    window: int = _setting(2, "student motion losses averaged for the decision", "W", 1)
    window_includes_current: bool = _setting(True, "the current step's loss belongs to the window (App. A.1)")
    teacher_max_steps: int = _setting(4, "cap on guided teacher steps in one student step", "N_max", 1)

    # --- inversion of the reference (DDIM, empty prompt)
    inversion_steps: int = _setting(50, "DDIM inversion steps", "", 1, 1000)
    inversion_evaluate_at: Literal["target", "source"] = _setting(
        "target", "timestep at which inversion evaluates the noise: the one it goes to, or comes from"
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            object.__setattr__(self, spec.name, _checked(spec.name, getattr(self, spec.name)))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(spec.name for spec in fields(cls))

    @classmethod
    def describe(cls) -> list[dict[str, Any]]:
        """One dict per setting: name, symbol, doc, default."""
        return [
            {"name": s.name, "symbol": s.metadata["symbol"], "doc": s.metadata["doc"], "default": s.default}
            for s in fields(cls)
        ]

    def updated(self, changes: dict[str, Any]) -> Self:
        """Return a copy with `changes`, given as values or text, by name or by the paper's symbol.

        Raises UserError on an unknown name, a value of the wrong type or out of range.
        """
        resolved = {resolve_name(name): value for name, value in changes.items()}
        return replace(self, **{name: _checked(name, value) for name, value in resolved.items()})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"layers": list(self.layers)}

    def inversion_settings(self) -> dict[str, Any]:
        """The settings that the cached motion of a reference depends on."""
        names = ("inversion_steps", "inversion_evaluate_at", "reference_timestep", "layers")
        return {name: value for name, value in self.to_dict().items() if name in names}

    def share(self, fraction: float | None) -> int:
        """Number of leading student steps that make up `fraction` of all; at least one unless it is 0."""
        wanted = self.guided_fraction if fraction is None else fraction
        return 0 if wanted == 0 else max(1, round(wanted * self.steps))


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a batch run needs to be reproduced; written to run.json and compared on resume."""

    pair: str
    echo: EchoConfig
    metrics: tuple[str, ...] = ()
    fit: Literal["crop", "resize", "pad"] = "crop"
    device: str = "auto"
    dtype: str = "auto"
    gate: str | None = None  # a quality gate as `gate.Gate` writes it
    weights: tuple[str, ...] = ()  # where they are looked for; their sha256 is what decides results
    offload: bool = False  # networks take turns on the device
    eager: bool = False  # plain torch on a GPU too

    def to_dict(self) -> dict[str, Any]:
        lists = {"metrics": list(self.metrics), "weights": list(self.weights)}
        return asdict(self) | {"echo": self.echo.to_dict()} | lists

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        lists: dict[str, Any] = {name: tuple(data.get(name, ())) for name in ("metrics", "weights")}
        rest = {name: value for name, value in data.items() if name not in ("echo", *lists)}
        return cls(echo=EchoConfig().updated(data["echo"]), **lists, **rest)


def resolve_name(name: str) -> str:
    """Map a setting's name or paper symbol to its name; raise UserError naming the nearest otherwise."""
    key = name.strip().replace("-", "_")
    symbols = {s.metadata["symbol"]: s.name for s in fields(EchoConfig) if s.metadata["symbol"]}
    if key in EchoConfig.names():
        return key
    if key in symbols:
        return symbols[key]
    raise UserError(f'unknown setting "{name}"{nearest(key, [*EchoConfig.names(), *symbols])}')


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(EchoConfig)


def _checked(name: str, value: Any) -> Any:
    """Convert `value` (possibly text) to the setting's type and check its range."""
    spec = EchoConfig.__dataclass_fields__[name]
    result = _convert(name, value, _hints()[name])
    low, high = spec.metadata["low"], spec.metadata["high"]
    numeric = isinstance(result, int | float) and not isinstance(result, bool)
    if numeric and not ((low is None or result >= low) and (high is None or result <= high)):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise UserError(f"setting {name}={value} is out of range: it has to be {bounds}")
    return result


def _convert(name: str, value: Any, hint: Any) -> Any:
    origin, options = get_origin(hint), get_args(hint)
    text = value.strip() if isinstance(value, str) else value
    if origin in (Union, types.UnionType):
        if text is None or text in ("", "none", "None"):
            return None
        return _convert(name, text, next(o for o in options if o is not type(None)))
    if origin is Literal:
        if text in options:
            return text
        raise UserError(
            f'setting {name}="{value}" is none of {", ".join(options)}{nearest(str(text), options)}'
        )
    if origin is tuple:
        parts = text.split(",") if isinstance(text, str) else text
        return tuple(str(part).strip() for part in parts if str(part).strip())
    if hint is bool:
        known = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        if str(text).lower() in known:
            return known[str(text).lower()]
        raise UserError(f'setting {name}="{value}" is neither true nor false')
    return _number(name, text, hint)


def _number(name: str, value: Any, kind: type) -> int | float:
    what = "a whole number" if kind is int else "a number"
    problem = UserError(f'setting {name}="{value}" is not {what}')
    if isinstance(value, bool):
        raise problem
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise problem from None
    if number != number or abs(number) == float("inf") or (kind is int and number != int(number)):
        raise problem
    return int(number) if kind is int else number
