"""Packages of others add strategies and metrics: a small distribution lies on the path, as pip leaves one."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from motionecho.config import STRATEGIES, EchoConfig, RunSettings
from motionecho.errors import Transient, UserError
from motionecho.guidance.strategy import as_planned
from motionecho.manifest import Sample
from motionecho.metrics import METRICS, load_metrics, plugged_in, usual_metrics
from motionecho.metrics.headline import _unmeasured as headline_of
from motionecho.models.registry import pair_spec
from motionecho.plugins import distributions
from motionecho.runs.provenance import versions
from pipelines.keying import Keying, kept_of
from pipelines.reporting.samples import _spoken
from pipelines.tasks import failure_of
from tests.cli.conftest import Done, cli, clip

__all__ = ["cli", "clip"]
DOCS = Path(__file__).parents[1] / "docs"
METRIC, STRATEGY = (
    re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), flags=re.M | re.S)[0]
    for page in ("adding_a_metric.md", "adding_a_strategy.md")
)
SPEC = """
from motionecho.metrics import MetricSpec
from motionecho.runs.schema import Column

figures = (Column("brightness_change", "float64", "how much the light changes", "grey levels"),)
BRIGHTNESS = MetricSpec(
    "brightness", "tinyecho_light:Brightness", figures=figures, headlines=("brightness_change",)
)
"""
POINTS = """
[motionecho.metrics]
brightness = tinyecho_spec:BRIGHTNESS

