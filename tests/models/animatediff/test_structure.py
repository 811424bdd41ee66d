"""The baseline that copies structure: a ControlNet that sees outlines, and needed by that method alone."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
import torch
from diffusers import UNetMotionModel

from motionecho.config import Placement, RunSettings
from motionecho.echo import generate
from motionecho.errors import UserError
from motionecho.inversion import Motion, invert
from motionecho.models.animatediff.control import empty_control
from motionecho.models.animatediff.pair import load
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PAIRS, PairSpec, pair_spec
from motionecho.schedules import eps_of
from motionecho.teacher import ClassifierFree
from motionecho.video.outlines import outlines
from pipelines.plan import plan_generation
from tests.models.animatediff import public

CPU = Placement(device="cpu")
STRUCTURE = {"method": "structure", "teacher_grid_steps": 2, "inversion_steps": 2}


def drawn_frames(shift: int = 0) -> np.ndarray:
    """A white disc that moves to the right over black."""
    frames = np.zeros((4, 64, 64, 3), dtype=np.uint8)
    for k, frame in enumerate(frames):
        cv2.circle(frame, (20 + shift + 6 * k, 32), 10, (255, 255, 255), -1)
    return frames


def small(folder: Path, *more: str) -> PairSpec:
    return replace(pair_spec("animatediff-lightning", (str(folder), *more)), frames=4, height=64, width=64)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public.write(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public.write_control(public.write(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def pair(folder: Path) -> ModelPair:
    return load(small(folder), CPU, "auto")


def made(pair: ModelPair, frames: np.ndarray, **changes: object) -> torch.Tensor:
    config = pair.spec.config(changes=STRUCTURE | changes)
    return generate(pair, [invert(pair, frames, config)], ["a fox running"], [7], config)[0]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def test_outlines_are_where_the_drawing_s_edges_are() -> None:
    lines = outlines(drawn_frames())
    assert lines.shape == (4, 64, 64)
    assert lines.dtype == np.uint8
    assert set(np.unique(lines)) == {0, 255}
    for k, frame in enumerate(lines):
        y, x = np.nonzero(frame)
        radius = np.hypot(y - 32, x - (20 + 6 * k))
        assert len(radius) > 40
        assert np.all(np.abs(radius - 10) < 2)


def test_one_pass_is_that_of_diffusers_own_networks(pair: ModelPair) -> None:
    """As AnimateDiffControlNetPipeline calls them, both branches of classifier-free guidance in one batch."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(2, 4, 4, 8, 8, generator=generator)
    text = torch.randn(4, 77, public.TEXT_WIDTH, generator=generator)
    lines = torch.from_numpy(np.stack([outlines(drawn_frames()), outlines(drawn_frames(3))]))
    assert pair.controlled is not None
    at, scale = pair.schedule.at(500), 0.7

    theirs = public.control()
    files = public.files()
    base, motion = public.base(), public.modules(False)
    base.load_state_dict(files["base/unet"])
    motion.load_state_dict(files["teacher"])
    unet = UNetMotionModel.from_unet2d(base, motion).eval()
    with torch.no_grad():
        seeing = pair.controlled("teacher", lines, scale)
        ours = ClassifierFree(seeing, 7.5).x0(z, at, text)

        doubled = torch.cat([z, z])
        images = (lines.float() / 255).flatten(0, 1)[:, None].repeat(2, 3, 1, 1)
        each = text.repeat_interleave(4, dim=0)
        noisy = doubled.transpose(1, 2).reshape(-1, 4, 8, 8)
        skips, middle = theirs(
            noisy, 500, encoder_hidden_states=each, controlnet_cond=images,
            conditioning_scale=scale, guess_mode=False, return_dict=False,
        )  # fmt: skip
        out = unet(
            doubled, 500, encoder_hidden_states=each,
            down_block_additional_residuals=skips, mid_block_additional_residual=middle,
        ).sample  # fmt: skip
        without = unet(doubled, 500, encoder_hidden_states=each).sample
        own = seeing.residuals(doubled, at, text)
    assert len(skips) == len(own["down_block_additional_residuals"]) == 12
    found = [*own["down_block_additional_residuals"], own["mid_block_additional_residual"]]
    for one, other in zip(found, [*skips, middle], strict=True):
        assert apart(one, other) <= 1e-5
    expected = out[2:] + 7.5 * (out[:2] - out[2:])
    assert apart(eps_of(z, ours, at), expected) <= 1e-5
    assert apart(without, out) > 0.1


