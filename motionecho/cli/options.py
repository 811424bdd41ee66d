"""Options that several commands share, as types."""

from typing import Annotated

import typer

PairOption = Annotated[
    str | None,
    typer.Option(
        "--pair", envvar="MOTIONECHO_PAIR", help="Pair; see `motionecho models list`. [default: toy]"
    ),
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", help="Named settings; see `motionecho models show PAIR`.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, by name or symbol; repeatable."),
]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE.yaml", help="Settings from a file; single options win over it."),
]
FitOption = Annotated[
    str | None,
    typer.Option("--fit", help="How a clip is brought to size: crop, resize or pad. [default: crop]"),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. [default: auto]")
]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", help="auto, float32, bfloat16 or float16. [default: auto]")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="PLACE",
        help="Where the pair's weights are: a folder, a hub id, a URL, or random; PART=PLACE for one part, "
        "e.g. base=ORGANISATION/NAME; repeatable. [default: MOTIONECHO_WEIGHTS, else as published]",
    ),
]
OffloadOption = Annotated[
    bool | None,
    typer.Option("--offload", help="Networks take turns on the device: slower, for small cards."),
]
EagerOption = Annotated[
    bool | None,
    typer.Option("--eager", help="Plain torch, without fused kernels and CUDA graphs: slower, to compare."),
]
OutOption = Annotated[
    str | None, typer.Option("--out", "-o", help="Folder or URL of the run. [default: runs/<name>]")
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", metavar="FILE.yaml", help="What each stage asks of the cluster."),
]
MotionsOption = Annotated[
    str | None,
    typer.Option("--motions", help="Folder or URL that shares inverted references between runs."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder or URL of a run.", show_default=False)
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=["MOTIONECHO_RAY_ADDRESS", "RAY_ADDRESS"],
        help="auto, local, ray://HEAD:10001, or a job server http://HEAD:8265. [default: this machine]",
    ),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Actors that work.")]
ManifestArgument = Annotated[
    str,
    typer.Argument(metavar="MANIFEST", help="Parquet, CSV or JSON lines; path or URL.", show_default=False),
]
GateOption = Annotated[
    str | None,
    typer.Option(
        "--gate", metavar="FIGURE>=NUMBER", help="Make results below it again, e.g. motion_fidelity>=0.5."
    ),
]
GateTriesOption = Annotated[
    int | None, typer.Option("--gate-tries", min=1, help="Most tries at the gate. [default: 3]")
]
MetricOption = Annotated[
    list[str] | None, typer.Option("--metric", help="A metric to score with; repeatable; or none.")
]