[motionecho.strategies]
whole_maps = tinyecho_maps:strategy
"""


def install(folder: Path, name: str, version: str, points: str, **modules: str) -> None:
    """Lay a distribution into a folder of the path, as an installer does."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(points)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    modules = {"tinyecho_light": METRIC, "tinyecho_spec": SPEC, "tinyecho_maps": STRATEGY}
    install(folder, "tinyecho", "1.2", POINTS, **modules)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def broken(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside it one whose modules do not import, one that takes a name of ours, and a twin."""
    points = "[motionecho.metrics]\nmoon = broken_moon:SPEC\nsanity = broken_moon:SPEC\nodd = math:pi\n"
    points += "lost = tinyecho_spec:LOST\n"
    points += "[motionecho.strategies]\nmoonwalk = broken_moon:strategy\nwhole_maps = broken_moon:other\n"
    lost = 'from motionecho.metrics import MetricSpec\nLOST = MetricSpec("lost", "broken_lost:Nowhere")\n'
    modules = {"broken_moon": "import a_package_that_nobody_has", "broken_lost": ""}
    install(tmp_path / "more", "broken-moon", "0.1", points, **modules)
    (site / "tinyecho_spec.py").write_text(SPEC + lost)
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    monkeypatch.delitem(sys.modules, "tinyecho_spec", raising=False)


def test_a_metric_of_a_package_is_one_of_the_metrics(site: Path, cli: Callable[..., Done]) -> None:
    (row,) = [
        row for row in cli("metrics", "list", "--json").json["metrics"] if row["metric"] == "brightness"
    ]
    assert (row["from"], row["figures"], row["usual"]) == ("tinyecho 1.2", "brightness_change", False)
    assert "tinyecho 1.2" in cli("metrics", "list").out
    (metric,), skipped = load_metrics(["brightness"])
    assert (metric.name, metric.version, skipped) == ("brightness", "1", {})
    assert plugged_in()["result_brightness_change"] == "float64"
    assert METRICS.broken() == {}
    assert re.search(
        r"^strategy  whole_maps +of tinyecho 1\.2$", cli("models", "show", "toy").out, flags=re.M
    )
    (look,) = (
        each for each in cli("doctor", "--no-ray", "--json").json["checks"] if each["name"] == "plugins"
    )
    assert (look["state"], look["found"]) == ("ok", "strategies and metrics are added by tinyecho 1.2")


def test_what_a_package_adds_is_there_only_while_it_is_installed(cli: Callable[..., Done]) -> None:
    assert "brightness" not in METRICS
    assert "whole_maps" not in STRATEGIES
    assert all(row["from"] == "motionecho" for row in cli("metrics", "list", "--json").json["metrics"])
    assert "tinyecho" not in versions()


@pytest.mark.parametrize("words", [["--help"], ["batch", "submit", "--help"], ["--version"]])
def test_help_does_not_look_for_packages(words: list[str]) -> None:
    code = "import importlib.metadata as m; m.entry_points = None; "
    code += f"from motionecho.cli.main import run; run({words})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "otionecho" in done.stdout


def test_its_release_is_in_a_motion_s_key_and_in_records(site: Path, tmp_path: Path) -> None:
    reference = EchoConfig.of(strategy="whole_maps").reference
    kept = kept_of(reference)
    assert kept == reference.to_dict() | {"strategy_of": "tinyecho 1.2"}
    assert "strategy_of" not in kept_of(EchoConfig.of(strategy="moft").reference)
    assert (distributions(), versions()["tinyecho"]) == ({"tinyecho": "1.2"}, "1.2")
    (site / "tinyecho-1.2.dist-info").rename(site / "tinyecho-1.3.dist-info")
    about = site / "tinyecho-1.3.dist-info" / "METADATA"
    about.write_text(about.read_text().replace("1.2", "1.3"))
    sys.path.append(str(tmp_path))  # the path is another: it is searched again
    try:
        assert kept_of(reference)["strategy_of"] == "tinyecho 1.3"
    finally:
        sys.path.remove(str(tmp_path))


def test_a_video_is_made_by_its_strategy_and_scored_by_its_metric(
    site: Path, cli: Callable[..., Done], clip: Path, tmp_path: Path
) -> None:
    done = cli(
        "generate", clip, "a red star on a blue background", "-o", tmp_path / "v.mp4",
        "--strategy", "whole_maps", "--set", "steps=1", "--set", "inversion_steps=1",
        "--set", "activation=never",
        "--gate", "brightness<=255", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert 0 <= done.json["tries"][0]["brightness_change"] <= 255


def test_a_broken_package_is_one_sentence_and_in_nobody_s_way(
    broken: None, cli: Callable[..., Done], tmp_path: Path
) -> None:
    sentence = (
        'metric "moon" of broken-moon 0.1 cannot be used: ModuleNotFoundError: No module named '
        "'a_package_that_nobody_has'; mend that package or uninstall it"
    )
    listed = cli("metrics", "list", "--json").json
    assert {row["metric"] for row in listed["metrics"]} >= {"sanity", "brightness", "lost"}
    assert listed["broken"]["moon"] == sentence
    assert listed["broken"]["sanity"].endswith("broken-moon 0.1 is not used: motionecho has its own")
    assert "math:pi is no MetricSpec of the name odd" in listed["broken"]["odd"]
    assert f"warning: {sentence}" in cli("metrics", "list").err
    assert usual_metrics()[0] == "sanity"
    refused = cli(
        "batch", "plan", DOCS.parent / "manifests" / "demo.csv", "--out", tmp_path / "r", "--metric", "moon"
    )
    assert (refused.code, refused.sentence()) == (2, f"error: {sentence}")
    (look,) = (
        each for each in cli("doctor", "--no-ray", "--json").json["checks"] if each["name"] == "plugins"
    )
    assert (look["state"], sentence in look["found"]) == ("warn", True)
    assert 'strategy "moonwalk" of broken-moon 0.1' in look["found"]
    assert headline_of([{"status": "ok", "moon_skipped": "no moon", "sanity_flicker": 0.0}]) == {
        "moon": "no moon"
    }
    assert "sanity_flicker" in _spoken("sanity")
    assert not _spoken("moon")
    assert load_metrics(["lost"])[1]["lost"].startswith("broken-moon 0.1 cannot make it: AttributeError")


def test_a_broken_strategy_is_refused_before_anything_starts(broken: None, cli: Callable[..., Done]) -> None:
    demo = DOCS.parent / "manifests" / "demo.csv"
    for word, sentence in (
        (
            "moonwalk",
            'strategy "moonwalk" of broken-moon 0.1 cannot be used: ModuleNotFoundError: No module named',
        ),
        (
            "whole_maps",
            'strategy "whole_maps" is added by broken-moon 0.1 and tinyecho 1.2: uninstall all but one',
        ),
    ):
        done = cli("batch", "plan", demo, "--strategy", word)
        assert done.code == 2
        assert sentence in done.err
        assert "Traceback" not in done.err
    assert pair_spec("toy").config(changes={"strategy": "moft"}).reference.strategy == "moft"


def test_a_node_without_the_package_is_at_fault_and_not_the_row(
    site: Path, clip: Path, request: pytest.FixtureRequest
) -> None:
    """Each attempt there asks for another node: the task knows what it was planned with."""
    spec = pair_spec("toy")
    settings = RunSettings(pair="toy", echo=spec.config(changes={"strategy": "whole_maps"}))
    task = Keying(settings, spec).task(Sample("a", str(clip), "a red star", 0), "0" * 64, "")
    assert task.payload.giver == "tinyecho 1.2"
    as_planned("whole_maps", "tinyecho 1.2")
    as_planned("moft", "")
    for giver, said in (
        ("tinyecho 1.1", "with that of tinyecho 1.1, and this node has tinyecho 1.2"),
        ("", "with that of motionecho, and this node has tinyecho 1.2"),
    ):
        with pytest.raises(Transient, match=said):
            as_planned("whole_maps", giver)
    with pytest.raises(Transient, match="this node has no such package: every node needs the same"):
        as_planned("nowhere", "tinyecho 1.2")
    request.getfixturevalue("broken")
    with pytest.raises(Transient, match=r"moonwalk.*cannot be used"):
        as_planned("moonwalk", "broken-moon 0.1")
    assert failure_of(Transient("x"), "generate").kind == "infra"


def test_what_would_train_is_refused(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that nobody would follow is not ignored."""
    import tiny

    from motionecho.guidance.strategy import strategy_of

    points = "[motionecho.strategies]\ntrainer = tinyecho_trainer:strategy\n"
    source = "from dataclasses import replace\nimport tinyecho_maps\n"
    source += "def strategy(*given):\n    return replace(tinyecho_maps.strategy(*given), recipe=object())\n"
    install(tmp_path / "more", "trainer", "2", points, tinyecho_trainer=source)
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    reference = tiny.CONFIG.updated({"strategy": "trainer"}).reference
    with pytest.raises(UserError, match='strategy "trainer" of trainer 2 has a recipe'):
        strategy_of(tiny.pair().student, reference)


@pytest.mark.slow
def test_workers_of_a_batch_find_both(
    site: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.csv").write_text(f"reference,prompt\n{clip},a red star on a blue background\n")
    monkeypatch.setenv("PYTHONPATH", f"{DOCS.parent}:{site}")
    words = ["batch", "submit", "m.csv", "--out", "run", "--strategy", "whole_maps", "--metric", "brightness"]
    words += ["--set", "steps=1", "--set", "inversion_steps=1", "--no-canary"]
    done = subprocess.run(
        [sys.executable, "-m", "motionecho", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "run" / "records").rglob("*.json"))
    assert record["versions"]["tinyecho"] == "1.2"
    assert record["echo"]["strategy"] == "whole_maps"
    assert record["metrics"]["brightness"]["version"] == "1"
    (part,) = (tmp_path / "run" / "results").glob("*.parquet")
    assert pq.read_table(part)["result_brightness_change"][0].as_py() >= 0
