"""`motionecho score` and `compare`: figures of videos that exist, and of two sets beside each other."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.headline import by_reason, command, commands, labelled
from motionecho.cli.options import (
    AddressOption,
    AgainOption,
    DeviceOption,
    FitOption,
    JsonOption,
    LimitOption,
    WorkersOption,
)
from motionecho.cli.printing import count, put, put_json, say, stderr, table
from motionecho.cli.progress import Display
from motionecho.cli.running import conclude, read_headline, verdict
from motionecho.errors import UserError
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.metrics.compare import Comparison
    from motionecho.metrics.headline import Headline
    from motionecho.metrics.stats import Estimate
    from pipelines.scoring.run import Scoring
    from pipelines.scoring.source import ScoredSource


def score(
    source: Annotated[
        str,
        typer.Argument(
            parser=Place,
            metavar="SOURCE",
            help="A run, a results table, or any table with a video column; path or URL.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            parser=Place,
            metavar="PLACE",
            help="Folder or URL of the scores. [default: RUN/scores, scores/NAME]",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="A metric, or of the whole set kid, cmmd or fid; repeatable. [default: the run's own]",
        ),
    ] = None,
    fit: FitOption = None,
    device: DeviceOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    manifest: AgainOption = None,
    deadline: Annotated[float, typer.Option("--deadline", min=1, help="Seconds a video may take.")] = 600.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed videos again.")] = False,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Exit with 0 although videos failed.")
    ] = False,
    allow_small_fid: Annotated[
        bool,
        typer.Option("--allow-small-fid", help="FID of fewer than 50 videos: mostly bias."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Score the videos of SOURCE. The same command again continues; a new metric repeats no figure."""
    from motionecho.cli.settings import check_fit, check_metrics
    from motionecho.metrics import usual_metrics
    from motionecho.metrics.sets import SETS

    asked = metric or ()
    sets = [name for name in SETS if name in asked]
    check_metrics([name for name in asked if name not in SETS], [*SETS])
    if fit is not None:
        check_fit(fit)

    from motionecho.metrics.compare import gather, summarize, tally
    from motionecho.runs.store import RunStore
    from pipelines.execution import Execution
    from pipelines.scoring import run as pipeline
    from pipelines.scoring.sets import score_sets
    from pipelines.scoring.source import read_source

    found = read_source(source, manifest)
    chosen = [name for name in asked if name not in SETS] if asked else found.metrics or usual_metrics()
    names = [*check_metrics(chosen), *sets]
    scoring = pipeline.Scoring.of(names, fit or found.fit or "crop", device or "auto", found.background)
    if not scoring.metrics:
        raise UserError(_refusal(scoring.skipped) if names else "none asks for no figure: name a --metric")
    url = out or pipeline.default_place(found, Path(Place(source).name).stem)
    _banner(found, scoring, source, url)
    execution = Execution(
        address=address, workers=workers, deadline_s=deadline, limit=limit, retry_failed=retry_failed,
        max_failure_rate=1.0,
    )  # fmt: skip
    with Display(stderr(), source, url) as display:
        summary, records = pipeline.run(found, scoring, url, execution, display.update)
    head = _headline(found.place, url, summary.failed > 0)
    conclude(summary, url, head)
    if summary.failed:
        say(*commands("next", [command("failures", url)]))
    code = verdict(summary, allow_failures)
    distances = score_sets(sets, records, scoring, url, allow_small_fid)
    if code is Exit.OK and any(row.get("status") == "damaged" for row in distances.values()):
        code = Exit.FAILED_SAMPLES
    rows = gather([*found.records(), *records])
    means, statuses = summarize(rows), tally(rows)
    if json:
        put_json(
            scores=url, exit_code=int(code), **asdict(summary), metrics=scoring.metrics,
            skipped=scoring.skipped, sets=distances, statuses=statuses, without_video=found.without,
            means={name: asdict(mean) for name, mean in means.items()}, headline=head and asdict(head),
        )  # fmt: skip
    else:
        measured = [distance_row(name, row) for name, row in distances.items() if name in row]
        for rows_of_one in filter(None, (estimates(means), measured)):
            put(table(rows_of_one))
        put(url if RunStore(url).run() else found.name)
    for name, row in distances.items():
        if name not in row:
            say(f"{name}: {row.get('reason', row['status'])}")
    for name, counts in statuses.items():
        if set(counts) != {"ok"}:
            say(f"{name}: " + ", ".join(f"{number} {status}" for status, number in counts.items()))
    raise typer.Exit(code)


