"""Weights by their public names are views: of the plain UNet, and of the fused one, merged or not."""

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap
from motionecho.errors import UserError
from motionecho.models.kernels import plain
from motionecho.models.videocrafter.denoiser import SCHEDULE, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.unet import fused
from tests.models.videocrafter import public

IN_FRAME = "output_blocks.3.1.transformer_blocks.0"
OVER_TIME = "output_blocks.3.2.transformer_blocks.0"
LAYER = f"{OVER_TIME}.attn1"
NAMES = (
    *(f"{block}.{layer}" for block in (f"{IN_FRAME}.attn1", f"{OVER_TIME}.attn1", f"{OVER_TIME}.attn2")
      for layer in ("to_q", "to_k", "to_v")),  # merged when fused
    f"{IN_FRAME}.attn2.to_k", f"{OVER_TIME}.attn1.to_out.0", f"{OVER_TIME}.ff.net.0.proj",
    "init_attn.0.proj_in", "init_attn.0.transformer_blocks.0.attn2.to_v",
)  # fmt: skip


def denoiser(fuse: bool, state: dict[str, Tensor]) -> VideoCrafter:
    """One whose tensors are its own."""
    net = load_unet({name: tensor.clone() for name, tensor in state.items()})
    return VideoCrafter(fused(net, plain) if fuse else net)


def passes(made: VideoCrafter) -> list[Tensor]:
    """Return what is predicted without a probe and with one, and the map it sees."""
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(1, 4, 2, 8, 8, generator=generator)
    text, at = torch.randn(1, 77, public.TEXT_WIDTH, generator=generator), SCHEDULE.at(600)
    probe = Probe((Tap(LAYER),))
    with torch.no_grad():
        return [made.x0(z, at, text), made.x0(z, at, text, probe), probe.seen[Tap(LAYER)]]


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("fuse", [False, True])
def test_values_are_the_checkpoint_s(fuse: bool) -> None:
    state = public.unet_state()
    made = denoiser(fuse, state)
    for name in NAMES:
        assert torch.equal(made.weight(name), state[f"{name}.weight"].flatten(1)), name


@pytest.mark.parametrize("fuse", [False, True])
def test_what_is_written_is_what_the_next_passes_compute_with(fuse: bool) -> None:
    state = public.unet_state()
    made, changed, generator = denoiser(fuse, state), dict(state), torch.Generator().manual_seed(5)
    before = passes(made)
    for name in NAMES:
        weight, key = made.weight(name), f"{name}.weight"
        changed[key] = 1.5 * torch.randn(state[key].shape, generator=generator) / weight.shape[1] ** 0.5
        weight.copy_(changed[key].flatten(1))
        after = passes(made)
        for one, other in zip(after[:2], before[:2], strict=True):
            assert apart(one, other) > 1e-3, name
        if name in (f"{LAYER}.to_q", f"{LAYER}.to_k"):
            assert apart(after[2], before[2]) > 1e-3, name
        before = after
    for found, expected in zip(before, passes(denoiser(fuse, changed)), strict=True):
        assert apart(found, expected) < 1e-6
    for found, expected in zip(before, passes(denoiser(not fuse, changed)), strict=True):
        assert apart(found, expected) < 1e-4


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        (f"{OVER_TIME}.attn1.to_kk", f"{OVER_TIME}.attn1.to_k"),
        (f"{OVER_TIME}.attn1.to_out", f"{OVER_TIME}.attn1.to_out.0"),
        ("init_attn.0.proj_inn", "init_attn.0.proj_in"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(fuse: bool, wrong: str, meant: str) -> None:
    with pytest.raises(UserError) as refused:
        denoiser(fuse, public.unet_state()).weight(wrong)
    assert f'"{wrong}" is no linear layer of this model' in str(refused.value)
    assert f'did you mean "{meant}"' in str(refused.value)


def test_what_is_no_linear_layer_has_no_such_weight() -> None:
    made = denoiser(False, public.unet_state())
    for name in (f"{OVER_TIME}.norm1", "input_blocks.0.0", OVER_TIME, ""):
        with pytest.raises(UserError, match="is no linear layer"):
            made.weight(name)
