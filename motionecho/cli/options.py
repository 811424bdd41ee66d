"""Options that several commands share: single ones as types, those that go together as dataclasses."""

from dataclasses import dataclass
from typing import Annotated

import typer

from motionecho.cli import completion
from motionecho.metrics.registry import OWN
from motionecho.runs.places import Place

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]
RunArgument = Annotated[
    str, typer.Argument(parser=Place, metavar="RUN", help="Folder or URL of a run.", show_default=False)
]
ManifestArgument = Annotated[
    str,
    typer.Argument(
        parser=Place, metavar="MANIFEST", help="Parquet, CSV or JSON lines; path or URL.", show_default=False
    ),
]
AgainOption = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        parser=Place,
        metavar="MANIFEST",
        help="What the run was made of, where its URLs had a login or a signature: these are not stored.",
    ),
]
DenyOption = Annotated[
    str | None,
    typer.Option(
        "--deny",
        parser=Place,
        metavar="FILE",
        envvar="MOTIONECHO_DENY",
        help="A deny list of prompts: a word, a phrase or a /regex/ a line.",
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out", "-o", parser=Place, metavar="PLACE", help="Folder or URL of the run. [default: runs/NAME]"
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="METRIC",
        autocompletion=completion.metrics,
        help=f"A metric to score with, repeatable: {', '.join(OWN)}, or none. `motionecho metrics list` "
        "says what each is.",
    ),
]
PairOption = Annotated[
    str | None,
    typer.Option(
        "--pair",
        metavar="PAIR",
        autocompletion=completion.pairs,
        envvar="MOTIONECHO_PAIR",
        help="Pair; see `motionecho models list`. [default: toy]",
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        autocompletion=completion.presets,
        help="Named settings; see `motionecho models show PAIR`.",
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="WORD",
        autocompletion=completion.strategies,
        help="What of the motion is followed, and how; `motionecho models show PAIR` lists them. "
        "[default: motionclone]",
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="WORD",
        autocompletion=completion.methods,
        help="Who samples: motionecho, student, guided-student, teacher or structure. [default: motionecho]",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completion.settings,
        help="One setting, by name or symbol, repeatable; `motionecho config show` lists them.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        parser=Place,
        metavar="FILE.yaml",
        help="Settings from a file; single options win over it.",
    ),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit", metavar="WORD", help="How a clip is brought to size: crop, resize or pad. [default: crop]"
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="WORD", help="auto, cpu, cuda or cuda:N. [default: auto]")
]
DtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", metavar="WORD", help="auto, float32, bfloat16 or float16. [default: auto]"),
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
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        envvar=["MOTIONECHO_RAY_ADDRESS", "RAY_ADDRESS"],
        help="auto, local, ray://HEAD:10001, or a job server http://HEAD:8265. [default: this machine]",
    ),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", metavar="N", min=1, help="Actors that work.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")
]
AllowFailuresOption = Annotated[
    bool, typer.Option("--allow-failures", help="Exit with 0 although samples failed.")
]


@dataclass(frozen=True)
class SettingsOptions:
    """The settings of a video, and how its reference is read."""

    pair: PairOption = None
    preset: PresetOption = None
    strategy: StrategyOption = None
    method: MethodOption = None
    changes: SetOption = None
    config: ConfigOption = None
    fit: FitOption = None


@dataclass(frozen=True)
class GateOptions:
    """The bar that a video has to reach, and how often it is made again."""

    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="FIGURE>=N",
            help="Make results below it again, e.g. 'motion_fidelity>=0.5' (quoted, for the shell).",
        ),
    ] = None
    gate_tries: Annotated[
        int | None,
        typer.Option("--gate-tries", metavar="N", min=1, help="Most tries at the gate. [default: 3]"),
    ] = None


@dataclass(frozen=True)
class SigningOptions:
    """The key that videos are signed with as C2PA's Content Credentials; it is stored nowhere."""

    c2pa: Annotated[
        str | None,
        typer.Option(
            "--c2pa",
            metavar="CERT.pem",
            envvar="MOTIONECHO_C2PA_CERT",
            help="The certificate to sign with, and its chain behind it.",
        ),
    ] = None
    c2pa_key: Annotated[
        str | None,
        typer.Option(
            "--c2pa-key", metavar="KEY.pem", envvar="MOTIONECHO_C2PA_KEY", help="Its private key, a file."
        ),
    ] = None
    timestamps: Annotated[
        str | None,
        typer.Option("--timestamps", metavar="URL", help="A server that attests the time (RFC 3161)."),
    ] = None


@dataclass(frozen=True)
class PlacementOptions:
    """The models' weights and where they are loaded."""

    device: DeviceOption = None
    dtype: DtypeOption = None
    weights: WeightsOption = None
    offload: OffloadOption = None
    eager: EagerOption = None


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster, what is asked of it, and what its runs share."""

    address: AddressOption = None
    workers: WorkersOption = None
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", parser=Place, metavar="FILE.yaml", help="What each stage asks of the cluster."
        ),
    ] = None
    motions: Annotated[
        str | None,
        typer.Option(
            "--motions",
            parser=Place,
            metavar="PLACE",
            help="Folder or URL that shares inverted references between runs.",
        ),
    ] = None


@dataclass(frozen=True)
class GuardOptions:
    """The guards of a run: time, failures, what is denied, who may work."""

    deadline: Annotated[
        float, typer.Option("--deadline", metavar="S", min=1, help="Seconds an attempt may take.")
    ] = 1800.0
    max_failure_rate: Annotated[
        float,
        typer.Option(
            "--max-failure-rate", metavar="SHARE", min=0, max=1, help="Stop above it, after 50 samples."
        ),
    ] = 0.05
    allow_failures: AllowFailuresOption = False
    deny: DenyOption = None
    canary: Annotated[
        bool, typer.Option("--canary/--no-canary", help="Every worker proves itself before it makes videos.")
    ] = True


@dataclass(frozen=True)
class EffortOptions(GuardOptions):
    """The extent of one submission: which rows, under what guards, what of a run before."""

    limit: LimitOption = None
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Run failed samples again; `batch retry RUN` runs just these."),
    ] = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: delete the run at this place.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="Confirm --fresh.")] = False


@dataclass(frozen=True)
class JobOptions:
    """The handling of a run that is sent to a cluster as a job."""

    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the job alone once it is submitted; print its id.")
    ] = False
    runtime_env: Annotated[
        str | None,
        typer.Option("--runtime-env", metavar="FILE.yaml", help="Ray's runtime_env for the job."),
    ] = None
