"""From options to RunSettings: defaults, then the pair's own, a preset, a config file, single options.

A config file is YAML with any of: pair, preset, metrics, fit, device, dtype, weights (a list of places),
offload, eager, gate, and `echo:` with settings.
`motionecho config show --explain` prints every setting with the place its value came from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from motionecho.cli.options import (
    ConfigOption,
    JsonOption,
    PairOption,
    PresetOption,
    SetOption,
    WeightsOption,
)
from motionecho.cli.printing import put, put_json, say, table
from motionecho.config import EchoConfig, Placement, RunSettings, resolve_name
from motionecho.errors import UserError, nearest
from motionecho.metrics import METRICS, usual_metrics
from motionecho.models.registry import PairSpec, pair_spec

FILE_KEYS = (
    "pair",
    "preset",
    "metrics",
    "fit",
    "device",
    "dtype",
    "weights",
    "offload",
    "eager",
    "gate",
    "echo",
)
FITS = ("crop", "resize", "pad")

app = typer.Typer(help="Settings and where they come from.", no_args_is_help=True)


@dataclass(frozen=True)
class Resolved:
    """Settings of a run, the pair they are for, and the source of each EchoConfig field."""

    settings: RunSettings
    spec: PairSpec
    sources: dict[str, str]


def resolve(
    *,
    pair: str | None = None,
    preset: str | None = None,
    changes: Sequence[str] = (),
    config: str | None = None,
    metrics: Sequence[str] = (),
    fit: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    gate: str | None = None,
    gate_tries: int | None = None,
    weights: Sequence[str] | None = None,
    offload: bool | None = None,
    eager: bool | None = None,
) -> Resolved:
    """Merge all sources of settings; raises UserError on anything unknown or out of range."""
    file = read_config(config) if config else {}
    spec = pair_spec(pair or file.get("pair") or "toy", tuple(weights or file.get("weights") or ()))
    preset = preset or file.get("preset")
    from_file = {resolve_name(str(name)): value for name, value in file.get("echo", {}).items()}
    from_options = parse_changes(changes)
    echo = spec.config(preset, from_file | from_options)
    names: Sequence[str] = metrics or file.get("metrics", ()) or spec.metrics or usual_metrics()
    chosen = fit or file.get("fit") or "crop"
    if chosen not in FITS:
        raise UserError(f'unknown fit "{chosen}"{nearest(chosen, FITS)}; use crop, resize or pad')
    settings = RunSettings(
        pair=spec.name,
        echo=echo,
        metrics=check_metrics(names),
        fit=chosen,  # type: ignore[arg-type]  # checked above
        dtype=dtype or file.get("dtype") or "auto",
        gate=read_gate(gate or file.get("gate"), gate_tries),
        placement=Placement(
            device=device or file.get("device") or "auto",
            weights=spec.weights_at,
            offload=bool(file.get("offload") if offload is None else offload),
            eager=bool(file.get("eager") if eager is None else eager),
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
    sources |= {resolve_name(name): f"preset {preset}" for name in (spec.presets[preset] if preset else {})}
    sources |= dict.fromkeys(from_file, f"{config}") | dict.fromkeys(from_options, "--set")
    return Resolved(settings, spec, {name: sources.get(name, "default") for name in EchoConfig.names()})


def read_gate(text: str | None, tries: int | None) -> str | None:
    """A quality gate in its canonical form, which keys depend on; UserError where it is none."""
    from motionecho.gate import Gate

    if text is None:
        if tries is not None:
            raise UserError("--gate-tries says nothing without --gate")
        return None
    return str(Gate.parse(str(text), tries))


def as_changes(resolved: Resolved) -> list[str]:
    """The `--set` texts that bring the pair's own settings to the resolved ones, whatever those came from."""
    plain, values = resolved.spec.config(None, {}).to_dict(), resolved.settings.echo.to_dict()
    return [f"{name}={_text(value)}" for name, value in values.items() if value != plain[name]]


def parse_changes(changes: Sequence[str]) -> dict[str, str]:
    """Split `key=value` texts; raises UserError where one is something else or its key is unknown."""
    parsed = {}
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f'--set "{text}" is not of the form KEY=VALUE, e.g. --set steps=4')
        parsed[resolve_name(name)] = value
    return parsed


def read_config(path: str) -> dict[str, Any]:
    """Read a YAML config file strictly; raises UserError naming the file and what is wrong with it."""
    import yaml

    try:
        with open(path, encoding="utf-8") as stream:
            data = yaml.safe_load(stream)
    except OSError as problem:
        raise UserError(f'cannot read config "{path}": {problem.strerror}') from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f'config "{path}" is not YAML: {" ".join(str(problem).split())}') from problem
    data = {} if data is None else data
    if not isinstance(data, Mapping):
        raise UserError(f'config "{path}" has to be a mapping with keys out of {", ".join(FILE_KEYS)}')
    for key in data:
        if key not in FILE_KEYS:
            hint = nearest(str(key), FILE_KEYS)
            if str(key) in EchoConfig.names():
                hint = "; settings belong under `echo:`"
            raise UserError(f'config "{path}" has an unknown key "{key}"{hint}')
    if not isinstance(data.get("echo", {}), Mapping):
        raise UserError(f'config "{path}": `echo` has to be a mapping of settings')
    for key, what in {"metrics": "names", "weights": "places"}.items():
        if not isinstance(data.get(key, []), list):
            raise UserError(f'config "{path}": `{key}` has to be a list of {what}')
    return dict(data)


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
    return chosen


@app.command()
def show(
    pair: PairOption = None,
    preset: PresetOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    weights: WeightsOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where each value comes from.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the resolved settings, their meaning, and with --explain their source."""
    resolved = resolve(pair=pair, preset=preset, changes=changes or (), config=config, weights=weights)
    values = resolved.settings.echo.to_dict()
    if json:
        put_json(settings=resolved.settings.to_dict(), sources=resolved.sources)
        return
    rows = [
        {"setting": line["name"], "symbol": line["symbol"], "value": _text(values[line["name"]])}
        | ({"from": resolved.sources[line["name"]]} if explain else {})
        | {"meaning": line["doc"]}
        for line in EchoConfig.describe()
    ]
    put(table(rows, limit=110))


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else "none" if value is None else str(value)
