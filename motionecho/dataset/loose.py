"""A folder of videos: `<split>/<name>.mp4` beside a metadata.parquet that videofolder reads."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from motionecho.dataset.carried import with_files
from motionecho.dataset.place import Destination
from motionecho.dataset.rows import Picked
from motionecho.dataset.whole import Handed, Stores, read_whole
from motionecho.errors import Damaged
from motionecho.runs.parallel import in_order
from motionecho.runs.tables import written

METADATA = "metadata.parquet"
COPIES = 8  # at a time

Splits = Mapping[str, Sequence[tuple[Picked, str]]]  # samples with their names, by split


def write_loose(to: Destination, stores: Stores, splits: Splits, table: pa.Table) -> Iterator[Handed]:
    """Copy each video that is not there, whole; then write the tables. Yields each sample as it is done."""
    videos = {f"{split}/{name}.mp4": each for split, its in splits.items() for each, name in its}

    def copy(path: str) -> Handed:
        sample = videos[path]
        if sample.sha256 and to.holds(path, sample.bytes, sample.sha256):
            return Handed(sample)
        try:
            data = read_whole(stores, sample)
        except Damaged as problem:
            to.drop(path)
            return Handed(sample, problem=str(problem))
        sha256 = hashlib.sha256(data).hexdigest()
        if not to.holds(path, len(data), sha256):
            to.put_video(path, data, sha256)
        return Handed(sample, fresh=True)

    missing = set()
    for path, handed in zip(videos, in_order(copy, videos, COPIES), strict=True):
        missing |= {path} if handed.problem else set()
        yield handed
    for split, its in splits.items():
        there = [(each.row, f"{name}.mp4") for each, name in its if f"{split}/{name}.mp4" not in missing]
        if there:
            rows = table.take([row for row, _ in there])
            to.put(f"{split}/{METADATA}", written(with_files(rows, [file for _, file in there])))
        else:
            to.drop(f"{split}/{METADATA}")


def loose_files(splits: Splits) -> dict[str, str | None]:
    """Name every file that `write_loose` may write, videos with the sha256 that their records name."""
    videos = {f"{split}/{name}.mp4": each.sha256 for split, its in splits.items() for each, name in its}
    return videos | {f"{split}/{METADATA}": None for split, its in splits.items() if its}
