"""`motionecho bench`: what things cost on this machine, measured by one command each."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import (
    JsonOption,
    PairOption,
    PlacementOptions,
    SetOption,
    SettingsOptions,
)
from motionecho.cli.phases import phases
from motionecho.cli.printing import put, put_json, say, table
from motionecho.errors import UserError
from motionecho.runs.waits import doing

if TYPE_CHECKING:
    from motionecho.models.pair import ModelPair

RepeatsOption = Annotated[int, typer.Option("--repeats", min=1, help="Measurements; the median counts.")]
app = typer.Typer(help="What things cost on this machine.", no_args_is_help=True)


@app.command()
@flattened
def sampler(
    placement: PlacementOptions,
    pair: PairOption = None,
    steps: Annotated[
        str, typer.Option("--steps", metavar="N,N,...", help="Numbers of student steps.")
    ] = "4,8,16",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Videos a row; the median counts.")] = 3,
    strategies: Annotated[
        bool, typer.Option("--strategies", help="Every strategy of the pair instead, at the first --steps.")
    ] = False,
    changes: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure seconds and memory a video: plain, guided, with the teacher always, and adaptive."""
    numbers = _numbers(steps)

    from motionecho.cli.settings import parse_changes

    models, about = _loaded(SettingsOptions(pair=pair, changes=changes), placement)

    from motionecho.bench import sampler as bench

    about |= {"repeats": repeats, "changes": changes or []}
    if (most := models.spec.most_steps) and max(numbers) > most:
        say(f"note: the student of pair {models.spec.name} takes at most {most} steps")
        numbers = [number for number in numbers if number <= most] or [most]
    rows = []
    its = dict(parse_changes(changes or ()))
    measured = (
        bench.by_strategy(models, numbers[0], repeats, its)
        if strategies
        else bench.measure(models, numbers, repeats, its)
    )
    for row in measured:
        rows.append(row)
        say(f"{row['mode']} {row['steps']}: {row['seconds']} s")
    _put(about, rows, json)


@app.command()
@flattened
def vae(
    placement: PlacementOptions,
    pair: PairOption = None,
    repeats: RepeatsOption = 10,
    json: JsonOption = False,
) -> None:
    """Measure milliseconds and memory of encoding a reference and decoding a video."""
    models, about = _loaded(SettingsOptions(pair=pair), placement)

    from motionecho.bench import vae as bench

    _put(about | {"repeats": repeats}, bench.measure(models, repeats), json)


@app.command()
@flattened
def compare(
    placement: PlacementOptions,
    pair: Annotated[
        str | None, typer.Option("--pair", help="One of Wan's pairs, beside diffusers' network.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Of such a pair also diffusers' network compiled.")
    ] = False,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="DIR", help="A checkout of Ji4chenLi/t2v-turbo."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Tiny networks, to see that it runs.", show_default=False)
    ] = False,
    repeats: RepeatsOption = 10,
    json: JsonOption = False,
) -> None:
    """Compare passes with the public code's: VideoCrafter2's (--reference) or a Wan pair's (--pair)."""
    if (pair is None) == (reference is None):
        raise UserError("name either --pair, one of Wan's, or --reference DIR, to compare VideoCrafter2")
    if pair:
        _compare_wan(pair, placement, repeats, compiled, json)
        return

    import torch

    from motionecho.bench import compare as bench
    from motionecho.device import resolve_device, resolve_dtype
    from motionecho.runs.provenance import versions

    assert reference is not None
    place = resolve_device(placement.device or "auto")
    kind = resolve_dtype(placement.dtype or "auto", torch.float16 if place.type == "cuda" else torch.float32)
    size = bench.SMALL if small else bench.Size()
    about = {
        "size": [size.frames, 8 * size.height, 8 * size.width],
        "widths": [size.unet.channels, size.vae[0]],
        "device": _device(str(place)),
        "dtype": str(kind).removeprefix("torch."),
        "repeats": repeats,
        "versions": versions(),
    }
    rows = []
    for row in bench.compare(reference, place, kind, repeats, size):
        rows.append(row)
        say(f"{row['part']}: {row['public_ms']} and {row['ours_ms']} ms")
    _put(about, rows, json)


