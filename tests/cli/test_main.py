"""Every way a command can end has its exit code, and a mistake is one sentence."""

import errno
from pathlib import Path

import pytest

from motionecho import __version__
from motionecho.cli import settings
from motionecho.cli.exits import Exit
from motionecho.cli.main import run
from motionecho.errors import BadSample, Transient
from tests.cli.conftest import Cli


def test_version_and_help_go_to_stdout(cli: Cli) -> None:
    done = cli("--version")
    assert (done.code, done.out, done.err) == (0, f"motionecho {__version__}\n", "")
    assert "batch" in cli("--help").out
    assert cli("batch", "submit", "--help").code == 0


def test_help_is_short_too_uses_the_width_it_has_and_says_the_words(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    narrow = cli("batch", "submit", "-h").out
    monkeypatch.setenv("COLUMNS", "160")
    wide = cli("batch", "submit", "-h").out
    assert len(wide.splitlines()) < len(narrow.splitlines())
    for part in (
        "The settings of a video, and how its reference is read",
        "[default: toy]",
        "toy_text, or none",
    ):
        assert part in wide


def test_the_tab_key_offers_words(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setenv("_MOTIONECHO_COMPLETE", "complete_bash")
    for words, offered in (
        ("batch sub", "submit"), ("generate --pair toy-", "toy-dit"), ("batch plan --metric to", "toy_text"),
        ("generate --method te", "teacher"), ("generate --set activation=a", "activation=always"),
        ("generate --preset 8", "8-steps"), ("generate --strategy dm", "dmt"),
    ):  # fmt: skip
        monkeypatch.setenv("COMP_WORDS", f"motionecho {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
        assert offered in cli().out.split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sumbit"], "There are generate, "),
        (["submit", "m.csv"], "Did you mean 'motionecho batch submit'?"),
        (["batch", "submit", "m.parquet", "--wrokers", "2"], "--workers"),
        (["batch", "submit", "m.parquet", "--limit", "none"], "--limit"),
        (["generate", "only-a-reference.mp4"], "PROMPT"),
    ],
)
def test_wrong_usage_is_code_2_and_says_what_is_wrong(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert done.code == Exit.USAGE
    assert done.out == ""
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["config", "show", "--set", "stpes=4"], 'unknown setting "stpes" (did you mean "steps"?)'),
        (["config", "show", "--set", "steps=many"], "not a whole number"),
        (["config", "show", "--set", "noise_blend=2"], "between 0 and 1"),
        (["config", "show", "--set", "activation=allways"], '"always"'),
        (["config", "show", "--set", "steps"], "KEY=VALUE"),
        (["config", "show", "--pair", "toi"], 'did you mean "toy"'),
        (["config", "show", "--preset", "studnet"], 'did you mean "student"'),
        (["config", "show", "--config", "/no/such.yaml"], 'cannot read config "/no/such.yaml"'),
        (["models", "show", "toi"], 'did you mean "toy"'),
        (["batch", "submit", "m.csv", "--metric", "motion_fidelty"], 'did you mean "motion_fidelity"'),
        (["batch", "submit", "m.csv", "--fit", "corp"], 'did you mean "crop"'),
        (["batch", "status", "/no/such/run"], "no run at"),
        (["batch", "failures", "/no/such/run"], "no run at"),
        (["manifest", "validate", "/no/such.parquet"], "/no/such.parquet"),
        (["manifest", "validate", "notes.txt"], ".parquet"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert done.code == Exit.USAGE
    assert said in done.sentence()


@pytest.mark.parametrize(
    ("problem", "code", "said"),
    [
        (BadSample("the latents became not finite"), Exit.FAILED_SAMPLES, "not finite"),
        (Transient("the store kept failing"), Exit.UNEXPECTED, "kept failing"),
        (OSError(errno.ENOSPC, "No space left on device"), Exit.UNEXPECTED, "make room, and give the"),
        (OSError(errno.EIO, "Input/output error", "/x"), Exit.UNEXPECTED, '"/x": Input/output error'),
    ],
)
def test_our_other_errors_have_their_codes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, problem: Exception, code: int, said: str
) -> None:
    _break(monkeypatch, problem)
    done = cli("config", "show")
    assert done.code == code
    assert said in done.sentence()


def test_an_unexpected_error_names_its_class_and_the_way_to_the_traceback(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(monkeypatch, ZeroDivisionError("no luck"))
    done = cli("config", "show", "--set", "steps=4")
    assert done.code == Exit.UNEXPECTED
    assert "ZeroDivisionError: no luck" in done.err
    assert "motionecho --debug config show --set steps=4" in done.err
    assert "Traceback" not in done.err
    with pytest.raises(ZeroDivisionError):
        run(["config", "show", "--debug"])


def test_interrupting_is_code_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch, KeyboardInterrupt())
    assert cli("config", "show").code == Exit.INTERRUPTED == 130


def test_the_readme_lists_every_exit_code() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    for code in Exit:
        assert f"| {code.value} |" in readme


def _break(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    def broken(*_: object) -> None:
        raise problem

    monkeypatch.setattr(settings, "pair_spec", broken)
