"""What is left costs what samples cost: by records, with an interval, and by a pilot that leaves nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_stages as fakes
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import UserError
from motionecho.runs.notes import Blob, Host
from motionecho.runs.records import Record
from pipelines.estimate import estimate, measured, of_run, pilot
from pipelines.execution import Execution
from pipelines.generate import plan_generation, run

Manifest = Callable[..., str]
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
ROWS = [("fine one", "a.mp4"), ("fine two", "a.mp4"), ("fine three", "b.mp4"), ("fine four", "b.mp4")]


def made(seconds: float, device: str, invert: float | None = None, **where: Any) -> Record:
    motion = Blob("m", bytes=None if invert is None else 500)
    return Record(
        key="k", id="i", status="ok", inputs={}, motion=motion, where=Host(name="h", device=device, **where),
        video=Blob("v", bytes=100), stats=Blob("s", bytes=10),
        seconds={"invert": invert or 0.01, "generate": seconds - 1, "score": 1.0},
    )  # fmt: skip


def test_means_are_device_seconds() -> None:
    cost = measured([made(10, "cpu", 20, threads=4), made(14, "cpu", threads=4)], "here")
    assert cost is not None
    assert (cost.n, cost.unit, cost.sample_s, cost.inversion_s) == (2, "CPU", 48, 80)
    assert (cost.sample_bytes, cost.motion_bytes) == (110, 500)
    shared = measured([made(10, "NVIDIA H100", gpus=0.5)], "here")
    assert shared is not None
    assert (shared.unit, shared.sample_s, shared.spread, shared.inversion_s) == ("GPU", 5, None, None)
    assert measured([], "here") is None


def test_the_work_left_is_samples_and_motions_that_are_not_there(manifest: Manifest, tmp_path: Path) -> None:
    work = plan_generation(manifest(*ROWS), SETTINGS, str(tmp_path / "out"))
    work.motions.add(work.todo[0].payload.motion_key)
    cost = measured([made(10, "NVIDIA H100", 30), made(14, "NVIDIA H100")], "here")
    assert cost is not None
    expected = estimate(work, cost)
    assert expected.hours == pytest.approx((4 * 12 + 1 * 30) / 3600, abs=1e-4)
    assert expected.low is not None
    assert expected.high is not None
    assert expected.low < expected.hours < expected.high
    assert (expected.bytes, expected.n) == (4 * 110 + 500, 2)
    assert expected.basis == "2 samples here on NVIDIA H100"


def test_other_runs_say_how_they_differ(tmp_path: Path) -> None:
    assert of_run(str(tmp_path / "none")) is None
    with pytest.raises(UserError, match="no run at"):
        of_run(str(tmp_path / "none"), SETTINGS)


@pytest.mark.usefixtures("embedded_ray")
def test_records_and_pilot_are_sources(manifest: Manifest, tmp_path: Path) -> None:
    table, out = manifest(*ROWS), str(tmp_path / "out")
    work = plan_generation(table, SETTINGS, out)
    cost = pilot(work, SETTINGS, out, Execution(workers=1), 3, fakes.FACTORY)
    assert (cost.n, cost.source, cost.inversion_s is not None) == (3, "of a pilot", True)
    assert not Path(out).exists()
    assert work.plan.todo == 4
    failing = plan_generation(manifest(("bad one", "a.mp4"), name="bad.csv"), SETTINGS, out)
    with pytest.raises(UserError, match="no sample of the pilot succeeded: this one can never be"):
        pilot(failing, SETTINGS, out, Execution(workers=1), 3, fakes.FACTORY)

    run(manifest(*ROWS[:2], name="half.csv"), SETTINGS, out, Execution(workers=1), factory=fakes.FACTORY)
    own = of_run(out)
    assert own is not None
    assert (own.n, own.source) == (2, "of this run")
    same = of_run(out, SETTINGS)
    assert same is not None
    assert same.source == f"of {out}", "no difference where there is none"
    other = RunSettings(pair="toy", echo=EchoConfig.of(steps=5))
    like = of_run(out, other)
    assert like is not None
    assert "echo.steps is" in like.source
    assert "device" not in like.source
