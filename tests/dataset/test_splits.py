"""Splits by reference: shares as asked for, none in two, none that moves."""

from collections import Counter

import pytest

from motionecho.dataset.splits import read_shares, split_of
from motionecho.errors import UserError
from motionecho.runs.keys import digest


def test_shares_are_those_of_references() -> None:
    shares = read_shares("train=.8, val=.1,test=0.1")
    counts = Counter(split_of(digest([n]), shares) for n in range(5000))
    assert counts.keys() == {"train", "val", "test"}
    assert counts["train"] / 5000 == pytest.approx(0.8, abs=0.02)
    assert counts["val"] / 5000 == pytest.approx(0.1, abs=0.02)


def test_what_comes_later_moves_no_reference() -> None:
    """Nor does a wider share of training: who is in it stays there."""
    few, many = read_shares("train=.7,val=.3"), read_shares("train=.9,val=.1")
    for n in range(200):
        reference = digest([n])
        if split_of(reference, few) == "train":
            assert split_of(reference, many) == "train"
    assert split_of("f" * 64, few) == "val", "written down: another hash would move what was exported"
    assert split_of("0" * 64, few) == "train"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train=.9", "0.9 together"),
        ("train=.9,val", '"val" is not NAME=SHARE'),
        ("train=.9,a-b=.1", '"a-b=.1" is not NAME=SHARE'),
        ("train=.9,../x=.1", "is not NAME=SHARE"),
        ("train=.5,Train=.5", 'names "Train" twice'),
        ("train=1.5,val=-.5", 'share of "train"'),
        ("train=nan,val=1", 'share of "train"'),
        ("", "is not NAME=SHARE"),
    ],
)
def test_shares_that_make_no_whole_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        read_shares(text)
    assert said in str(refused.value)