def _compare_wan(pair: str, placement: PlacementOptions, repeats: int, compiled: bool, json: bool) -> None:
    from motionecho.bench import transformer as bench

    models, about = _loaded(SettingsOptions(pair=pair), placement)
    rows = []
    for row in bench.measure(models, repeats, compiled):
        rows.append(row)
        say(f"{row['part']}, {row['way']}: {row['ms']} ms, {row['peak_gib']} GiB, {row['apart']} apart")
    _put(about | {"repeats": repeats}, rows, json)


@app.command()
@flattened
def blocks(
    placement: PlacementOptions,
    pair: PairOption = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Rendered clips that are looked at.")] = 8,
    times: Annotated[
        str, typer.Option("--times", metavar="T,T,...", help="Times at which they are, 0 to 1000.")
    ] = "0,300,500,700",
    json: JsonOption = False,
) -> None:
    """Measure which block of a transformer knows where things are, the one that guidance should read."""
    wanted = _times(times)

    from motionecho.bench.blocks import tracking

    models, about = _loaded(SettingsOptions(pair=pair), placement)
    rows = [asdict(row) for row in (*tracking(models, "teacher", wanted, clips),
                                    *tracking(models, "student", wanted, clips))]  # fmt: skip
    _put(about | {"clips": clips}, rows, json)


@app.command()
@flattened
def inversion(
    placement: PlacementOptions,
    pair: PairOption = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Rendered clips that are inverted.")] = 4,
    steps: Annotated[int, typer.Option("--steps", min=1, max=1000, help="Inversion steps.")] = 50,
    json: JsonOption = False,
) -> None:
    """Measure how well a clip comes back from its inverted noise, by the same teacher in as many steps."""
    from motionecho.bench.inversion import round_trip

    models, about = _loaded(SettingsOptions(pair=pair), placement)
    reference = models.spec.defaults.updated({"inversion_steps": steps}).reference
    _put(about | {"steps": steps}, round_trip(models, reference, clips), json)


def _loaded(options: SettingsOptions, placement: PlacementOptions) -> tuple["ModelPair", dict[str, Any]]:
    """Load the pair that the options name; return it and the facts to print with its figures."""
    from motionecho.cli.settings import resolve
    from motionecho.runs.provenance import versions

    resolved = resolve(options, placement)
    resolved.fetch()  # what is missing is told before torch is there
    with phases():
        doing("weights")
        settings, spec, models = resolved.settings, resolved.spec, resolved.load()
    return models, {
        "pair": spec.name,
        "weights": "random" if spec.is_random else list(spec.weights_at) or "as published",
        "size": [spec.frames, spec.height, spec.width],
        "device": _device(str(models.device)),
        "dtype": str(next(models.student.network.parameters()).dtype).removeprefix("torch."),
        "offload": settings.placement.offload,
        "eager": settings.placement.eager,
        "versions": versions(),
    }


def _put(about: dict[str, Any], rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        put_json(**about, rows=rows)
        return
    for name, value in about.items():
        if isinstance(value, dict):
            value = ", ".join(f"{part} {figure}" for part, figure in value.items())
        put(f"{name:<9} {value}")
    put(table(rows, list(rows[-1])))


def _numbers(steps: str) -> list[int]:
    try:
        numbers = [int(part) for part in steps.replace(",", " ").split()]
    except ValueError:
        raise UserError(f'--steps "{steps}" has to be whole numbers, e.g. 4,8,16') from None
    if not numbers or min(numbers) < 1:
        raise UserError(f'--steps "{steps}" has to name at least one number of steps, each 1 or more')
    return numbers


def _times(text: str) -> list[float]:
    try:
        times = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise UserError(f'--times "{text}" has to be numbers, e.g. 0,300,500') from None
    if not times or not all(0 <= t <= 1000 for t in times):
        raise UserError(f'--times "{text}" has to name at least one time, each between 0 and 1000')
    return times


def _device(name: str) -> str:
    import torch

    if not name.startswith("cuda"):
        return f"{name}, {torch.get_num_threads()} threads"
    memory = torch.cuda.get_device_properties(name).total_memory / 2**30
    return f"{torch.cuda.get_device_name(name)}, {memory:.0f} GiB"
