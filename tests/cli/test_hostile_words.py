"""Ids, prompts, paths and errors that are out to steer a terminal: none of it arrives there as it is."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unicodedata import category

import pytest

from motionecho.cli import jobs
from motionecho.cli.exits import Exit
from motionecho.cli.main import make_visible
from motionecho.cli.printing import put, put_json, say, table
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.machines import jobs as machine
from tests.cli.conftest import Cli, Done

# A title, a wiped line, a bell, colours by 8-bit controls, reversed and zero-width writing, a line like ours.
HOSTILE = "\x1b]0;owned\x07\x1b[2K\r\x08\x7f\x9b31m\u202egnp\u2066\u200b\ufeff\u2028x\nerror: all is lost"
SHOWN = r"\x1b]0;owned\x07\x1b[2K\r\x08\x7f\x9b31m\u202egnp\u2066\u200b\ufeff\u2028x\nerror: all is lost"
PROMPT = "a red star on a blue background"


def steers(text: str) -> set[str]:
    """What of a text a terminal would act on, or not show."""
    return {char for char in text if category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}


def check(done: Done) -> None:
    for text in (done.out, done.err):
        assert steers(text) == set()
        assert "\nerror: all is lost" not in text
    assert "owned" in done.out + done.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / f"folder {HOSTILE}"
    folder.mkdir()
    return folder


@pytest.fixture
def manifest(folder: Path, clip: Path) -> Path:
    """A row that can run, and rows with a mistake in each cell that can have one."""
    fine = {"reference": str(clip), "prompt": PROMPT, f"note {HOSTILE}": HOSTILE}
    rows = [
        {"id": f"fine {HOSTILE}"},
        {"id": f"gone {HOSTILE}", "reference": f"gone {HOSTILE}.mp4"},
        {"id": f"word {HOSTILE}", "prompt": f"a red {HOSTILE}"},
        {"id": f"seed {HOSTILE}", "seed": HOSTILE},
        {"id": f"setting {HOSTILE}", "activation": HOSTILE},
        {"id": f"empty {HOSTILE}", "prompt": ""},
    ]
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(fine | row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> RunStore:
    """A run of a sample that is done and one that failed, with leftovers of a third."""
    store = RunStore(str(folder / "run"))
    store.create({}, {})
    note = ErrorNote(stage="invert", name=f"Boom{HOSTILE}", message=HOSTILE, traceback=HOSTILE)
    (tmp_path / "blob").write_text("video")
    blobs = {
        "video": store.put_blob(store.video_uri("a" * 32, "1-a"), str(tmp_path / "blob")),
        "stats": store.put_blob(store.stats_uri("a" * 32, "1-a"), str(tmp_path / "blob")),
    }
    inputs = {"id": HOSTILE, "reference": HOSTILE, "prompt": HOSTILE, "seed": 0}
    store.commit(Record(key="a" * 32, id=f"a {HOSTILE}", status="ok", inputs=inputs, **blobs))
    store.commit(Record(key="b" * 32, id=f"b {HOSTILE}", status="failed", inputs=inputs, error=note))
    (folder / "run" / "videos" / "aa" / f"left {HOSTILE}.mp4").touch()
    return store


@pytest.mark.parametrize(
    "command",
    [
        ("manifest", "validate"),
        ("batch", "plan"),
        ("batch", "submit", "--dry-run"),
        ("batch", "submit", "--engine", "m.jsonl"),
        ("manifest", "build", "-o", "b.csv"),
        ("manifest", "build", "-o", "b.txt"),
        ("score",),
        ("score", "--metric", HOSTILE),
        ("generate", PROMPT),
        ("config", "show", "--config"),
    ],
    ids=" ".join,
)
def test_of_a_manifest(cli: Cli, manifest: Path, command: tuple[str, ...], monkeypatch: Any) -> None:
    monkeypatch.chdir(manifest.parent)
    place = 2 if command[0] in ("manifest", "batch") else 1
    words = [*command, manifest] if command[0] == "config" else [*command[:place], manifest, *command[place:]]
    check(cli(*words))


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("failures",),
        ("gc", "--older-than", "0"),
        ("gc", "--older-than", "0", "--yes"),
        ("collect", "-o", f"got {HOSTILE}"),
        ("collect", "-o", f"got {HOSTILE}.parquet"),
        ("export", "-o", f"got {HOSTILE}"),
        ("replay", HOSTILE),
        ("retry",),
        ("retry", "gone.jsonl"),
        ("logs",),
        ("cancel",),
    ],
    ids=lambda command: " ".join(command[:2])[:12],
)
@pytest.mark.parametrize("at", ["run", "no run"])
def test_of_a_run(cli: Cli, run: RunStore, command: tuple[str, ...], at: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(Path(run.url).parent)
    place = Path(run.url).parent / at
    group = () if command[0] == "export" else ("batch",)
    check(cli(*group, command[0], place, *command[1:]))


def test_scores_that_are_compared(cli: Cli, run: RunStore, folder: Path) -> None:
    check(cli("compare", run.url, folder / "none"))


@pytest.mark.parametrize(
    "words",
    [
        (HOSTILE,),
        ("batch", HOSTILE),
        ("batch", "submit", "m.csv", f"--{HOSTILE}"),
        ("batch", "submit", "m.csv", "--address", f"http://{HOSTILE}"),
        ("config", "show", "--set", f"{HOSTILE}=1"),
        ("config", "show", "--set", f"steps={HOSTILE}"),
        ("config", "show", "--preset", HOSTILE),
        ("config", "show", "--weights", HOSTILE),
        ("models", "show", HOSTILE),
        ("bench", "sampler", "--steps", HOSTILE),
        ("bench", "methods", "--split", HOSTILE),
        ("bench", "ablation", "--sweep", HOSTILE),
        ("generate", "a.mp4", HOSTILE),
        ("generate", "a.mp4", PROMPT, "--gate", HOSTILE),
        ("generate", HOSTILE, PROMPT),
    ],
    ids=lambda words: " ".join(words)[:30].replace("\x1b", "^"),
)
def test_what_was_typed(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli(*words)
    check(done)
    assert done.code in (Exit.USAGE, Exit.FAILED_SAMPLES)


@pytest.mark.parametrize("words", [("--limit", HOSTILE), (f"--deadline={HOSTILE}",)], ids=["word", "joined"])
def test_a_number_that_is_none(cli: Cli, words: tuple[str, ...]) -> None:
    """Whether the parser says again what was typed depends on its version."""
    done = cli("batch", "submit", "m.csv", *words)
    assert done.code == Exit.USAGE
    assert steers(done.err) == set()
    assert "\nerror: all is lost" not in done.err


def test_json_is_exact_and_steers_nothing(cli: Cli, run: RunStore, manifest: Path) -> None:
    failures = cli("batch", "failures", run.url, "--json")
    validated = cli("manifest", "validate", manifest, "--json")
    plan = cli("batch", "plan", manifest, "--json")
    for done in (failures, validated, plan, cli("batch", "gc", run.url, "--json")):
        check(done)
    (failure,) = failures.json["failures"]
    assert (failure["id"], failure["error"]["message"]) == (f"b {HOSTILE}", HOSTILE)
    assert validated.json["manifest"] == str(manifest)
    assert (3, f"word {HOSTILE}") in {(found["row"], found["id"]) for found in validated.json["problems"]}
    assert {bad["id"] for bad in plan.json["plan"]["bad"]} >= {f"seed {HOSTILE}", f"empty {HOSTILE}"}


def test_a_log_is_passed_on_by_lines(cli: Cli, run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    log = f"one\n\ttwo {HOSTILE}\n海 done\n"
    client = SimpleNamespace(get_job_logs=lambda id: log)
    monkeypatch.setattr(jobs, "_job_of", lambda store: (client, "job"))
    monkeypatch.setattr(machine, "details", lambda *_: None)
    done = cli("batch", "logs", run.url)
    assert done.out == log.replace(HOSTILE, SHOWN.replace(r"\n", "\n"))


def test_an_unexpected_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError(HOSTILE)

    monkeypatch.setattr("motionecho.cli.settings.pair_spec", broken)
    done = cli("config", "show", "--set", f"note={HOSTILE}")
    check(done)
    assert done.err.startswith(f"unexpected ZeroDivisionError: {SHOWN}\n")


@pytest.fixture
def whole_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a process sets up for itself, taken back afterwards."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    factory = logging.getLogRecordFactory()
    make_visible()
    yield
    logging.setLogRecordFactory(factory)


def traceback_of(problem: Exception) -> None:
    try:
        raise problem
    except type(problem):
        sys.excepthook(*sys.exc_info())


@pytest.mark.usefixtures("whole_process")
@pytest.mark.parametrize(
    "other",
    [
        lambda: logging.getLogger("some.library").warning("cannot read %s", HOSTILE),
        lambda: sys.stderr.write(warnings.formatwarning(HOSTILE, UserWarning, f"{HOSTILE}.py", 1)),
        lambda: traceback_of(ValueError(HOSTILE)),
    ],
    ids=["log", "warning", "traceback"],
)
def test_what_libraries_say(other: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("some.library").addHandler(handler)
    other()
    logging.getLogger("some.library").removeHandler(handler)
    said = capsys.readouterr().err
    assert "owned" in said
    assert steers(said) == set()


def test_the_doors(capsys: pytest.CaptureFixture[str]) -> None:
    put(HOSTILE, "two")
    say(HOSTILE)
    put(table([{"id": HOSTILE, "n": 1}, {"id": "x", "n": 22}]))
    put_json(value=HOSTILE)
    said = capsys.readouterr()
    width = len(SHOWN)
    assert said.err == f"{SHOWN}\n"
    *lines, object_ = said.out.splitlines()
    assert lines == [SHOWN, "two", f"{'id':{width}}   n", f"{SHOWN}   1", f"{'x':{width}}  22"]
    assert json.loads(object_)["value"] == HOSTILE
