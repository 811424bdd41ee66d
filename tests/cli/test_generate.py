"""`motionecho generate` on the embedded pair: the real path, with few steps."""

from dataclasses import replace
from pathlib import Path

import pytest

from motionecho.cli.exits import Exit
from motionecho.models.registry import PAIRS
from motionecho.video import probe, read_provenance
from tests.cli.conftest import Cli
from tests.models.animatediff import public

QUICK = ("--set", "steps=2", "--set", "inversion_steps=2")
PROMPT = "a red star on a blue background"


def test_a_clip_and_a_prompt_become_a_video_that_says_where_it_comes_from(
    cli: Cli, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "star.mp4"
    done = cli("generate", clip, PROMPT, "-o", out, "--seed", "7", *QUICK)
    assert done.code == Exit.OK, done.err
    assert done.out == f"{out}\n"
    assert "window mean" in done.err
    for phase in ("libraries", "weights", "inversion 0/2", "targets", "steps 0/2", "decode"):
        assert f"] {phase}\n" in done.err
    assert "forward passes" in done.err
    info = probe(out)
    assert (info.frames, info.width, info.height) == (16, 64, 64)
    assert PROMPT in str(read_provenance(out))


def test_a_student_that_carries_nothing_has_nothing_trained(cli: Cli, clip: Path, tmp_path: Path) -> None:
    words = ("--strategy", "vmc", "--method", "student", *QUICK)
    done = cli("generate", clip, PROMPT, "-o", tmp_path / "v.mp4", *words)
    assert done.code == Exit.OK, done.err
    assert "] steps 0/2\n" in done.err
    assert "training" not in done.err


def test_json_repeats_itself_but_for_the_seconds(cli: Cli, clip: Path, tmp_path: Path) -> None:
    bodies = [
        cli("generate", clip, PROMPT, "-o", tmp_path / "v.mp4", "--json", *QUICK).json for _ in range(2)
    ]
    for body in bodies:
        assert len(body["trace"]) == 2
        assert set(body["seconds"]) == {"read", "load", "invert", "generate", "write"}
        body["summary"].pop("seconds")
    assert bodies[0]["summary"] == bodies[1]["summary"]
    assert bodies[0]["settings"]["echo"]["steps"] == 2


def test_what_cannot_be_used_is_told_before_any_model_is_loaded(cli: Cli, clip: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for reference in (tmp_path / "no.mp4", tmp_path, text, empty):
        done = cli("generate", reference, PROMPT, "-o", tmp_path / "v.mp4")
        assert done.code == Exit.USAGE
        assert str(reference) in done.sentence()
    assert "start" in cli("generate", clip, PROMPT, "-o", tmp_path / "v.mp4", "--start", "60").sentence()
    assert "the prompt is empty" in cli("generate", clip, " ", "-o", tmp_path / "v.mp4").sentence()


def test_factors_that_would_not_be_read_are_refused(cli: Cli, clip: Path, tmp_path: Path) -> None:
    empty, table = tmp_path / "empty.safetensors", tmp_path / "table.csv"
    empty.touch()
    more = ("-o", tmp_path / "v.mp4", "--set", f"motion_lora={empty}", "--strategy")
    for word, said in (("moft", "is not read by strategy"), ("vmc", "is no safetensors file")):
        done = cli("generate", clip, PROMPT, *more, word)
        assert done.code == Exit.USAGE
        assert f'motion_lora "{empty}" {said}' in done.sentence()
    rows = (f"{clip},{PROMPT},{word},{empty}" for word in ("moft", "vmc"))
    table.write_text("\n".join(("reference,prompt,strategy,motion_lora", *rows)))
    done = cli("manifest", "validate", table)
    assert done.code == Exit.USAGE
    assert "2 rows, 2 with problems" in done.out + done.err


@pytest.mark.parametrize("out", ["folder", "file.txt/v.mp4"])
def test_an_out_that_cannot_be_written_is_told_before_the_work(
    cli: Cli, clip: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").touch()
    done = cli("generate", clip, PROMPT, "-o", tmp_path / out)
    assert done.code == Exit.USAGE
    assert str(tmp_path / out) in done.sentence()


def test_mistakes_of_the_command_are_told_before_any_model_is_loaded(
    cli: Cli, clip: Path, tmp_path: Path
) -> None:
    out = ("-o", tmp_path / "v.mp4")
    for words, said in (
        (("a red photo on a blue background", *out), 'does not know the word "photo" of prompt'),
        ((PROMPT, *out, "--seed", str(2**63)), "from 0 to 2^63-1"),
        ((PROMPT, "-o", tmp_path / "v.txt"), f"write -o {tmp_path / 'v.mp4'}"),
    ):
        done = cli("generate", clip, *words)
        assert done.code == Exit.USAGE
        assert said in done.sentence()
        assert "did you mean" not in done.err, "nothing near enough to be meant"
    assert not [*tmp_path.iterdir()]


def test_a_published_pair_from_a_folder_says_what_it_was_made_with(
    cli: Cli, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(PAIRS["animatediff-lightning"], frames=4, height=64, width=64)
    monkeypatch.setitem(PAIRS, small.name, small)
    weights = public.write(tmp_path / "weights")
    done = cli(
        "generate", clip, "a fox in the snow", "-o", tmp_path / "v.mp4", "--pair", small.name, "--offload",
        "--weights", weights, *QUICK, "--json",
    )  # fmt: skip
    assert done.code == Exit.OK, done.err
    assert "is made for 8 steps, not 2" in done.err
    body = done.json
    assert body["settings"]["weights"] == [str(weights)]
    assert body["settings"]["offload"] is True
    assert body["weights"] == PAIRS[small.name].at((str(weights),)).weights()
    assert probe(tmp_path / "v.mp4").frames == 4


def test_structure_needs_its_network_and_says_with_which_it_was_made(
    cli: Cli, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(PAIRS["animatediff-lightning"], frames=4, height=64, width=64)
    monkeypatch.setitem(PAIRS, small.name, small)
    weights = public.write(tmp_path / "weights")
    words = (
        "generate", clip, "a fox in the snow", "-o", tmp_path / "v.mp4", "--pair", small.name, "--weights",
        weights, "--method", "structure", *QUICK, "--set", "teacher_grid_steps=2", "--json",
    )  # fmt: skip
    done = cli(*words)
    assert done.code == Exit.USAGE
    assert "error: pair animatediff-lightning: the weights of control are missing" in done.err
    public.write_control(weights)
    done = cli(*words)
    assert done.code == Exit.OK, done.err
    assert done.json["weights"] == PAIRS[small.name].at((str(weights),)).weights("structure")
    assert done.json["summary"]["evaluations"]["teacher"] == 4
    assert probe(tmp_path / "v.mp4").frames == 4


def test_random_weights_are_said_aloud(cli: Cli) -> None:
    done = cli("config", "show", "--pair", "turbo-v2", "--weights", "random", "--json")
    assert "RANDOM WEIGHTS" in done.err
    assert done.json["settings"]["weights"] == ["random"]
