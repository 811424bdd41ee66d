"""The card of a data set: README.md with a header for the hub, as people and loaders read it.

Nothing in it is measured again: counts, figures and lineage come from the rows, licences from what the pairs
declare.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import yaml

from motionecho import __version__
from motionecho.dataset.near import FRAMES, SIDE
from motionecho.dataset.rows import REFERENCE, Picked
from motionecho.metrics.headline import mean_over
from motionecho.metrics.registry import headlines
from motionecho.models.registry import PAIRS
from motionecho.report.visible import visible
from motionecho.runs.places import Place
from motionecho.runs.records import OUTCOME_PREFIX

NON_COMMERCIAL = re.compile(r"non-commercial|not for commercial|\bBY-NC\b", re.IGNORECASE)
SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6),
         ("1M<n<10M", 10**7))  # fmt: skip
# By form, where a loader finds the files of a split.
PATTERNS = {"folder": "{}/*", "webdataset": "{}-*.tar", "hf": "data/{}-*.parquet"}
LINES = 100  # of references, and of samples left out, that are listed


@dataclass(frozen=True)
class Story:
    """All that a card tells beside the rows: how the samples were chosen, and what was left out."""

    form: str
    command: str
    place: str
    done: int
    chosen: int
    where: str | None
    near: float | None
    alike: int  # near-duplicates that were left out
    shares: Mapping[str, float]
    caption: str
    left_out: Sequence[tuple[str, str]]  # id and reason of those that are not whole
    settings: Mapping[str, Any]  # of each run, by its place


def card(story: Story, table: pa.Table, splits: Mapping[str, Sequence[Picked]]) -> str:
    """Return the card of a data set: rows of `table` are those that `splits` name, and no others count."""
    rows = pa.array([each.row for its in splits.values() for each in its], pa.int64())
    sections = [
        _front(story, splits),
        _splits(story, splits),
        _figures(table.take(rows), [each.group for its in splits.values() for each in its]),
        _models(table.take(rows)),
        _lineage(table, splits),
        _left_out(story),
        _made(story),
    ]
    return (
        "\n\n".join(["---\n" + yaml.safe_dump(header(story, splits), sort_keys=False) + "---", *sections])
        + "\n"
    )


def header(story: Story, splits: Mapping[str, Sequence[Picked]]) -> dict[str, Any]:
    """Return the card's header as the hub reads it; `configs` tell a loader which files are whose."""
    count = sum(map(len, splits.values()))
    files = [
        {"split": name, "path": PATTERNS[story.form].format(name)} for name, its in splits.items() if its
    ]
    return {
        "pretty_name": _name(story),
        "license": "other",
        "task_categories": ["text-to-video"],
        "tags": ["synthetic", "video", "motion-transfer", "motionecho"],
        "size_categories": [next((name for name, end in SIZES if count < end), "n>10M")],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def is_non_commercial(licence: str) -> bool:
    """Tell whether a licence, as a pair declares it, keeps a part from commercial use."""
    return NON_COMMERCIAL.search(licence) is not None


def _name(story: Story) -> str:
    return visible(Place(story.place.rstrip("/")).name) or "motionecho"


def _front(story: Story, splits: Mapping[str, Sequence[Picked]]) -> str:
    count = sum(map(len, splits.values()))
    return (
        f"# {_text(_name(story))}\n\n{_number(count, 'video')} made by models (motionecho {__version__}): "
        "each follows the motion of a reference clip and shows what its prompt says. None was filmed."
    )


def _splits(story: Story, splits: Mapping[str, Sequence[Picked]]) -> str:
    lines = [
        (name, len(its), _distinct(each.group for each in its), _distinct(each.prompt for each in its),
         f"{sum(each.bytes for each in its) / 1e6:.3g}")
        for name, its in splits.items()
    ]  # fmt: skip
    rule = ""
    if len(story.shares) > 1:
        shares = ", ".join(f"{name} {share:g}" for name, share in story.shares.items())
        rule = (
            f"\n\nSplit by reference ({shares} asked for): a hash of the clip's bytes says where it belongs, "
            "so no reference is in two splits, and none moves when the data set grows. Shares are those of "
            "references, and come out as asked for where there are many."
        )
    return "## Splits\n\n" + _table(("split", "videos", "references", "prompts", "MB"), lines) + rule


def _figures(table: pa.Table, groups: Sequence[str]) -> str:
    taken = [name for name in headlines() if OUTCOME_PREFIX + name in table.column_names]
    rows = table.select([OUTCOME_PREFIX + name for name in taken]).to_pylist()
    lines = []
    for name in taken:
        if mean := mean_over(rows, groups, OUTCOME_PREFIX + name):
            interval = "-" if mean.low is None else f"[{mean.low:.3f}, {mean.high:.3f}]"
            lines.append((name, f"{mean.mean:.3f}", interval, mean.n))
    if not lines:
        return "## Figures\n\nNo figure was taken."
    means = "Means with 95 % intervals for which references are drawn, of videos that have the figure."
    return f"## Figures\n\n{_table(('figure', 'mean', 'interval', 'videos'), lines)}\n\n{means}"


def _models(table: pa.Table) -> str:
    counts = Counter(table.column(f"{OUTCOME_PREFIX}pair").to_pylist())
    lines, limited = [], list[str]()
    for pair, count in counts.most_common():
        spec = PAIRS.get((pair or "").partition("@")[0])
        licence = spec.licence if spec else "not known to this version"
        parts = sorted({part.hub for part in spec.parts.values()}) if spec else []
        if is_non_commercial(licence):
            limited.append(_text(pair))
            licence = f"**NON-COMMERCIAL PARTS:** {licence}"
        lines.append((_text(pair or "not noted"), count, ", ".join(parts) or "-", licence))
    notes = [f"**Videos of {', '.join(sorted(limited))} are not for commercial use.**"] if limited else []
    if "random" in table.column(f"{OUTCOME_PREFIX}weights").to_pylist():
        notes.append("Some were made with random weights: they show noise, for load tests.")
    notes.append(
        "Weights that were taken from elsewhere than a pair names have terms of their own. The rights in the "
        "reference clips, and in what is made from them, are for whoever hands this on to clear."
    )
    heading = ("pair", "videos", "published parts", "licence as the pair declares it")
    return f"## Models and licences\n\n{_table(heading, lines)}\n\n" + "\n\n".join(notes)


def _lineage(table: pa.Table, splits: Mapping[str, Sequence[Picked]]) -> str:
    samples = [(name, each) for name, its in splits.items() for each in its]
    clips, digests = (table.column(name).to_pylist() for name in ("reference", REFERENCE))
    counts = Counter((each.group, name) for name, each in samples)
    first = {each.group: each.row for _, each in reversed(samples)}
    lines = [
        (
            _text(Place(clips[first[group]] or "-").name or "-"),
            f"`{(digests[first[group]] or '-')[:12]}`",
            split,
            count,
        )
        for (group, split), count in counts.most_common(LINES)
    ]
    more = f"\n\n... and {len(counts) - LINES} more." if len(counts) > LINES else ""
    prompts = _number(_distinct(each.prompt for _, each in samples), "distinct prompt")
    return (
        f"## Lineage\n\n{_number(len(counts), 'reference')}, {prompts}. Columns `reference`, "
        "`result_reference_sha256`, `prompt`, `seed`, `result_run` and `result_key` lead from each video to "
        "what it was made of.\n\n" + _table(("reference", "sha256", "split", "videos"), lines) + more
    )


def _left_out(story: Story) -> str:
    lines = (
        [f"- {story.done - story.chosen} of {story.done} that are done by `--where`"] if story.where else []
    )
    if story.near is None:
        lines.append("- no near-duplicates: they were kept")
    else:
        lines.append(
            f"- {_number(story.alike, 'near-duplicate')}: of one reference and one prompt, and in none of "
            f"{FRAMES} frames (at {SIDE} x {SIDE} pixels) further than {story.near:g} of 255 from a "
            "video recorded before it"
        )
    lines.append(f"- {_number(len(story.left_out), 'video')} missing or not what its record says")
    lines += [f"  - {_text(id)}: {_text(problem)}" for id, problem in story.left_out[:LINES]]
    return "## What was left out\n\n" + "\n".join(lines)


def _made(story: Story) -> str:
    settings = yaml.safe_dump(dict(story.settings), sort_keys=False, allow_unicode=True)
    return (
        f"## Loading\n\n```python\n{loading(story.form, story.place)}\n```\n\n`caption` is the column "
        f"`{_plain(story.caption)}`; the other columns are those of motionecho's tables.\n\n"
        f"## How it was made\n\n```sh\n{_plain(story.command)}\n```\n\nThe settings of each run:\n\n"
        f"```yaml\n{_plain(settings, keep=chr(10))}```"
    )


def loading(form: str, place: str) -> str:
    """Return the lines of Python that load the data set from where it was written."""
    where = place.removeprefix("hf://datasets/")
    if form == "webdataset":
        return (
            f"import webdataset\n\nwebdataset.WebDataset({where + '/train-000000.tar'!r}, shardshuffle=False)"
        )
    if form == "folder" and where == place:
        return f"from datasets import load_dataset\n\nload_dataset('videofolder', data_dir={where!r})"
    return f"from datasets import load_dataset\n\nload_dataset({where!r})"


def _table(heading: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _text(text: str) -> str:
    """Write a stranger's text so that Markdown shows it as it is; a table sees to its own bars."""
    return re.sub(r"([\\`*_{}\[\]<>#!&~$])", r"\\\1", visible(text))


def _plain(text: str, keep: str = "") -> str:
    """Write a text within a fence, which it cannot close."""
    return visible(text, keep=keep).replace("```", "` ` `")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _distinct(values: Iterable[Any]) -> int:
    return len(set(values))
