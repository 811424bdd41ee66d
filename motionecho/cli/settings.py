"""From options to RunSettings: defaults, then the pair's own, a preset, a config file, single options.

A config file is YAML, or JSON where its name says so, with any of: pair, preset, metrics, fit, device, dtype,
weights (a list of places), offload, eager, gate, and `echo:` with settings. It is a path or a URL.
Commands import this inside functions: it brings the models' specs along, and --help does without.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as strict

from motionecho.cli.options import GateOptions, PlacementOptions, SettingsOptions
from motionecho.cli.printing import say
from motionecho.config import EchoConfig, Placement, RunSettings, resolve_name
from motionecho.errors import BadSample, Transient, UserError, nearest
from motionecho.metrics import METRICS, usual_metrics
from motionecho.models.registry import PairSpec, pair_spec
from motionecho.strict import STRICT, read_as

if TYPE_CHECKING:
    from motionecho.models.pair import ModelPair

FITS = ("crop", "resize", "pad")
NO_SETTINGS, NO_PLACEMENT, NO_GATE = SettingsOptions(), PlacementOptions(), GateOptions()


@strict(frozen=True, config=STRICT)
class ConfigFile:
    """The keys that a config file may have; None, or no such key, leaves it to options and defaults."""

    pair: str | None = None
    preset: str | None = None
    metrics: list[str] | None = None
    fit: str | None = None
    device: str | None = None
    dtype: str | None = None
    weights: list[str] | None = None
    offload: bool | None = None
    eager: bool | None = None
    gate: str | None = None
    echo: dict[Any, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """The settings of a run, the pair they are for, and the source of each EchoConfig field."""

    settings: RunSettings
    spec: PairSpec
    sources: dict[str, str]

    def fetch(self) -> None:
        """Bring the weights to this node that are not there; raises as PairSpec.pull."""
        if not self.spec.is_random:
            self.spec.pull(self.settings.echo.sampling.method)

    def load(self) -> "ModelPair":
        """Load the pair as the settings place it, fetching weights that are not here."""
        from motionecho.models.registry import load_pair

        self.fetch()  # what is read late is missed early
        return load_pair(self.spec.name, self.settings.placement, self.settings.dtype)


def resolve(
    options: SettingsOptions = NO_SETTINGS,
    placement: PlacementOptions = NO_PLACEMENT,
    gate: GateOptions = NO_GATE,
    metrics: Sequence[str] | None = None,
) -> Resolved:
    """Merge all sources of settings; raises UserError on anything unknown or out of range."""
    file = read_config(options.config) if options.config else ConfigFile()
    spec = pair_spec(options.pair or file.pair or "toy", tuple(placement.weights or file.weights or ()))
    preset = options.preset or file.preset
    from_file = {resolve_name(str(name)): value for name, value in file.echo.items()}
    words = {"strategy": options.strategy, "method": options.method}
    words, changes = (
        {name: word for name, word in words.items() if word},
        parse_changes(options.changes or ()),
    )
    echo = spec.config(preset, from_file | words | changes)
    usual = (spec.metrics or usual_metrics()) if file.metrics is None else file.metrics
    settings = RunSettings(
        pair=spec.name,
        echo=echo,
        metrics=check_metrics(metrics or usual),
        fit=check_fit(options.fit or file.fit or "crop"),  # type: ignore[arg-type]  # one of FITS
        dtype=placement.dtype or file.dtype or "auto",
        gate=read_gate(gate.gate or file.gate, gate.gate_tries),
        placement=Placement(
            device=placement.device or file.device or "auto",
            weights=spec.weights_at,
            offload=bool(file.offload if placement.offload is None else placement.offload),
            eager=bool(file.eager if placement.eager is None else placement.eager),
        ),
    )
    if spec.is_random:
        say(f"RANDOM WEIGHTS: pair {spec.name} will make noise, not videos; its records say so")
    if spec.distilled_for not in (None, echo.student.steps):
        made = f"made for {spec.distilled_for} steps, not {echo.student.steps}"
        say(f"note: the student of pair {spec.name} is {made}")
    plain = EchoConfig().to_dict()
    sources = {
        name: f"pair {spec.name}" for name, value in spec.defaults.to_dict().items() if value != plain[name]
    }
    together = f"strategy {echo.reference.strategy}, method {echo.sampling.method}"
    own = spec.defaults.to_dict()
    suited = spec.config(changes={"strategy": echo.reference.strategy, "method": echo.sampling.method})
    sources |= {name: together for name, value in suited.to_dict().items() if value != own[name]}
    sources |= {resolve_name(name): f"preset {preset}" for name in (spec.presets[preset] if preset else {})}
    sources |= dict.fromkeys(from_file, f"{options.config}") | {name: f"--{name}" for name in words}
    sources |= dict.fromkeys(changes, "--set")
    return Resolved(settings, spec, {name: sources.get(name, "default") for name in EchoConfig.names()})


def read_gate(text: str | None, tries: int | None) -> str | None:
    """Return a quality gate in its canonical form, which keys depend on; UserError where it is none."""
    from motionecho.gate import Gate

    if text is None:
        if tries is not None:
            raise UserError("--gate-tries says nothing without --gate")
        return None
    return str(Gate.parse(str(text), tries))


def settings_file(settings: RunSettings) -> str:
    """Write settings as a file for --config that is complete: on its own it resolves to the same settings."""
    return json.dumps(settings.to_dict(), ensure_ascii=False, indent=1)


def check_fit(fit: str) -> str:
    """Return `fit`; raises UserError where there is no such way to bring a clip to size."""
    if fit not in FITS:
        raise UserError(f'unknown fit "{fit}"{nearest(fit, FITS)}; use crop, resize or pad')
    return fit


def parse_changes(changes: Sequence[str]) -> dict[str, str]:
    """Split `key=value` texts; raises UserError where one is something else or its key is unknown."""
    parsed = {}
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f'--set "{text}" is not of the form KEY=VALUE, e.g. --set steps=4')
        parsed[resolve_name(name)] = value
    return parsed


def read_config(path: str) -> ConfigFile:
    """Read a config file strictly; raises UserError naming the file and what is wrong with it."""
    data = _parsed(path)
    for key in data if isinstance(data, Mapping) else ():
        if str(key) in EchoConfig.names():
            raise UserError(f'config "{path}": unknown key "{key}"; settings belong under `echo:`')
    return read_as(ConfigFile, {} if data is None else data, f'config "{path}"')


def _parsed(path: str) -> Any:
    import yaml

    from motionecho.runs.files import HURRIED_S, fetch

    try:
        with fetch(path, HURRIED_S) as local, open(local, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, BadSample, Transient) as problem:
        raise UserError(f'cannot read config "{path}": {problem}') from problem
    except UnicodeDecodeError as problem:
        raise UserError(f'config "{path}" is not text: {problem}') from problem
    is_json = path.lower().endswith(".json")  # YAML 1.1 takes JSON's 1e-05 for a text
    try:
        return json.loads(text) if is_json else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as problem:
        kind = "JSON" if is_json else "YAML"
        raise UserError(f'config "{path}" is not {kind}: {" ".join(str(problem).split())}') from problem


def check_metrics(names: Sequence[str], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names without repeats, ("none",) as no metric; raises UserError on an unknown one."""
    chosen = tuple(dict.fromkeys(names))
    if chosen == ("none",):
        return ()
    for name in chosen:
        if name not in METRICS:
            known = (*METRICS, *more)
            raise UserError(
                f'unknown metric "{name}"{nearest(name, known)}; known: {", ".join(known)}, or none'
            )
        METRICS[name]  # one of a package that is broken is told now
    return chosen
