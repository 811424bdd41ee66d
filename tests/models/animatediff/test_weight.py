"""Weights by their public names are views: of diffusers' UNet, and of the fused one, merged or not."""

import pytest
import tiny
import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap
from motionecho.errors import UserError
from motionecho.models.animatediff.fused import fused
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.kernels import plain
from motionecho.schedules import trailing

IN_FRAME = "up_blocks.0.attentions.0.transformer_blocks.0"
OVER_TIME = "up_blocks.0.motion_modules.0.transformer_blocks.0"
LAYER = f"{OVER_TIME}.attn1"
NAMES = (
    *(f"{block}.{layer}" for block in (LAYER, f"{OVER_TIME}.attn2", f"{IN_FRAME}.attn1", f"{IN_FRAME}.attn2")
      for layer in ("to_q", "to_k", "to_v")),  # merged when fused, all but those that read the text
    f"{LAYER}.to_out.0", f"{IN_FRAME}.ff.net.0.proj", "up_blocks.0.attentions.0.proj_in",
    "up_blocks.0.motion_modules.0.proj_out",
)  # fmt: skip
STATE = tiny.unet(0).state_dict()


def denoiser(fuse: bool, state: dict[str, Tensor] = STATE) -> MotionUNet:
    """One whose tensors are its own."""
    net = tiny.unet(1)
    net.load_state_dict(state)
    made = MotionUNet(net, trailing, {"motionclone": (LAYER,)})
    if fuse:
        fused(net, plain)
    return made


def passes(made: MotionUNet) -> list[Tensor]:
    """Return what is predicted without a probe and with one, and the map it sees."""
    generator = torch.Generator().manual_seed(4)
    z, text = torch.randn(1, 4, 4, 8, 8, generator=generator), torch.randn(1, 5, 16, generator=generator)
    probe, at = Probe((Tap(LAYER),)), tiny.SCHEDULE.at(600)
    with torch.no_grad():
        return [made.x0(z, at, text), made.x0(z, at, text, probe), probe.seen[Tap(LAYER)]]


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("fuse", [False, True])
def test_values_are_the_checkpoint_s(fuse: bool) -> None:
    made = denoiser(fuse)
    for name in NAMES:
        assert torch.equal(made.weight(name), STATE[f"{name}.weight"].flatten(1)), name


@pytest.mark.parametrize("fuse", [False, True])
def test_what_is_written_is_what_the_next_passes_compute_with(fuse: bool) -> None:
    """A probed pass and one without a probe go different ways, and read one storage."""
    made, changed, generator = denoiser(fuse), dict(STATE), torch.Generator().manual_seed(5)
    before = passes(made)
    for name in NAMES:
        weight, key = made.weight(name), f"{name}.weight"
        changed[key] = 1.5 * torch.randn(STATE[key].shape, generator=generator) / weight.shape[1] ** 0.5
        weight.copy_(changed[key].flatten(1))
        after = passes(made)
        for one, other in zip(after[:2], before[:2], strict=True):
            assert apart(one, other) > 1e-3, name
        shifts = name in (f"{LAYER}.to_q", f"{LAYER}.to_k") or name.startswith("up_blocks.0.attentions")
        assert (apart(after[2], before[2]) > 1e-3) == shifts, name
        before = after
    for found, expected in zip(before, passes(denoiser(fuse, changed)), strict=True):
        assert apart(found, expected) < 1e-6
    for found, expected in zip(before, passes(denoiser(not fuse, changed)), strict=True):
        assert apart(found, expected) < 1e-4


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("meant", [f"{LAYER}.to_k", f"{LAYER}.to_out.0", "up_blocks.0.attentions.0.proj_in"])
def test_an_unknown_name_is_answered_with_the_nearest(fuse: bool, meant: str) -> None:
    with pytest.raises(UserError) as refused:
        denoiser(fuse).weight(f"{meant}n")
    assert f'"{meant}n" is no linear layer of this model (did you mean "{meant}"?)' in str(refused.value)


def test_what_is_no_linear_layer_has_no_such_weight() -> None:
    made = denoiser(fuse=False)
    for name in (f"{OVER_TIME}.norm1", "conv_in", LAYER, ""):
        with pytest.raises(UserError, match="is no linear layer"):
            made.weight(name)
