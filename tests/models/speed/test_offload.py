"""A berth holds one network at a time; what is written to a weight is written at home, and stays."""

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from motionecho.errors import UserError
from motionecho.guidance.carrier import merged
from motionecho.models.speed.offload import Berth, Berthed

NAME = f"{tiny.LAYERS[0]}.to_v"
AT = tiny.SCHEDULE.at(500)


def taking_turns(place: Any) -> tuple[Berthed, Berthed]:
    """A student and a teacher, and a berth wherever `Tensor.to` can bring them."""
    berth = Berth(place)
    return Berthed(tiny.denoiser(1), berth), Berthed(tiny.denoiser(2), berth)


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 4, 4, 8, 8, generator=generator), torch.randn(1, 5, tiny.WIDTH, generator=generator)


def test_a_weight_is_of_its_own_network_wherever_that_is(inputs) -> None:
    student, teacher = taking_turns(torch.device("cpu"))
    z, text = inputs
    with torch.no_grad():
        for asked, other, seed in ((student, teacher, 1), (teacher, student, 2), (student, teacher, 1)):
            other.x0(z, AT, text)
            assert student.berth.taken is other.network
            assert torch.equal(asked.weight(NAME), tiny.denoiser(seed).weight(NAME))
            assert torch.equal(other.weight(NAME), tiny.denoiser(3 - seed).weight(NAME))
            assert student.berth.taken is None, "whose weight is written lies at home"


def test_what_is_written_is_what_the_next_pass_computes_with(inputs) -> None:
    student, _ = taking_turns(torch.device("cpu"))
    z, text = inputs
    with torch.no_grad():
        before = student.x0(z, AT, text)
        student.weight(NAME).neg_()
        alone = tiny.denoiser(1)
        alone.weight(NAME).neg_()
        after = student.x0(z, AT, text)
        assert not torch.allclose(before, after, atol=1e-4)
        assert torch.equal(after, alone.x0(z, AT, text))


def test_what_was_trained_survives_the_networks_taking_turns(inputs) -> None:
    """Another dtype stands for a card's memory: what is brought there is a copy of what lies at home."""
    student, teacher = taking_turns(torch.float64)
    (z, text), original = inputs, tiny.denoiser(1).weight(NAME)
    up, down = torch.randn(2, original.shape[0], 2, generator=torch.Generator().manual_seed(1)) * 0.3
    adapter = {f"{NAME}/up": up, f"{NAME}/down": down.mT.contiguous()}
    alone = tiny.denoiser(1)
    with torch.no_grad():
        before = student.x0(z, AT, text)
        with merged(student, adapter, 1.0), merged(alone, adapter, 1.0):
            seen = [student.x0(z, AT, text), teacher.x0(z, AT, text), student.x0(z, AT, text)]
            assert {parameter.dtype for parameter in teacher.network.parameters()} == {torch.float32}
            torch.testing.assert_close(seen[0].float(), alone.x0(z, AT, text), rtol=1e-4, atol=1e-4)
        assert torch.equal(seen[0], seen[2])
        assert not torch.allclose(seen[0], before, atol=1e-4)
        assert torch.equal(student.weight(NAME), original)
        assert torch.equal(student.x0(z, AT, text), before)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    student, _ = taking_turns(torch.device("cpu"))
    with pytest.raises(UserError, match=r"to_vv\" is no linear layer .*did you mean \".*\.to_v\""):
        student.weight(f"{NAME}v")


def test_a_move_that_fails_leaves_the_berth_empty() -> None:
    place: Any = torch.float64  # stands for a card's memory, as above
    berth, first, second = Berth(place), tiny.denoiser(1).network, tiny.denoiser(2).network
    berth.take(first)
    full: Any = "nowhere"
    berth.device = full
    with pytest.raises(RuntimeError, match="nowhere"):
        berth.take(second)
    berth.device = place
    berth.take(first)
    assert {weight.dtype for weight in first.parameters()} == {torch.float64}
