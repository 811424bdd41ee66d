"""An export from runs to a place: choose, sift, split, name, copy, and say what came of it.

rows -> --where -> near-duplicates -> splits -> names -> files -> card
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from motionecho.dataset.card import PATTERNS, Story, card
from motionecho.dataset.carried import CAPTION, carried, wants_record
from motionecho.dataset.choice import choose, nowhere
from motionecho.dataset.looks import LookBook
from motionecho.dataset.loose import Splits, loose_files, write_loose
from motionecho.dataset.names import readable_names
from motionecho.dataset.near import FRAMES, NEAR, sift
from motionecho.dataset.place import LOOKS, Destination
from motionecho.dataset.rows import Picked, gather, samples_of
from motionecho.dataset.shards import (
    SAMPLES,
    parquet_packer,
    parquet_path,
    shards_of,
    tar_packer,
    tar_path,
    write_shards,
)
from motionecho.dataset.splits import ALL, split_of
from motionecho.dataset.whole import Handed, Stores
from motionecho.errors import UserError
from motionecho.runs.store import RunStore, refuse_within
from motionecho.runs.urls import protocol_of

FORMS = tuple(PATTERNS)
CARD = "README.md"


@dataclass(frozen=True)
class Wanted:
    """What is to be exported, and how. `near` is None where near-duplicates stay."""

    form: str = "folder"
    where: str | None = None
    shares: dict[str, float] = field(default_factory=lambda: dict(ALL))
    near: float | None = NEAR
    caption: str | None = None
    columns: tuple[str, ...] | None = None
    shard_size: int = SAMPLES


@dataclass
class Exported:
    """What came of an export. `splits` has videos and references of each; `left_out` ids with reasons."""

    done: int
    chosen: int
    near_duplicates: int = 0
    copied: int = 0
    already_there: int = 0
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


Tell = Callable[[str, int, int], object]  # given what is done, how much of it, and of how many


def export(
    stores: Sequence[RunStore], place: str, wanted: Wanted, command: str = "", tell: Tell = lambda *_: None
) -> Exported:
    """Export the finished samples of runs; the same again goes on where it was stopped.

    Raises UserError, before anything is written, where no sample is left by the choice, a column is not
    there, a package is missing, or the place holds something else.
    """
    if wanted.form == "folder" and protocol_of(place) == "hf":
        raise UserError("on the hub every file is a commit of its own: use --to hf or --to webdataset")
    refuse_within(stores, place)
    to, runs = Destination(place), {store.url: store for store in stores}
    table = gather(stores, wants_record(wanted.columns))
    handed_on = carried(table, wanted.columns, wanted.caption)
    write = _writer(wanted, to, runs, handed_on)
    samples = samples_of(table)
    result = Exported(len(samples), len(samples))
    if wanted.where is not None:
        samples = [samples[row] for row in choose(table, wanted.where)]
        result.chosen = len(samples)
        if not samples:
            lacking = nowhere(table, wanted.where)
            why = f"; none of them has a value of {', '.join(lacking)}" if lacking else ""
            raise UserError(f'--where "{wanted.where}" is true of none of {result.done} done samples{why}')
    settings = {"runs": list(runs), **asdict(wanted)}
    to.begin(settings, [CARD, *(PATTERNS[wanted.form].format(name) for name in wanted.shares)])
    samples = _sifted(to, runs, samples, wanted.near, result, tell)
    splits = _split(samples, wanted)
    there: dict[str, list[Picked]] = {name: [] for name in splits}
    named = {each.row: name for name, its in splits.items() for each, _ in its}
    files, copying = write(splits)
    for number, handed in enumerate(copying, start=1):
        if handed.problem:
            result.left_out.append((handed.sample.id, handed.problem))
        else:
            there[named[handed.sample.row]].append(handed.sample)
            result.copied += handed.fresh
            result.already_there += not handed.fresh
        tell("copied", number, len(samples))
    result.splits = {
        name: {"videos": len(its), "references": len({each.group for each in its})}
        for name, its in there.items()
    }
    story = Story(
        wanted.form, command, place, result.done, result.chosen, wanted.where, wanted.near,
        result.near_duplicates, wanted.shares, wanted.caption or _caption(table), result.left_out,
        _settings(stores),
    )  # fmt: skip
    to.put(CARD, card(story, table, there).encode())
    to.end(settings, {"counts": asdict(result)}, [*files, CARD])
    return result


def _writer(
    wanted: Wanted, to: Destination, runs: Stores, table: pa.Table
) -> Callable[[Splits], tuple[list[str], Iterator[Handed]]]:
    """Return what says which files there will be, and writes them; what it needs is there."""
    if wanted.form == "folder":

        def loose(splits: Splits) -> tuple[list[str], Iterator[Handed]]:
            files = loose_files(splits)
            to.expect({**files, CARD: None})
            return [*files], write_loose(to, runs, splits, table)

        return loose
    is_tar = wanted.form == "webdataset"
    pack = tar_packer() if is_tar else parquet_packer(table)

    def sharded(splits: Splits) -> tuple[list[str], Iterator[Handed]]:
        shards = shards_of(splits, tar_path if is_tar else parquet_path, wanted.shard_size)
        files = [shard.path for shard in shards]
        to.expect(dict.fromkeys([*files, CARD]))
        return files, write_shards(to, runs, shards, table, pack)

    return sharded


def _sifted(
    to: Destination, runs: Stores, samples: Sequence[Picked], near: float | None, result: Exported, tell: Tell
) -> list[Picked]:
    """Leave near-duplicates out, and what is seen to be damaged on the way; the others in order."""
    if near is None:
        return list(samples)
    kept, looked = list[Picked](), 0
    for count, sifted in sift(runs, samples, near, LookBook(to.folder, LOOKS, FRAMES)):
        kept += sifted.kept
        result.near_duplicates += len(sifted.near)
        result.left_out += [(each.id, problem) for each, problem in sifted.damaged.items()]
        looked += count
        tell("looked at", looked, len(samples))
    return sorted(kept, key=lambda each: each.row)


def _split(samples: Sequence[Picked], wanted: Wanted) -> dict[str, list[tuple[Picked, str]]]:
    splits: dict[str, list[tuple[Picked, str]]] = {name: [] for name in wanted.shares}
    names = readable_names((each.id, each.key) for each in samples)
    for each, name in zip(samples, names, strict=True):
        splits[split_of(each.group, wanted.shares)].append((each, name))
    return splits


def _caption(table: pa.Table) -> str:
    return CAPTION if CAPTION in table.column_names else "prompt"


def _settings(stores: Sequence[RunStore]) -> dict[str, Any]:
    return {store.url: (store.run() or {}).get("identity", {}).get("settings") for store in stores}
