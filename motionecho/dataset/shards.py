"""Shards of many videos each: tar files as WebDataset reads them, or parquet with the videos inside.

A shard is written on this machine's disk, a video at a time, and published whole; then a note beside it says
of which rows it is made, so that an export that is killed goes on with the next.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.dataset.carried import CAPTION, plain
from motionecho.dataset.extras import needed
from motionecho.dataset.loose import Splits
from motionecho.dataset.place import Destination
from motionecho.dataset.rows import OF_SCORES, Picked
from motionecho.dataset.whole import Handed, Stores, read_whole
from motionecho.errors import Damaged
from motionecho.runs.keys import digest
from motionecho.runs.parallel import in_order
from motionecho.runs.tables import column_of

SAMPLES = 256  # of a shard, at most
LARGEST = 512 << 20  # bytes of a shard's videos, by their records
SHARDS = 3  # at a time, each with a video or a group of rows in memory
ROW_GROUP = 16  # videos of a parquet file that are read together, at most
ROW_GROUP_BYTES = 32 << 20  # from which on a group is full

Videos = Iterator[tuple[str, dict[str, Any], bytes]]  # name, columns, video
Pack = Callable[[str, Videos], int]  # writes a local file; returns how many it has


@dataclass(frozen=True)
class Shard:
    """A file of an export and the samples, with their names, that belong in it."""

    path: str
    samples: tuple[tuple[Picked, str], ...]


def shards_of(splits: Splits, path: Callable[[str, int], str], most: int) -> list[Shard]:
    """Lay the samples of each split out in shards, in order of their keys."""
    return [
        Shard(path(split, number), tuple(its))
        for split, samples in splits.items()
        for number, its in enumerate(_runs(samples, most))
    ]


def tar_path(split: str, number: int) -> str:
    return f"{split}-{number:06}.tar"


def parquet_path(split: str, number: int) -> str:
    return f"data/{split}-{number:05}.parquet"


def tar_packer() -> Pack:
    """Return what writes <name>.mp4, .json and .txt of each video, by WebDataset's own writer."""
    webdataset = needed("webdataset", "--to webdataset")

    def pack_tar(path: str, videos: Videos) -> int:
        held = 0
        with open(path, "wb") as stream, webdataset.TarWriter(stream, encoder=False, mtime=0) as tar:
            for name, row, data in videos:
                held += 1
                about = json.dumps(row, ensure_ascii=False).encode()
                tar.write({"__key__": name, "mp4": data, "json": about, "txt": (row[CAPTION] or "").encode()})
        return held

    return pack_tar


def pack_parquet(schema: pa.Schema, kinds: Mapping[str, str], path: str, videos: Videos) -> int:
    """Write rows of columns and video in small groups, so that a loader need not hold the file."""
    held = 0

    def write(group: Sequence[tuple[str, dict[str, Any], bytes]]) -> None:
        arrays = [pa.array([{"bytes": data, "path": f"{n}.mp4"} for n, _, data in group], schema[0].type)]
        arrays += [column_of([row[name] for _, row, _ in group], kind) for name, kind in kinds.items()]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    with pq.ParquetWriter(path, schema) as writer:
        group = []
        for video in videos:
            held += 1
            group.append(video)
            if len(group) == ROW_GROUP or sum(len(data) for _, _, data in group) >= ROW_GROUP_BYTES:
                write(group)
                group = []
        if group:
            write(group)
    return held


def parquet_packer(table: pa.Table) -> Pack:
    """Return what writes parquet with the columns of a table and the videos as the library declares them."""
    datasets = needed("datasets", "--to hf")
    features = datasets.Features.from_arrow_schema(table.schema.remove_metadata())
    schema = datasets.Features({OF_SCORES: datasets.Video()} | features).arrow_schema
    kinds = {field.name: _kind(field.type) for field in table.schema}
    return partial(pack_parquet, schema, kinds)


def write_shards(
    to: Destination, stores: Stores, shards: Sequence[Shard], table: pa.Table, pack: Pack
) -> Iterator[Handed]:
    """Write each shard that is not there, whole; yields its samples once it is."""

    def write(shard: Shard) -> list[Handed]:
        rows = [
            {name: plain(value) for name, value in row.items()}
            for row in table.take([each.row for each, _ in shard.samples]).to_pylist()
        ]
        made_of = digest(
            [[each.sha256, name, row] for (each, name), row in zip(shard.samples, rows, strict=True)]
        )
        if to.holds_shard(shard.path, made_of):
            return [Handed(each) for each, _ in shard.samples]
        problems: dict[Picked, str] = {}

        def videos() -> Videos:
            for (each, name), row in zip(shard.samples, rows, strict=True):
                try:
                    yield name, row, read_whole(stores, each)
                except Damaged as problem:
                    problems[each] = str(problem)

        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            local = os.path.join(folder, "shard")
            if pack(local, videos()):
                to.put_shard(shard.path, local, "" if problems else made_of, os.path.getsize(local))
            else:
                to.drop_mark(shard.path)
                to.drop(shard.path)
        return [Handed(each, not problems.get(each), problems.get(each, "")) for each, _ in shard.samples]

    for handed in in_order(write, shards, SHARDS):
        yield from handed


def _runs(samples: Sequence[tuple[Picked, str]], most: int) -> Iterator[list[tuple[Picked, str]]]:
    run: list[tuple[Picked, str]] = []
    size = 0
    for sample in samples:
        if run and (len(run) == most or size + sample[0].bytes > LARGEST):
            yield run
            run, size = [], 0
        run.append(sample)
        size += sample[0].bytes
    if run:
        yield run


def _kind(arrow: pa.DataType) -> str:
    return "timestamp" if pa.types.is_timestamp(arrow) else {"double": "float64"}.get(str(arrow), str(arrow))
