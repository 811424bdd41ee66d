"""`motionecho config`: every setting, its meaning, and where its value comes from."""

from typing import Annotated, Any

import typer

from motionecho.cli.options import (
    ConfigOption,
    JsonOption,
    MethodOption,
    PairOption,
    PlacementOptions,
    PresetOption,
    SetOption,
    SettingsOptions,
    StrategyOption,
    WeightsOption,
)
from motionecho.cli.printing import put, put_json, table

app = typer.Typer(help="Settings and where they come from.", no_args_is_help=True)


@app.command()
def show(
    pair: PairOption = None,
    preset: PresetOption = None,
    strategy: StrategyOption = None,
    method: MethodOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    weights: WeightsOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where each value comes from.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the resolved settings, their meaning and words to choose from; --explain adds their source."""
    from motionecho.cli.settings import resolve
    from motionecho.config import EchoConfig

    options = SettingsOptions(pair, preset, strategy, method, changes, config)
    resolved = resolve(options, PlacementOptions(weights=weights))
    values = resolved.settings.echo.to_dict()
    if json:
        words = {line["name"]: line["words"] for line in EchoConfig.describe() if line["words"]}
        put_json(settings=resolved.settings.to_dict(), sources=resolved.sources, words=words)
        return
    rows = [
        {"setting": line["name"], "symbol": line["symbol"], "value": _text(values[line["name"]])}
        | ({"from": resolved.sources[line["name"]]} if explain else {})
        | {"meaning": line["doc"] + (f" [{' | '.join(line['words'])}]" if line["words"] else "")}
        for line in EchoConfig.describe()
    ]
    put(table(rows))


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else "none" if value is None else str(value)
