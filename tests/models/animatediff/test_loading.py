"""Public files load strictly and give what diffusers makes of them; one tensor off, and it is named."""

import pytest
import torch
from diffusers import UNetMotionModel

from motionecho.errors import UserError
from motionecho.models.animatediff import loading, pair, text
from motionecho.models.weights.checkpoint import shapes
from tests.models.animatediff import public

STATES = public.files()
ATTENTION = "down_blocks.0.motion_modules.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize("middle", [True, False])
def test_full_size_has_exactly_the_public_tensors(middle: bool) -> None:
    net = loading.empty_unet(middle=middle)
    with torch.device("meta"):
        base, modules = public.base(loading.WIDTHS, 768), public.modules(middle, loading.WIDTHS)
    assert loading.base_shapes(net) == shapes(base.state_dict())
    assert loading.module_shapes(net) == shapes(modules.state_dict())
    assert sum(p.numel() for p in base.parameters()) == 859_520_964


@pytest.mark.parametrize(("role", "middle"), [("teacher", False), ("student", True)])
def test_the_network_is_what_diffusers_makes_of_the_same_files(role: str, middle: bool) -> None:
    base, modules = public.base(), public.modules(middle)
    base.load_state_dict(STATES["base/unet"])
    modules.load_state_dict(STATES[role])
    theirs = UNetMotionModel.from_unet2d(base, modules).eval()
    ours = loading.load_motion_unet(STATES["base/unet"], STATES[role])
    z, states = torch.randn(1, 4, 4, 8, 8), torch.randn(4, 77, public.TEXT_WIDTH)
    with torch.no_grad():
        assert torch.equal(ours(z, 600, states).sample, theirs(z, 600, states).sample)


def test_teacher_and_student_share_the_base_in_memory() -> None:
    first, second = (loading.load_motion_unet(STATES["base/unet"], STATES[r]) for r in ("teacher", "student"))
    assert first.conv_in.weight.data_ptr() == second.conv_in.weight.data_ptr()


def test_positions_that_a_file_leaves_out_are_the_sines() -> None:
    without = {name: t for name, t in STATES["student"].items() if not name.endswith("pos_embed.pe")}
    net = loading.load_motion_unet(STATES["base/unet"], without)
    for name, tensor in net.state_dict().items():
        if name.endswith("pos_embed.pe"):
            assert torch.equal(tensor, STATES["student"][name])


def test_positions_that_a_file_leaves_out_are_of_the_dtype_of_the_rest() -> None:
    base = {name: t.half() for name, t in STATES["base/unet"].items()}
    without = {name: t.half() for name, t in STATES["student"].items() if not name.endswith("pos_embed.pe")}
    assert {t.dtype for t in loading.load_motion_unet(base, without).state_dict().values()} == {torch.float16}


@pytest.mark.parametrize(("key", "name"), [
    ("base/unet", "conv_in.weight"), ("base/unet", "down_blocks.0.resnets.0.conv1.bias"),
    ("base/unet", "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
    ("base/unet", "up_blocks.3.resnets.2.norm2.weight"),
    ("student", f"{ATTENTION}.to_q.weight"), ("student", f"{ATTENTION}.to_out.0.bias"),
    ("student", "mid_block.motion_modules.0.proj_in.weight"),
    ("base/vae", "encoder.mid_block.attentions.0.query.weight"), ("base/vae", "quant_conv.weight"),
    ("base/text", "text_model.encoder.layers.1.self_attn.k_proj.weight"),
    ("base/text", "text_model.final_layer_norm.bias"),
])  # fmt: skip
def test_a_missing_renamed_or_misshapen_tensor_is_named(key: str, name: str) -> None:
    def load(state):
        if key == "base/vae":
            return loading.load_vae(state)
        if key == "base/text":
            return text.load_text(state)
        files = STATES | {key: state}
        return loading.load_motion_unet(files["base/unet"], files["student"])

    whole = dict(STATES[key])
    tensor = whole.pop(name)
    plain = name.removeprefix("text_model.").replace("query", "to_q")
    for wrong in (whole, whole | {f"{name}_": tensor}, whole | {name: tensor[None]}):
        with pytest.raises(UserError) as refused:
            load(wrong)
        assert plain in str(refused.value)


def test_a_transposed_tensor_alone_is_named() -> None:
    name = "down_blocks.1.motion_modules.1.transformer_blocks.0.ff.net.2.weight"
    wrong = STATES["student"] | {name: STATES["student"][name].mT}
    with pytest.raises(UserError, match="1 wrongly shaped: " + name.replace(".", r"\.") + " is "):
        loading.load_motion_unet(STATES["base/unet"], wrong)


def test_old_and_new_names_of_the_autoencoder_are_the_same() -> None:
    older, newer = STATES["base/vae"], loading.load_vae(STATES["base/vae"]).state_dict()
    assert any("query" in name for name in older)
    assert not any("query" in name for name in newer)
    again = loading.load_vae(newer)
    frames = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        modes = [v.encode(frames).latent_dist.mode() for v in (again, loading.load_vae(older))]
    assert torch.equal(*modes)


def test_prompts_end_as_clip_ends_them() -> None:
    encoder = text.load_text(STATES["base/text"])
    seen = []
    encoder.tower.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    states = encoder(encoder.tokens(["a fox", ""]))
    assert states.shape == (2, 77, public.TEXT_WIDTH)
    assert states.dtype == torch.float32
    assert seen[0][1].tolist() == [49406] + [49407] * 76  # start, then ends
    assert seen[0][0].tolist()[:5] == [49406, 320, 3240, 49407, 49407]
    assert not torch.allclose(states[0, 1], states[1, 1])


def test_random_weights_are_of_the_published_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(shapes, seed: int) -> dict[str, torch.Tensor]:
        return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}

    monkeypatch.setattr(pair, "random_tensors", without_memory)
    files = pair.random_files()
    for role in ("teacher", "student"):
        loading.load_motion_unet(files["base/unet"], files[role])
    loading.load_vae(files["base/vae"])
    text.load_text(files["base/text"])
