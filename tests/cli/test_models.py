"""The pairs are described without loading them, and their weights checked without a GPU."""

from pathlib import Path

import pytest
import torch

from motionecho.cli.exits import Exit
from motionecho.models.registry import PAIRS, pair_spec
from tests.cli.conftest import Cli
from tests.models.animatediff import public


def test_list_has_every_pair(cli: Cli) -> None:
    done = cli("models", "list")
    assert done.code == 0
    assert [text.split()[0] for text in done.out.splitlines()[1:]] == list(PAIRS)
    assert [model["name"] for model in cli("models", "list", "--json").json["models"]] == list(PAIRS)


def test_show_names_size_licence_weights_and_presets(cli: Cli) -> None:
    out = cli("models", "show", "toy").out
    for part in (
        "16 frames of 64 x 64 at 8 fps",
        "Apache-2.0",
        "preset",
        *pair_spec("toy").weights().values(),
    ):
        assert part in out
    body = cli("models", "show", "toy", "--json").json
    assert body["weights"] == pair_spec("toy").weights()
    assert body["missing"] is None
    assert body["defaults"] == pair_spec("toy").defaults.to_dict()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public.write(tmp_path_factory.mktemp("weights"))


def test_weights_that_fit_are_said_to_fit(cli: Cli, weights: Path) -> None:
    done = cli("models", "check", "animatediff-lightning", "--weights", weights)
    assert done.code == 0, done.err
    assert done.out == "animatediff-lightning: teacher, student, autoencoder, text encoder fit\n"
    rows = cli("models", "pull", "animatediff-lightning", "--weights", weights, "--json").json["files"]
    assert {row["file"] for row in rows} == set(public.FILES)
    assert all(len(row["sha256"]) == 64 and row["bytes"] > 0 for row in rows)


def test_what_one_method_alone_needs_is_pulled_and_checked_for_it(cli: Cli, weights: Path) -> None:
    words = ("animatediff-lightning", "--weights", weights, "--method")
    missing = cli("models", "pull", *words, "structure")
    assert missing.code == Exit.USAGE
    assert "error: pair animatediff-lightning: the weights of control are missing" in missing.err
    at = ("--weights", f"control={public.write_control(weights.parent / 'control') / public.CONTROL}")
    rows = cli("models", "pull", *words, "structure", *at, "--json").json["files"]
    assert {row["file"] for row in rows} == {*public.FILES, "control"}
    assert cli("models", "check", *words, "structure", *at).out.endswith("text encoder, ControlNet fit\n")
    unknown = cli("models", "pull", *words, "structur")
    assert unknown.code == Exit.USAGE
    assert "did you mean" in unknown.sentence()
    out = cli("models", "show", "animatediff-lightning").out
    assert "control_v11p_sd15_canny (1.4 GB, for method structure alone)" in out


def test_every_tensor_that_does_not_fit_is_named(cli: Cli, tmp_path: Path) -> None:
    state = public.files()
    student, text = state["student"], state["base/text"]
    cut = [name for name in student if "down_blocks.2" in name and name.endswith("weight")]
    for name in cut:
        student[name] = student[name][:1]
    del student["mid_block.motion_modules.0.norm.bias"]
    text["text_model.extra"] = torch.zeros(1)
    folder = public.write(tmp_path, state)
    done = cli("models", "check", "animatediff-lightning", "--weights", folder)
    assert done.code == Exit.USAGE
    assert done.err.splitlines()[-1].endswith(f"{len(cut) + 2} tensors of its weights do not fit")
    for name in (*cut, "mid_block.motion_modules.0.norm.bias", "extra"):
        assert f" {name} " in done.out, name
    body = cli("models", "check", "animatediff-lightning", "--weights", folder, "--json").json
    assert not body["ok"]
    assert {(row["network"], row["problem"]) for row in body["mismatches"]} == {
        ("student", "missing"), ("student", "wrong shape"), ("text encoder", "unexpected")
    }  # fmt: skip


def test_a_file_of_something_else_is_compared_with_the_published_layout(cli: Cli, tmp_path: Path) -> None:
    state = public.files()
    state["base/unet"] = {"weight": torch.zeros(2)}
    folder = public.write(tmp_path, state)
    done = cli("models", "check", "animatediff-lightning", "--weights", folder, "--json")
    assert done.code == Exit.USAGE
    missing = [row for row in done.json["mismatches"] if row["network"] == "teacher"]
    assert len(missing) == 687  # all 686 tensors of Stable Diffusion's UNet, and one that is not of it


def test_absent_weights_are_one_sentence(cli: Cli, tmp_path: Path) -> None:
    done = cli("models", "check", "turbo-v2", "--weights", tmp_path)
    assert done.code == Exit.USAGE
    assert f"the weights of teacher are missing at {tmp_path}/model.ckpt; copy hf://Video" in done.sentence()
