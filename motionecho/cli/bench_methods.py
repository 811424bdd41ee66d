"""`motionecho bench methods` and `ablation`: the paper's tables on the embedded pair."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.options import DeviceOption, JsonOption
from motionecho.cli.printing import count, put, put_json, say
from motionecho.errors import UserError, nearest

if TYPE_CHECKING:
    from motionecho.models.spec import PairSpec

RANGES: dict[str, tuple[Any, ...]] = {
    "teacher_weight": (0.1, 0.3, 0.5, 1.0),  # Table 4: lambda
    "teacher_strength": (0.15, 0.3, 0.6),  # Table 5: eta, in this pair's unit
    "noise_blend": (0.01, 0.03, 0.05, 0.1),  # Table 6: g
    "guided_fraction": (0.25, 0.5, 0.75),  # p
    "window": (1, 2, 3),  # W
    "teacher_max_steps": (1, 3, 5),  # N_max
}
EmbeddedOption = Annotated[str, typer.Option("--pair", help="The embedded pair: toy or toy-dit.")]
PairsOption = Annotated[int, typer.Option("--pairs", min=2, help="Held-out pairs of clip and prompt.")]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Seeds a pair.")]
OutOption = Annotated[str, typer.Option("--out", "-o", help="Folder for the table, CSV and plot.")]


def methods(
    pair: EmbeddedOption = "toy",
    pairs: PairsOption = 64,
    seeds: SeedsOption = 2,
    out: OutOption = "results/methods",
    table: Annotated[
        int | None, typer.Option("--table", min=1, max=3, help="The paper's table 1, 2 or 3, in its columns.")
    ] = None,
    strategies: Annotated[
        bool, typer.Option("--strategies", help="Every strategy on the student, the teacher, and both.")
    ] = False,
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="Over 4, 8 and 16 steps, beside the teacher alone; with --strategies, its shorter walks.",
        ),
    ] = False,
    row: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="WORDS", help="Only rows whose name has these words; repeatable."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="test, or validation, which tuning sees.")] = "test",
    tracked: Annotated[
        bool, typer.Option("--tracked", help="Motion figures of flow, beside the truth: a second a video.")
    ] = False,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Run Table 3: student, + guidance, + inverted noise, + teacher, + adaptive, and the teacher alone."""
    from motionecho.bench import tables
    from motionecho.bench.ablation import CURVE, SPLITS, TABLE

    if split not in SPLITS:
        raise UserError(f'unknown split "{split}"{nearest(split, SPLITS)}; use {" or ".join(SPLITS)}')
    if table is not None and (strategies or curve):
        raise UserError("--table is one of the paper's tables: leave out --strategies and --curve")
    spec = _embedded(pair)
    rows = dict(tables.by_strategy(spec, curve) if strategies else CURVE if curve else TABLE)
    name = "strategies" if strategies else "curve" if curve else "methods"
    if table is not None:
        name, rows = f"table-{table}", tables.rows_of(table)
    rows = {row: its for row, its in rows.items() if its.get("preset", "student") in spec.presets}
    wanted = {each: its for each, its in rows.items() if not row or any(words in each for words in row)}
    if not wanted:
        raise UserError(f'no row has "{", ".join(row or ())}"; there are {"; ".join(rows)}')
    _run(spec.name, name, wanted, pairs, seeds, out, device, json, split, tracked)


def ablation(
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", help="A setting, by name or symbol; repeatable; default: all."),
    ] = None,
    pair: EmbeddedOption = "toy",
    pairs: PairsOption = 64,
    seeds: SeedsOption = 2,
    out: OutOption = "results/ablation",
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Run Tables 4 to 6: lambda, eta, g, p, W and N_max, one at a time about the pair's own settings."""
    from motionecho.config import resolve_name

    names = ["teacher_strength" if name == "eta" else resolve_name(name) for name in sweep or RANGES]
    for name in names:
        if name not in RANGES:
            raise UserError(f'no sweep of "{name}"{nearest(name, RANGES)}; there are {", ".join(RANGES)}')
    rows = {f"{name} = {value:g}": {name: value} for name in names for value in RANGES[name]}
    for row in rows.values():
        if "noise_blend" in row:  # of pairs that begin without
            row["inversion_steps"] = 25
    _run(_embedded(pair).name, "ablation", rows, pairs, seeds, out, device, json)