def compare(
    a: Annotated[
        str, typer.Argument(parser=Place, metavar="A", help="A run, scores or results.", show_default=False)
    ],
    b: Annotated[
        str, typer.Argument(parser=Place, metavar="B", help="The same of another.", show_default=False)
    ],
    json: JsonOption = False,
) -> None:
    """Compare B with A sample by sample: mean difference with its 95 % interval, how often B is higher."""
    from motionecho.metrics import compare as scores

    result = scores.compare(scores.read_scores(a), scores.read_scores(b))
    if json:
        put_json(a=a, b=b, **asdict(result))
    elif result.figures:
        put(table(differences(result)))
    alone = f"{result.alone[0]} of A, {result.alone[1]} of B"
    say(f"{count(result.pairs, 'pair')} by {result.by}; without a partner: {alone}")
    for metric, (one, two) in result.unlike.items():
        say(f"not comparable: {metric} is by other means in A ({one}) than in B ({two})")
    if not result.figures:
        say("no figure is in both")


def estimates(means: "dict[str, Estimate]") -> list[dict[str, Any]]:
    """Make rows of the summary table: figure, mean, interval, n."""
    from motionecho.metrics.compare import is_bookkeeping

    return [
        {"figure": name, "mean": e.mean, "low": e.low, "high": e.high, "n": e.n}
        for name, e in means.items()
        if not is_bookkeeping(name)
    ]


def distance_row(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Make a row of a set metric's table."""
    return {"set": name, "value": row[name], "low": row.get("low"), "high": row.get("high"),
            "videos": row["videos"], "references": row["references"]}  # fmt: skip


def differences(result: "Comparison") -> list[dict[str, Any]]:
    """Make rows of the comparison: both means, difference with interval, how often B is higher, n."""
    from motionecho.metrics.compare import is_bookkeeping

    return [
        {"figure": name, "A": d.mean_a, "B": d.mean_b, "B-A": d.difference.mean, "low": d.difference.low,
         "high": d.difference.high, "B higher": round(d.wins, 3), "n": d.difference.n}
        for name, d in result.figures.items()
        if not is_bookkeeping(name)
    ]  # fmt: skip


def _banner(found: "ScoredSource", scoring: "Scoring", source: str, url: str) -> None:
    without = f" ({found.without} more have no video)" if found.without else ""
    say(f"source     {source}: {count(len(found.rows), 'video')}{without}", f"out        {url}")
    for name in found.missing:
        say(f"note       no row has a {name}: metrics that need it say so in their status")
    for reason, names in by_reason(scoring.skipped).items():
        say(*labelled("skipped", f"{', '.join(names)}: {reason}"))


def _refusal(skipped: dict[str, str]) -> str:
    """Say why nothing can be measured, and what to do about it."""
    from motionecho.metrics import METRICS

    why = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason(skipped).items())
    others = ", ".join(name for name in METRICS if name not in skipped)
    return f"no metric that was asked for can run here, and nothing was measured ({why}); others are {others}"


def _headline(run: str | None, scores: str, failed: bool) -> "Headline | None":
    """Sum up the figures there are of a run, or else of the scores' place, with the failures of scoring."""
    head = read_headline(run or scores, scores)
    of_scoring = read_headline(scores) if run and failed else None
    if head is None or run is None:
        return head
    return replace(head, causes=of_scoring.causes if of_scoring else ())
