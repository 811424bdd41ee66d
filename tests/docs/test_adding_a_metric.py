"""The worked example of docs/adding_a_metric.md, taken from the page and used as any other metric."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from motionecho.config import Placement, RunSettings
from motionecho.gate import Gate
from motionecho.metrics import METRICS, Item, MetricSpec, load_metrics
from motionecho.models.registry import pair_spec
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines import plan
from pipelines.scoring import run as scoring
from pipelines.scoring import stage
from pipelines.scoring.source import read_source
from pipelines.sheet import remark
from pipelines.tasks import Job
from pipelines.workers import stages
from tests.cli.conftest import Done, cli, clip

__all__ = ["cli", "clip"]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_metric.md").read_text(encoding="utf-8")
CODE, LINE = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (motionecho .*)", PAGE, flags=re.M)]
GATE = COMMANDS[1][-1]


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the page where it says that it is, and its one line in METRICS."""
    spec = eval(LINE, {"MetricSpec": MetricSpec})
    name = spec.make.split(":")[0]
    assert f"`{name.replace('.', '/')}.py`" in PAGE
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(CODE, vars(module))
    monkeypatch.setitem(METRICS, spec.name, spec)


def test_the_example_is_small_and_its_line_is_one() -> None:
    assert len((CODE + LINE).splitlines()) <= 40
    assert LINE.count("\n") == 1


def test_its_figures_are_right() -> None:
    (metric,), _ = load_metrics(["brightness"])
    levels = np.array([10, 20, 20, 14], np.uint8)[:, None, None, None]
    video = np.broadcast_to(levels, (4, 8, 8, 3))
    row = metric(Item(video, None, "", 8.0))
    assert row["brightness_change"] == pytest.approx(16 / 3)
    assert (row["brightness_mean"], row["brightness_status"]) == (16, "ok")
    short = metric(Item(video[:1], None, "", 8.0))
    assert (short["brightness_change"], short["brightness_status"]) == (None, "too_few_frames")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[1:3]))
def test_the_commands_exist_with_their_options(words: list[str], cli: Callable[..., Done]) -> None:
    names = [word for word in words[1:3] if word.isalpha()]
    offered = cli(*names, "--help").out
    assert all(word in offered for word in words if word.startswith("--"))


def test_the_commands_take_its_name_and_its_gate(cli: Callable[..., Done], tmp_path: Path) -> None:
    options = COMMANDS[1][COMMANDS[1].index("--metric") :]
    planned = cli("batch", "plan", ROOT / "manifests" / "demo.csv", "--out", tmp_path / "run", *options)
    assert planned.code == 0, planned.err
    for option, misspelt, meant in (
        ("--metric", "brigthness", "brightness"),
        ("--gate", "birghtness_change<=4", "brightness_change"),
    ):
        assert f'did you mean "{meant}"' in cli("batch", "plan", "m.csv", option, misspelt).sentence()


def test_a_gate_makes_again_what_it_finds_wanting(
    cli: Callable[..., Done], clip: Path, tmp_path: Path
) -> None:
    assert str(Gate.parse(GATE)) == "brightness_change<=4, 3 tries"
    assert Gate.parse("brightness_mean>=100").metric == "brightness"
    quick = ("--set", "steps=1", "--set", "inversion_steps=1", "--set", "activation=never")
    done = cli(
        "generate", clip, "a red star on a blue background", "-o", tmp_path / "v.mp4", *quick,
        "--gate", "brightness<=0", "--gate-tries", "2", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    tries = done.json["tries"]
    assert [line["reached"] for line in tries] == [False, False]
    assert min(line["brightness_change"] for line in tries) == next(
        line["brightness_change"] for line in tries if line["kept"]
    )


def test_a_run_scores_with_it(clip: Path, tmp_path: Path) -> None:
    place = Placement(device="cpu")
    settings = RunSettings(
        pair="toy", echo=pair_spec("toy").defaults, metrics=("brightness",), placement=place
    )
    table = tmp_path / "m.csv"
    table.write_text(f"reference,prompt\n{clip},a red star on a blue background")
    store = RunStore(str(tmp_path / "run"))
    (task,) = plan.plan_generation(str(table), settings, store.url).todo
    video = store.put_blob(store.video_uri(task.key, "1-a"), str(clip))
    score = stages.build(("score",), settings, store.url)["score"]
    said: dict[str, Any] = score(dataclasses.replace(task, video=video.uri))
    assert said["scores"]["brightness"]["brightness_status"] == "ok"
    assert said["metrics"]["brightness"]["version"] == "1"


def test_videos_that_exist_are_scored_with_it_and_the_sheet_says_so(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text(f"id,video\none,{clip}")
    source = read_source(str(tmp_path / "videos.csv"))
    asked = scoring.Scoring.of(["brightness"], "crop", "cpu")
    url = str(tmp_path / "scores")
    (task,) = scoring.plan_scoring(source, asked, url)[0].todo
    job = Job(task)
    job.result = stage.build(("score",), asked, url)["score"](task)
    record: Record = scoring.make_record(job, None, asked, {}, {})
    change = record.scores["brightness"]["brightness_change"]
    assert isinstance(change, float)
    assert remark(record) == f"one: brightness_change {change:.2f}"