def _embedded(pair: str) -> "PairSpec":
    """Return the spec of a pair that makes sprites, which alone are scored against ground truth."""
    from motionecho.models.registry import PAIRS

    known = [name for name, spec in PAIRS.items() if "toy_text" in spec.metrics]
    if pair not in known:
        raise UserError(f'no table of pair "{pair}"{nearest(pair, known)}; there are {", ".join(known)}')
    return PAIRS[pair]


def _run(
    pair: str,
    name: str,
    rows: dict[str, Any],
    pairs: int,
    seeds: int,
    out: str,
    device: str | None,
    json: bool,
    split: str = "test",
    tracked: bool = False,
) -> None:
    from motionecho.bench import ablation as bench
    from motionecho.bench.ablation_report import (
        beside_the_truth,
        contrasts,
        lifts,
        rivals,
        steps_up,
        table,
        write_samples,
    )
    from motionecho.bench.tables import beside_the_paper
    from motionecho.config import Placement
    from motionecho.metrics.registry import load_metrics
    from motionecho.models.registry import load_pair

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    # shrinking batches replay little
    models = load_pair(pair, Placement(device=device or "auto", eager=True))
    say(f"{count(len(rows), 'row')} of {count(pairs, 'pair')} x {count(seeds, 'seed')} on {models.device}")
    usable, skipped = load_metrics(["motion_fidelity"] if tracked else [], str(models.device))
    say(*(f"{metric} is left out: {reason}" for metric, reason in skipped.items()))
    samples: list[dict[str, Any]] = []
    task = None
    for row, changes in rows.items():
        config = bench.settings_of(models, changes)
        if task is None or task.motion.reference != config.reference:  # made once a strategy
            task = bench.AblationSet.draw(models, pairs, split, config)
        samples += [{"row": row} | sample for sample in bench.measure(task, changes, seeds, *usable)]
        write_samples(folder / f"{name}.csv", samples)  # after every row: a run that is stopped leaves these
        say(f"{row}: done")
    text = f"{pair}: {pairs} {split} pairs, {seeds} seeds, on {models.device}\n\n{table(samples)}\n"
    couples = {"curve": rivals, "strategies": lifts, "methods": steps_up}
    if name in couples:
        text += f"\n{contrasts(samples, couples[name](samples))}\n"
    if usable:
        text += f"\n{beside_the_truth(samples)}\n"
    if name.startswith("table-"):
        text += f"\n{beside_the_paper(int(name[-1]), samples)}\n"
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    drawn = _plot(folder / f"{name}.png", samples)
    if json:
        put_json(folder=out, samples=samples)
    else:
        put(*text.split("\n"))
    say(f"in {out}: {name}.md, {name}.csv" + (f", {name}.png" if drawn else "; no plot without matplotlib"))


def _plot(path: Path, samples: list[dict[str, Any]]) -> bool:
    """Draw velocity cosine and text against cost, a point a row; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, column, label in zip(axes, ("velocity", "text"), ("velocity cosine", "text"), strict=True):
        for row in dict.fromkeys(sample["row"] for sample in samples):
            mine = [sample for sample in samples if sample["row"] == row]
            x, y = (sum(s[name] for s in mine) / len(mine) for name in ("cost", column))
            axis.plot(x, y, "o")
            axis.annotate(row, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
        axis.set(xlabel="forward equivalents a video", ylabel=label)
    figure.savefig(path, dpi=120)
    return True
