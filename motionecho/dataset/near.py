"""Near-duplicates: videos of one reference and one prompt that look the same in every frame.

    file -> 8 frames over its length at 8 x 8 -> mean difference of each pair of frames, of 255 -> the largest

Other seeds of the embedded pairs differ by 14 or more, the same video encoded again (x264, crf 18 to 35) by
less than 4: docs/export.md has the figures. Of those that are near each other the one recorded first stays.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motionecho.dataset.looks import Look, LookBook
from motionecho.dataset.rows import Picked
from motionecho.dataset.whole import Stores, read_whole
from motionecho.errors import BadSample, Damaged
from motionecho.runs.parallel import in_order
from motionecho.video import read_clip

NEAR = 6.0  # of 255
FRAMES, SIDE = 8, 8
AT_ONCE = 4  # groups that are looked at; a processor decodes two or so at a time


@dataclass
class Sifted:
    """The samples of a group that stay; those that are near one that does; those that are not whole."""

    kept: list[Picked] = field(default_factory=list)
    near: dict[Picked, Picked] = field(default_factory=dict)  # by what was left out, what stays for it
    damaged: dict[Picked, str] = field(default_factory=dict)


def sift(
    stores: Stores, samples: Sequence[Picked], near: float, book: LookBook
) -> Iterator[tuple[int, Sifted]]:
    """Yield what is left of each group of a reference and a prompt, with the count of samples it had."""
    groups: dict[tuple[str, str], list[Picked]] = defaultdict(list)
    for sample in samples:
        groups[sample.group, sample.prompt].append(sample)
    ordered = [sorted(group, key=lambda each: (each.when, each.row)) for group in groups.values()]
    found = in_order(lambda group: _sift(stores, group, near, book), ordered, AT_ONCE)
    try:
        yield from ((len(group), sifted) for group, sifted in zip(ordered, found, strict=True))
    finally:
        book.flush()


def _sift(stores: Stores, group: Sequence[Picked], near: float, book: LookBook) -> Sifted:
    if len(group) == 1:  # nothing to compare it with: it is read when it is copied
        return Sifted(list(group))
    sifted, looks, of_look = Sifted(), Looks(), list[Picked]()
    by_digest: dict[str, Picked] = {}
    read = set[Picked]()

    def is_whole(sample: Picked) -> bool:
        """Tell whether a sample may stand for another: a look that was kept says nothing of its video now."""
        if sample not in read and sample not in sifted.damaged:
            try:
                read_whole(stores, sample)
                read.add(sample)
            except Damaged as problem:
                sifted.damaged[sample] = str(problem)
        return sample in read

    for sample in group:
        same = by_digest.get(sample.sha256 or "")
        if same and is_whole(same):
            sifted.near[sample] = same
            continue
        if sample.sha256 and sample.sha256 in book:
            look = book.look(sample.sha256)
        else:
            try:
                look = look_of(read_whole(stores, sample))
            except Damaged as problem:
                sifted.damaged[sample] = str(problem)
                continue
            read.add(sample)
            book.keep(sample.sha256, look)
        alike = () if look is None else (of_look[number] for number in looks.within(look, near))
        if stays := next(filter(is_whole, alike), None):
            sifted.near[sample] = stays
            continue
        if look is not None:
            looks.add(look)
            of_look.append(sample)
        sifted.kept.append(sample)
        if sample.sha256:
            by_digest[sample.sha256] = sample
    sifted.kept = [each for each in sifted.kept if each not in sifted.damaged]
    return sifted


class Looks:
    """The looks of videos that stay, in one array that grows by half."""

    def __init__(self) -> None:
        self.held, self.count = np.empty((8, FRAMES, SIDE * SIDE * 3), np.int16), 0

    def add(self, look: Look) -> None:
        if self.count == len(self.held):
            self.held = np.concatenate([self.held, np.empty_like(self.held[: self.count // 2])])
        self.held[self.count] = look
        self.count += 1

    def within(self, look: Look, near: float) -> Iterator[int]:
        """Yield those that are as near as that, in order; a thousand are compared at a time."""
        for start in range(0, self.count, 1000):
            close = np.flatnonzero(distance(self.held[start : min(start + 1000, self.count)], look) <= near)
            yield from (start + int(each) for each in close)


def look_of(data: bytes) -> Look | None:
    """Return the small frames [f, h * w * 3] of a video; None where it cannot be decoded."""
    with tempfile.NamedTemporaryFile(prefix="motionecho-", suffix=".mp4") as file:
        file.write(data)
        file.flush()
        try:
            frames = read_clip(file.name, FRAMES, SIDE, SIDE, fit="resize").frames
        except BadSample:  # too short, say: it is like no other
            return None
    return frames.reshape(FRAMES, -1).astype(np.int16)


def distance(one: Look, other: Look) -> NDArray[np.float64]:
    """Return how far videos are apart, of 255: the mean difference in the frame where it is largest.

    Looks [..., f, n] give distances [...].
    """
    apart: NDArray[np.float64] = np.abs(one - other).mean(-1, dtype=np.float64).max(-1)
    return apart
