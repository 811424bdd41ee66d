"""`motionecho bench`: what things cost on this machine, measured by one command each."""

from typing import Annotated

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
from motionecho.cli.settings import resolve
from motionecho.cli.talk import put, put_json, say, table
from motionecho.errors import UserError

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
    resolved = resolve(
        pair=pair,
        changes=changes or (),
        device=device,
        dtype=dtype,
        weights=weights,
        offload=offload,
        eager=eager,
    )
    numbers = _numbers(steps)

    from motionecho.backbones.registry import load_pair
    from motionecho.bench.sampler import measure
    from motionecho.cli.settings import parse_changes
    from motionecho.provenance import versions

    settings, spec = resolved.settings, resolved.spec
    models = load_pair(
        spec.name, settings.device, settings.dtype, settings.weights, settings.offload, settings.eager
    )
    about = {
        "pair": spec.name,
        "weights": "random" if spec.is_random else list(spec.weights_at) or "as published",
        "size": [spec.frames, spec.height, spec.width],
        "device": _device(str(models.device)),
        "dtype": str(next(models.student.unet.parameters()).dtype).removeprefix("torch."),
        "offload": settings.offload,
        "eager": settings.eager,
        "repeats": repeats,
        "changes": changes or [],
        "versions": versions(),
    }
    rows = []
    for row in measure(models, numbers, repeats, dict(parse_changes(changes or ()))):
        rows.append(row)
        say(f"{row['mode']} {row['steps']}: {row['seconds']} s")
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
