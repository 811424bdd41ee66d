"""Near-duplicates: the same video encoded again or in two runs goes, one of another seed stays."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from motionecho.dataset import looks as kept_looks
from motionecho.dataset import near as looking
from motionecho.dataset.looks import LookBook
from motionecho.dataset.near import FRAMES, NEAR, Looks, distance, look_of, sift
from motionecho.dataset.rows import gather, samples_of
from motionecho.runs.folder import Folder
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from tests.dataset.conftest import Fill

Clips = Callable[[int, int], bytes]


def sifted(
    near: float, *stores: RunStore, cache: str = ""
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The ids that stay; those that are left out, with what stays for them; those that are damaged."""
    samples = samples_of(gather(stores))
    kept, out, hurt = [], {}, {}
    book = LookBook(Folder.at(cache or f"memory://{uuid4()}"), "looks", FRAMES)
    for _, its in sift({store.url: store for store in stores}, samples, near, book):
        kept += [each.id for each in its.kept]
        out |= {each.id: other.id for each, other in its.near.items()}
        hurt |= {each.id: problem for each, problem in its.damaged.items()}
    assert len(samples) == len(kept) + len(out) + len(hurt)
    return kept, out, hurt


def test_encoding_again_is_near_and_another_seed_is_not(clips: Clips) -> None:
    looks = [look_of(clips(0, crf)) for crf in (18, 28, 35)]
    other = look_of(clips(1, 18))
    assert looks[0] is not None
    assert looks[1] is not None
    assert looks[2] is not None
    assert other is not None
    assert distance(looks[0], looks[0]) == 0
    assert 0 < distance(looks[0], looks[1]) <= distance(looks[0], looks[2]) < NEAR < distance(looks[0], other)


def test_a_video_that_differs_in_one_frame_alone_is_another(clips: Clips) -> None:
    look = look_of(clips(0, 18))
    assert look is not None
    changed = look.copy()
    changed[3] = changed[3] + 20
    assert distance(look, changed) == 20


def test_of_what_is_alike_the_one_recorded_first_stays(fill: Fill, tmp_path: Path) -> None:
    """Only within one reference and one prompt, whichever run they are in."""
    one = fill(
        str(tmp_path / "one"),
        [
            {"id": "first", "clip": 0},
            {"id": "again", "clip": 0, "crf": 28},
            {"id": "other seed", "clip": 1},
            {"id": "other prompt", "clip": 0, "prompt": "a heart"},
            {"id": "other reference", "clip": 0, "reference": "two"},
        ],
    )
    two = fill(str(tmp_path / "two"), [{"id": "copy", "clip": 1}, {"id": "third seed", "clip": 2}])
    kept, out, hurt = sifted(NEAR, one, two)
    assert sorted(kept) == ["copy", "first", "other prompt", "other reference", "third seed"]
    assert (out, hurt) == ({"again": "first", "other seed": "copy"}, {}), "copy is of second 0"
    kept, out, _ = sifted(0, one, two)
    assert out == {"other seed": "copy"}
    assert "again" in kept


def test_what_is_damaged_stands_for_nothing(
    fill: Fill, tmp_path: Path, flipped: Callable[[RunStore, str], Blob]
) -> None:
    """An equal video that is whole stays in its place."""
    store = fill(str(tmp_path / "one"), [{"id": str(n), "clip": 0} for n in range(3)])
    flipped(store, "0")
    kept, out, hurt = sifted(NEAR, store)
    assert (kept, out) == (["1"], {"2": "1"})
    assert hurt["0"].endswith("is not what its record says")


@pytest.mark.parametrize("crf", [18, 28])
def test_what_was_damaged_since_it_was_looked_at_stands_for_nothing(
    fill: Fill, tmp_path: Path, flipped: Callable[[RunStore, str], Blob], crf: int
) -> None:
    """An equal one that is whole stays, and one encoded again; what was kept before it is not what it is."""
    store = fill(str(tmp_path / "one"), [{"id": "0"}, *({"id": id, "clip": 0, "crf": crf} for id in "12")])
    cache = f"memory://{uuid4()}"
    assert sifted(NEAR, store, cache=cache) == (["0"], {"1": "0", "2": "0"}, {})
    flipped(store, "0")
    kept, out, hurt = sifted(NEAR, store, cache=cache)
    assert (kept, out, [*hurt]) == (["1"], {"2": "1"}, ["0"])
    flipped(store, "1")
    kept, out, hurt = sifted(NEAR, store, cache=cache)
    assert (kept, out, [*hurt]) == (["2"], {}, ["0", "1"])


def test_what_cannot_be_decoded_is_like_nothing_else(
    fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look_of(b"no video") is None
    store = fill(str(tmp_path / "one"), [{"id": id, "clip": n} for n, id in enumerate("abc")])
    monkeypatch.setattr(looking, "look_of", lambda data: None)
    assert sifted(NEAR, store) == (["a", "b", "c"], {}, {})


def test_what_was_looked_at_is_not_decoded_again(
    fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped; a file of looks that is damaged is one of none."""
    rows = [{"id": str(n), "clip": n, "reference": "xy"[n % 2]} for n in range(8)]
    store, folder = fill(str(tmp_path / "run"), rows), Folder.at(str(tmp_path / "out"))
    samples, decoded, last = samples_of(gather([store])), list[int](), 5
    inner = looking.look_of

    def counting(data: bytes) -> kept_looks.Look | None:
        if len(decoded) == last:
            raise KeyboardInterrupt
        decoded.append(len(data))
        return inner(data)

    def kept() -> list[str]:
        found = sift({store.url: store}, samples, NEAR, LookBook(folder, "looks", FRAMES))
        return sorted(each.id for _, its in found for each in its.kept)

    monkeypatch.setattr(looking, "look_of", counting)
    monkeypatch.setattr(kept_looks, "EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        kept()
    last = 100
    assert kept() == [str(n) for n in range(8)]
    assert len(decoded) == 8
    assert kept() == [str(n) for n in range(8)]
    assert len(decoded) == 8
    look = LookBook(folder, "looks", FRAMES).look(samples[0].sha256 or "")
    known = inner(store.folder.read(samples[0].video or ""))
    assert look is not None
    assert known is not None
    assert np.array_equal(look, known)
    folder.overwrite(folder.find("looks")[0], b"PAR1 no more")
    assert kept() == [str(n) for n in range(8)]
    assert 8 < len(decoded) <= 16


def test_many_are_held_in_one_array(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = Looks(), look_of(clips(0, 18))
    assert look is not None
    for number in range(1500):
        looks.add(look + 7 * (number + 1))
    assert [*looks.within(look, NEAR)] == []
    assert [*looks.within(look + 7 * 1400, NEAR)] == [1399]
    assert [*looks.within(look + 7 * 1400, 7)] == [1398, 1399, 1400]
