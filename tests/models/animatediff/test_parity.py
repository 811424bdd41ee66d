"""The numbers stay those that were found equal to MotionClone's own functions on the same weights."""

import pytest
import torch

from tests.models.animatediff import expected

FROZEN = expected.frozen()


@pytest.fixture(scope="module")
def now() -> dict[str, torch.Tensor]:
    return expected.compute()


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_outputs_are_as_frozen(now, name: str) -> None:
    error = (now[name] - FROZEN[name]).abs().max() / FROZEN[name].abs().max()
    assert error < (1e-4 if name.endswith("gradient") else 2e-5)