def test_a_video_follows_outlines_and_no_noise_of_the_reference(pair: ModelPair) -> None:
    config = pair.spec.config(changes=STRUCTURE)
    assert (config.teacher.teacher_guidance_scale, config.student.noise_blend) == (7.5, 0.0)
    assert pair.spec.config(changes={"method": "structure"}).teacher.teacher_grid_steps == 25
    motions = [invert(pair, frames, config) for frames in (drawn_frames(), drawn_frames(9))]
    both, traces = generate(pair, motions, ["a fox", "a cat on ice"], [7, 8], config)
    assert traces[0].evaluations() == {"student": 0, "student_guided": 0, "teacher": 4, "teacher_guided": 0}
    alone, _ = generate(pair, motions[1:], ["a cat on ice"], [8], config)
    assert apart(both[1], alone[0]) < 1e-5
    other, _ = generate(pair, motions[:1], ["a cat on ice"], [8], config)
    assert apart(other, alone) > 1e-3
    noise = replace(motions[1], z_T=torch.randn(motions[1].z_T.shape))
    assert torch.equal(generate(pair, [noise], ["a cat on ice"], [8], config)[0], alone)


def test_at_scale_0_it_is_the_plain_teacher(pair: ModelPair) -> None:
    unguided = {"method": "teacher", "motion_strength": 0.0, "teacher_guidance_scale": 7.5}
    plain = made(pair, drawn_frames(), **unguided)
    assert apart(made(pair, drawn_frames(), control_scale=0.0), plain) < 1e-5
    assert apart(made(pair, drawn_frames()), plain) > 0.1


def test_the_student_may_be_who_sees(pair: ModelPair) -> None:
    config = pair.spec.config(changes=STRUCTURE | {"control_on": "student", "steps": 4})
    latents, (trace,) = generate(pair, [invert(pair, drawn_frames(), config)], ["a fox"], [7], config)
    assert bool(torch.isfinite(latents).all())
    assert [step.t for step in trace.steps] == [999, 749, 499, 249]
    assert trace.evaluations()["student"] == 4  # without classifier-free guidance
    assert trace.evaluations()["teacher"] == 0


def test_networks_that_take_turns_make_the_same_video(folder: Path, pair: ModelPair) -> None:
    taking_turns = load(small(folder), Placement(device="cpu", offload=True), "auto")
    assert torch.equal(made(taking_turns, drawn_frames()), made(pair, drawn_frames()))


def test_the_control_net_is_needed_by_this_method_alone(bare: Path, folder: Path) -> None:
    spec = small(bare)
    assert {*spec.weights()} == {*spec.weights("teacher")} == {*public.FILES}
    pair = load(spec, CPU, "auto")
    plain = {"method": "teacher", "teacher_grid_steps": 2, "inversion_steps": 2, "motion_strength": 0.0}
    assert bool(torch.isfinite(made(pair, drawn_frames(), **plain)).all())
    for ask in (spec.paths, spec.pull, spec.weights, spec.known_weights):
        with pytest.raises(UserError, match=r"weights of control are missing .*control_v11p_sd15_canny"):
            ask("structure")
    with pytest.raises(UserError, match="weights of control are missing"):
        made(pair, drawn_frames())
    assert {*small(folder).weights("structure")} == {*public.FILES, "control"}
    elsewhere = small(bare, f"control={folder / public.CONTROL}")
    assert elsewhere.weights("structure") == small(folder).weights("structure")
    random = pair_spec("animatediff-lightning", ("random",))
    assert {*random.weights("structure")} - {*random.weights()} == {"control"}


