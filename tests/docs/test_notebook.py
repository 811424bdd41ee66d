"""The notebook page's cell runs as it stands, and what it makes shows itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import motionecho
from motionecho.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cell() -> str:
    page = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    return str(found)


@pytest.fixture(scope="module")
def names(cell: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return what the cell left behind, run where a user would."""
    out = tmp_path_factory.mktemp("cell") / "star.mp4"
    left: dict[str, object] = {}
    exec(cell.replace("manifests/", f"{ROOT}/manifests/").replace("star.mp4", str(out)), left)
    return left | {"out": out}


def test_the_cell_is_of_a_notebook_s_size(cell: str) -> None:
    assert len(re.findall(r"^(?:\w.*= |video|import)", cell, flags=re.M)) <= 10


def test_the_video_plays_in_the_cell(names: dict[str, object]) -> None:
    video = names["video"]
    assert isinstance(video, motionecho.Made)
    assert video.frames.shape == (16, 64, 64, 3)
    html = video._repr_html_()
    assert html.startswith('<video src="data:video/mp4;base64,AAAA')  # how every mp4 file begins
    assert "autoplay loop muted controls" in html
    assert Path(str(names["out"])).stat().st_size > 1000


def test_figures_are_those_of_the_command(names: dict[str, object]) -> None:
    video, clip, figures = (names[name] for name in ("video", "clip", "figures"))
    assert isinstance(figures, dict)
    assert figures["motion_fidelity_status" if "motion_fidelity_status" in figures else "mf_status"] == "ok"
    assert 0 <= figures["toy_text"] <= 1
    assert isinstance(video, motionecho.Made)
    written = motionecho.score(str(names["out"]), clip, video.prompt, metrics=["toy_text"])  # type: ignore[arg-type]
    assert written["toy_text"] == pytest.approx(figures["toy_text"], abs=0.1)  # as the file has it


def test_every_step_was_told(names: dict[str, object]) -> None:
    pair, motion, config = (names[name] for name in ("pair", "motion", "config"))
    told: list[int] = []
    prompt, note = "a green ring on a white background", lambda step: told.append(step.step)
    made = motionecho.generate(pair, motion, prompt, config=config, on_step=note)  # type: ignore[arg-type]
    assert told == [0, 1, 2, 3] == [step.step for step in made.trace.steps]


def test_a_mistake_is_one_sentence(names: dict[str, object]) -> None:
    with pytest.raises(UserError, match='did you mean "sanity"'):
        motionecho.score(names["video"], metrics=["sanitty"])  # type: ignore[arg-type]


def test_every_name_of_the_face_is_there() -> None:
    for name in motionecho.__all__:
        assert getattr(motionecho, name).__name__ == name
    assert set(motionecho.__all__) < set(dir(motionecho))
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        _ = motionecho.generat


def test_importing_is_instant_and_loads_nothing() -> None:
    heavy = ["torch", "numpy", "pydantic", "diffusers", "ray", "motionecho.config"]
    code = f"import sys, motionecho; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
