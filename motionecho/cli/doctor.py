"""`motionecho doctor`: is everything here that making videos needs, and what mends what is not?"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import AddressOption, JsonOption, PairOption, WeightsOption
from motionecho.cli.phases import phases
from motionecho.cli.printing import count, fitted, put, put_json, say
from motionecho.runs.places import Place
from motionecho.runs.urls import told
from motionecho.runs.waits import doing


def doctor(
    pair: PairOption = None,
    weights: WeightsOption = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            parser=Place,
            metavar="PLACE",
            help="Folder or URL of runs, to write, list and delete in.",
        ),
    ] = None,
    address: AddressOption = None,
    with_ray: Annotated[
        bool, typer.Option("--ray/--no-ray", help="Start Ray, or join it, which takes seconds.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Look at this machine: Python, torch, GPU, Ray, codecs, weights, disks, a store. Leaves nothing behind.

    Each line is ok, warn or fail, with what mends it; the exit code is 1 where one fails.
    """
    from motionecho.cli import checkup
    from motionecho.cli.checkup import Remark
    from motionecho.models.registry import pair_spec

    spec = pair_spec(pair or "toy", tuple(weights or ()))
    looks: dict[str, Callable[[], Remark]] = {
        "python": checkup.python,
        "variables": checkup.variables,
        "torch": checkup.torch,
        "gpu": checkup.gpu,
        "codecs": checkup.codecs,
        "decord": checkup.decord,
        "weights": lambda: checkup.weights(spec),
        "pairs": checkup.pairs,
        "plugins": checkup.plugins,
        "drivers": checkup.drivers,
        "tmpdir": checkup.tmpdir,
        "shm": checkup.shared_memory,
        "cache": checkup.cache,
    }
    if store:
        looks["store"] = lambda: checkup.store(store)
    if with_ray:
        looks["ray"] = lambda: checkup.ray(address)
    found: dict[str, dict[str, Any]] = {}
    with phases():
        for name, look in looks.items():
            doing(name)
            began = time.monotonic()
            remark = checkup.guarded(look)
            found[name] = {**asdict(remark), "seconds": round(time.monotonic() - began, 2)}
    states = [each["state"] for each in found.values()]
    code = Exit.UNEXPECTED if "fail" in states else Exit.OK
    if json:
        put_json(
            ok=code is Exit.OK, exit_code=int(code), checks=[{"name": n} | its for n, its in found.items()]
        )
    else:
        for name, its in found.items():
            put(*fitted(f"{its['state']:<5}{name:<10} ", told(its["found"])))
            if its["mend"]:
                put(*fitted(f"{'':<5}{'':<10} ", f"mend: {told(its['mend'])}"))
    said = [f"{states.count(state)} {state}" for state in ("fail", "warn") if state in states]
    say(f"{count(len(states), 'look')}: {', '.join(said) or 'all well'}")
    raise typer.Exit(code)