def test_what_is_not_here_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    spec = small(bare, "control=lllyasviel/control_v11p_sd15_canny")
    with pytest.raises(UserError, match=r"motionecho models pull animatediff-lightning --method structure$"):
        spec.paths("structure")


def test_a_net_that_does_not_fit_the_base_is_refused(bare: Path, tmp_path: Path) -> None:
    wide = public.write_control(tmp_path, public.control((32, 32, 64, 96))) / public.CONTROL
    with pytest.raises(UserError, match=r"does not fit a ControlNet of Stable Diffusion 1\.5"):
        made(load(small(bare, f"control={wide}"), CPU, "auto"), drawn_frames())


def test_full_size_is_that_of_the_public_file() -> None:
    net = empty_control()
    assert sum(tensor.numel() for tensor in net.state_dict().values()) == 361_279_120
    assert len(net.controlnet_down_blocks) == 12


@pytest.mark.parametrize("name", ["toy", "turbo-v2", "turbo-v1"])
def test_pairs_without_it_refuse_in_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match=f'^pair {name} has no method "structure"; it has motionecho, '):
        PAIRS[name].config(changes={"method": "structure"})


def test_a_network_without_it_refuses_settings_made_by_hand() -> None:
    config = tiny.CONFIG.updated({"method": "structure", "outlines": True})
    blank = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(UserError, match="pair tiny has no network that sees outlines"):
        generate(tiny.pair(), [invert(tiny.pair(), blank, config)], ["a"], [0], config)


def test_a_motion_keeps_outlines_where_settings_ask(pair: ModelPair, tmp_path: Path) -> None:
    config, usual = pair.spec.config(changes=STRUCTURE), pair.spec.config(changes={"inversion_steps": 2})
    motion, other = invert(pair, drawn_frames(), config), invert(pair, drawn_frames(), usual)
    motion.save(tmp_path / "m.safetensors")
    again = Motion.load(tmp_path / "m.safetensors")
    assert again.outlines is not None
    assert again.outlines.dtype == torch.uint8
    assert np.array_equal(again.outlines.numpy(), outlines(drawn_frames()))
    assert Motion.stack([again, again], "cpu").tensors["outlines"].shape == (2, 4, 64, 64)
    assert other.outlines is None
    with pytest.raises(UserError, match=r"outlines is false there and true now. Invert its clip again"):
        generate(pair, [other], ["a fox"], [0], config)
    without = config.updated({"outlines": False})
    with pytest.raises(UserError, match="invert its clip with outlines=true"):
        generate(pair, [invert(pair, drawn_frames(), without)], ["a fox"], [0], without)


def test_keys_name_the_control_net_of_structure_samples_alone(
    bare: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_text("a clip")
    table = tmp_path / "m.csv"
    table.write_text("id,reference,prompt,method\none,a.mp4,a cat,teacher\ntwo,a.mp4,a cat,structure\n")
    redrawn = public.write_control(tmp_path, public.control(seed=12))

    def keys(*weights: str) -> dict[str, tuple[str, str]]:
        placement = Placement(device="cpu", weights=tuple(map(str, weights)))
        name = "animatediff-lightning"
        settings = RunSettings(pair=name, echo=PAIRS[name].defaults, placement=placement)
        work = plan_generation(str(table), settings, str(tmp_path / "run"))
        return {task.payload.sample.id: (task.key, task.payload.motion_key) for task in work.tasks.values()}

    first, second = keys(str(folder)), keys(str(folder), f"control={redrawn / public.CONTROL}")
    assert first["one"] == second["one"]
    assert first["two"][0] != second["two"][0]
    assert first["two"][1] == second["two"][1], "its motion is of no ControlNet"
    assert first["one"][1] != first["two"][1], "but of outlines"
    assert keys(str(bare)) == {"one": first["one"]}, (
        "a row that cannot be made is told of, the others are not hurt"
    )


def test_settings_of_one_method_leave_with_it() -> None:
    spec = PAIRS["animatediff-lightning"]
    there = spec.config(changes={"method": "structure"})
    assert there.reference.outlines
    assert spec.updated(there, {"method": "motionecho"}) == spec.defaults
