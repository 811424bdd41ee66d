"""The table of a Wan pair's passes: every part and way has its row, and ways agree with diffusers'."""

from typing import Any

import pytest
import torch

from motionecho.bench import sampler
from motionecho.bench.transformer import measure
from motionecho.cli import bench
from motionecho.cli.exits import Exit
from motionecho.errors import UserError
from motionecho.models.kernels import plain
from motionecho.models.pair import ModelPair
from motionecho.models.registry import load_pair
from motionecho.models.wan import pair as wan
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.models.wan.test_wan_pair import load


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> ModelPair:
    """A small pair as it is on a GPU, but for graphs and what its kernels are written in."""
    monkeypatch.setattr(wan, "kernels", lambda *_: plain)
    return load("wan2.1-1.3b", "random")


def test_every_part_has_its_rows_and_ways_agree(pair: ModelPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motionecho.bench.transformer.kernels", lambda *_, **__: plain)
    rows: dict[tuple[str, str], dict[str, Any]] = {
        (row["part"], row["way"]): row for row in measure(pair, repeats=1)
    }
    both = {"forward": ["diffusers", "fused"], "decode": ["diffusers", "fused"]}
    for name in ("moft", "ditflow"):
        for how in ("kept", "again"):
            both.setdefault(f"gradient, {name}", []).extend([f"diffusers, {how}", f"fused, {how}"])
            both.setdefault(f"guided pass, {name}", []).append(f"fused, {how}")
    both["video"] = ["4 steps", "4 steps, 2 taught"]  # it takes no eight
    assert {(part, way) for part, ways in both.items() for way in ways} == rows.keys()
    assert all(row["ms"] > 0 and row["peak_gib"] is row["note"] is None for row in rows.values())
    compared = [row["apart"] for row in rows.values() if row["apart"] is not None]
    assert len(compared) == 12
    assert max(compared) < 1e-3


def test_a_way_that_fails_says_why_and_costs_the_others_nothing(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room for 3 GiB\nand more")

    monkeypatch.setattr(plain, "gelu_linear", full)
    rows = [row for row in measure(pair, repeats=1) if row["part"] in ("forward", "decode")]
    assert [row["note"] for row in rows] == [None, "OutOfMemoryError: no room for 3 GiB", None]


def test_it_is_for_wan_s_pairs_alone() -> None:
    with pytest.raises(UserError, match="is none of Wan's"):
        next(measure(load_pair("toy", "cpu")))


def test_the_sampler_s_table_takes_a_wan_pair(pair: ModelPair) -> None:
    inversion, *rows = sampler.measure(pair, [2], repeats=1)
    assert inversion["steps"] == 0
    assert [row["mode"] for row in rows] == [*sampler.MODES]


def test_the_command_says_which_networks(
    cli: Cli,  # noqa: F811
    pair: ModelPair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "_loaded", lambda *_: (pair, {"pair": pair.spec.name}))
    done = cli("bench", "compare", "--pair", "wan2.1-1.3b", "--repeats", 1, "--json")
    assert done.code == Exit.OK, done.err
    assert [row["way"] for row in done.json["rows"] if row["part"] == "forward"] == ["diffusers", "fused"]
    steps = cli("bench", "sampler", "--pair", "wan2.1-1.3b", "--steps", "2,8", "--repeats", 1, "--json")
    assert {row["steps"] for row in steps.json["rows"]} == {0, 2}
    assert "takes at most 4 steps" in steps.err
    for wrong in ((), ("--pair", "wan2.1-1.3b", "--reference", ".")):
        refused = cli("bench", "compare", *wrong)
        assert "name either --pair" in refused.err
