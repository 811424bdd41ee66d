"""`motionecho bench`: what things cost on this machine, measured by one command each."""

from typing import Annotated, Any

import typer

from motionecho.cli.options import (
    DeviceOption,
    DtypeOption,
    EagerOption,
    JsonOption,
    OffloadOption,
    PairOption,
    SetOption,
    WeightsOption,
)
from motionecho.cli.printing import put, put_json, say, table
from motionecho.cli.settings import resolve
from motionecho.errors import UserError

RepeatsOption = Annotated[int, typer.Option("--repeats", min=1, help="Measurements; the median counts.")]
app = typer.Typer(help="What things cost on this machine.", no_args_is_help=True)


@app.command()
def sampler(
    pair: PairOption = None,
    weights: WeightsOption = None,
    steps: Annotated[
        str, typer.Option("--steps", metavar="N,N,...", help="Numbers of student steps.")
    ] = "4,8,16",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Videos a row; the median counts.")] = 3,
    changes: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offload: OffloadOption = None,
    eager: EagerOption = None,
    json: JsonOption = False,
) -> None:
    """Seconds and memory a video: plain, guided, with the teacher always, and adaptive."""
    numbers = _numbers(steps)

    from motionecho.bench.sampler import measure
    from motionecho.cli.settings import parse_changes

    models, about = _loaded(pair, changes, device, dtype, weights, offload, eager)
    about |= {"repeats": repeats, "changes": changes or []}
    rows = []
    for row in measure(models, numbers, repeats, dict(parse_changes(changes or ()))):
        rows.append(row)
        say(f"{row['mode']} {row['steps']}: {row['seconds']} s")
    _put(about, rows, json)


@app.command()
def vae(
    pair: PairOption = None,
    weights: WeightsOption = None,
    repeats: RepeatsOption = 10,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offload: OffloadOption = None,
    eager: EagerOption = None,
    json: JsonOption = False,
) -> None:
    """Milliseconds and memory of encoding a reference and decoding a video."""
    from motionecho.bench.vae import measure

    models, about = _loaded(pair, None, device, dtype, weights, offload, eager)
    _put(about | {"repeats": repeats}, measure(models, repeats), json)


@app.command()
def compare(
    reference: Annotated[
        str, typer.Option("--reference", metavar="DIR", help="A checkout of Ji4chenLi/t2v-turbo.")
    ],
    small: Annotated[
        bool, typer.Option("--small", help="Tiny networks, to see that it runs.", show_default=False)
    ] = False,
    repeats: RepeatsOption = 10,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    json: JsonOption = False,
) -> None:
    """VideoCrafter2's passes beside the public code's: same random weights, same process."""
    import torch

    from motionecho.bench.compare import SMALL, Size
    from motionecho.bench.compare import compare as rows_of
    from motionecho.device import resolve_device, resolve_dtype
    from motionecho.runs.provenance import versions

    place = resolve_device(device or "auto")
    kind = resolve_dtype(dtype or "auto", torch.float16 if place.type == "cuda" else torch.float32)
    size = SMALL if small else Size()
    about = {
        "size": [size.frames, 8 * size.height, 8 * size.width],
        "widths": [size.unet.channels, size.vae[0]],
        "device": _device(str(place)),
        "dtype": str(kind).removeprefix("torch."),
        "repeats": repeats,
        "versions": versions(),
    }
    rows = []
    for row in rows_of(reference, place, kind, repeats, size):
        rows.append(row)
        say(f"{row['part']}: {row['public_ms']} and {row['ours_ms']} ms")
    _put(about, rows, json)


def _loaded(
    pair: str | None,
    changes: list[str] | None,
    device: str | None,
    dtype: str | None,
    weights: list[str] | None,
    offload: bool | None,
    eager: bool | None,
) -> tuple[Any, dict[str, Any]]:
    """The pair that the options name, and what to say of it."""
    resolved = resolve(
        pair=pair, changes=changes or (), device=device, dtype=dtype, weights=weights, offload=offload,
        eager=eager,
    )  # fmt: skip

    from motionecho.models.registry import load_pair
    from motionecho.runs.provenance import versions

    settings, spec = resolved.settings, resolved.spec
    models = load_pair(spec.name, settings.placement, settings.dtype)
    return models, {
        "pair": spec.name,
        "weights": "random" if spec.is_random else list(spec.weights_at) or "as published",
        "size": [spec.frames, spec.height, spec.width],
        "device": _device(str(models.device)),
        "dtype": str(next(models.student.unet.parameters()).dtype).removeprefix("torch."),
        "offload": settings.placement.offload,
        "eager": settings.placement.eager,
        "versions": versions(),
    }


def _put(about: dict[str, Any], rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        put_json(**about, rows=rows)
        return
    for name, value in about.items():
        text = ", ".join(f"{key} {its}" for key, its in value.items()) if isinstance(value, dict) else value
        put(f"{name:<9} {text}")
    put(table(rows, list(rows[-1])))


def _numbers(steps: str) -> list[int]:
    try:
        numbers = [int(part) for part in steps.replace(",", " ").split()]
    except ValueError:
        raise UserError(f'--steps "{steps}" has to be whole numbers, e.g. 4,8,16') from None
    if not numbers or min(numbers) < 1:
        raise UserError(f'--steps "{steps}" has to name at least one number of steps, each 1 or more')
    return numbers


def _device(name: str) -> str:
    import torch

    if not name.startswith("cuda"):
        return f"{name}, {torch.get_num_threads()} threads"
    memory = torch.cuda.get_device_properties(name).total_memory / 2**30
    return f"{torch.cuda.get_device_name(name)}, {memory:.0f} GiB"
