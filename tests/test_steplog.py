"""Steps are checked, timed and told in order; on a GPU one behind, so that it is not waited for."""

import pytest
import torch

from motionecho.errors import BadSample
from motionecho.steplog import StepLog
from motionecho.trace import StepTrace


def closed(device: str, latents: list[torch.Tensor]) -> tuple[StepLog, list[int], list[int]]:
    """A log of these steps, what it told, and how many it had told after each."""
    told: list[int] = []
    after: list[int] = []
    log = StepLog(torch.device(device), lambda lines: told.append(lines[0].step))
    for step, z in enumerate(latents):
        log.close([StepTrace(step, 900 - step, 800 - step) for _ in z], z.to(device))
        after.append(len(told))
    return log, told, after


def finite(samples: int = 2) -> torch.Tensor:
    return torch.zeros(samples, 4, 2, 3, 3)


def test_on_a_cpu_every_step_is_told_at_once() -> None:
    log, told, after = closed("cpu", [finite()] * 3)
    log.settle()
    assert (told, after) == ([0, 1, 2], [1, 2, 3])


@pytest.mark.gpu
def test_on_a_gpu_a_step_is_told_when_the_next_was_begun() -> None:
    log, told, after = closed("cuda", [finite()] * 3)
    assert after == [0, 1, 2]
    log.settle()
    assert told == [0, 1, 2]


def test_a_step_s_seconds_are_shared_by_its_samples() -> None:
    seen: list[StepTrace] = []
    log = StepLog(torch.device("cpu"), seen.extend)
    lines = [StepTrace(0, 900, 800), StepTrace(0, 900, 800)]
    log.close(lines, finite())
    assert seen == lines
    assert lines[0].seconds == lines[1].seconds > 0


def test_latents_that_are_not_finite_are_named() -> None:
    broken = finite()
    broken[1, 0, 0, 0, 0] = torch.nan
    with pytest.raises(BadSample, match=r"not finite at student step 1 \(t=899\), sample 1 of the batch"):
        closed("cpu", [finite(), broken])
