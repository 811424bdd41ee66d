"""The canary of a real pair: equal work agrees, and whatever would make other videos does not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from motionecho.errors import CanaryMismatch
from motionecho.models.pair import ModelPair
from motionecho.runs.store import RunStore
from pipelines.workers.canary import canary, check, disagreement


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return tiny.pair()


def test_the_same_pair_agrees_and_leaves_one_trace(pair: ModelPair, tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    check(store, pair, "first")
    before = (tmp_path / "canary.json").read_bytes()
    check(store, tiny.pair(), "second")
    assert (tmp_path / "canary.json").read_bytes() == before


def test_other_weights_are_named_by_their_part(pair: ModelPair, tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    check(store, pair, "cpu on one")
    with pytest.raises(
        CanaryMismatch, match=r"\(cpu on two\).*first did \(cpu on one\): the teacher is .*% off"
    ):
        check(store, replace(pair, teacher=tiny.denoiser(5)), "cpu on two")
    other = tiny.pair()
    with torch.no_grad():
        other.codec.vae.decoder.conv_out.weight.mul_(1.1)
    assert "the decoder is" in (disagreement(canary(pair), canary(other)) or "")


def test_another_dtype_and_what_is_not_finite_disagree(pair: ModelPair) -> None:
    first = canary(pair)
    half = first | {"dtype": "torch.bfloat16"}
    assert disagreement(first, half) == "dtype bfloat16 and not float32"
    broken: dict[str, Any] = first | {"parts": first["parts"] | {"student": [float("nan")] * 64}}
    assert "the student is nan% off" in (disagreement(first, broken) or "")


@pytest.mark.parametrize("damage", ['{"dtype": "torch.float32"}', '{"parts": {}}', "text", "numbers"])
def test_a_trace_that_cannot_be_read_is_named_with_the_way_out(
    pair: ModelPair, tmp_path: Path, damage: str
) -> None:
    store, file = RunStore(str(tmp_path)), tmp_path / "canary.json"
    check(store, pair, "cpu on one")
    whole = json.loads(file.read_text())
    worse = {"text": whole | {"parts": {"teacher": ["x"]}}, "numbers": whole | {"parts": {"teacher": 1}}}
    file.write_text(json.dumps(worse[damage]) if damage in worse else damage)
    with pytest.raises(CanaryMismatch, match=r"delete .*canary\.json; --no-canary"):
        check(store, pair, "cpu on two")
    file.unlink()
    check(store, pair, "cpu on two")
