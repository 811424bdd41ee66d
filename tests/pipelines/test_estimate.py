"""What is left costs what samples cost: by records, with an interval, and by a pilot that leaves nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_stages as fakes
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import UserError
from motionecho.manifest import BadRow
from motionecho.runs.notes import Blob, Host
from motionecho.runs.records import Record
from pipelines import estimate as module
from pipelines.estimate import estimate, measured, of_run, pilot
from pipelines.execution import Execution, Summary
from pipelines.generate import plan_generation, run
from pipelines.plan import together

Manifest = Callable[..., str]
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
ROWS = [("fine one", "a.mp4"), ("fine two", "a.mp4"), ("fine three", "b.mp4"), ("fine four", "b.mp4")]


def made(
    seconds: float, device: str, invert: float | None = None, train: float = 0.0, **where: Any
) -> Record:
    echo = {"strategy": "vmc"} if train else {}
    motion = Blob("m", bytes=None if invert is None else 500)
    return Record(
        key="k", id="i", status="ok", inputs={}, motion=motion, where=Host(name="h", device=device, **where),
        video=Blob("v", bytes=100), stats=Blob("s", bytes=10), echo=echo,
        seconds={"invert": invert or 0.01, "train": train, "generate": seconds - 1, "score": 1.0},
    )  # fmt: skip


def test_means_are_device_seconds() -> None:
    cost = measured([made(10, "cpu", 20, threads=4), made(14, "cpu", threads=4)], "here")
    assert cost is not None
    assert (cost.n, cost.unit, cost.sample_s, cost.inversion_s) == (2, "CPU", 48, {"motionclone": 80})
    assert (cost.sample_bytes, cost.motion_bytes) == (110, 500)
    shared = measured([made(10, "NVIDIA H100", gpus=0.5)], "here")
    assert shared is not None
    assert (shared.unit, shared.sample_s, shared.spread, shared.inversion_s) == ("GPU", 5, None, {})
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


def test_every_motion_costs_what_its_own_strategy_does(manifest: Manifest, tmp_path: Path) -> None:
    trained = RunSettings(pair="toy", echo=EchoConfig.of(strategy="vmc"))
    table, out = manifest(*ROWS), str(tmp_path / "out")
    works = [plan_generation(table, settings, out) for settings in (SETTINGS, trained)]
    both = measured([made(10, "NVIDIA H100", 30), made(10, "NVIDIA H100", 1, train=500)], "here")
    assert both is not None
    assert both.inversion_s == {"motionclone": 30, "vmc": 501}
    expected = estimate(together(works), both)
    assert expected.hours == pytest.approx((8 * 10 + 2 * 30 + 2 * 501) / 3600, abs=1e-4)
    assert "left out" not in expected.basis
    plain = measured([made(10, "NVIDIA H100", 30)], "here")
    assert plain is not None
    blind = estimate(together(works), plain)
    assert blind.hours == pytest.approx((8 * 10 + 2 * 30) / 3600, abs=1e-4)
    assert blind.basis.endswith("motions by vmc left out, as none of them made one")


def test_other_runs_say_how_they_differ(tmp_path: Path) -> None:
    assert of_run(str(tmp_path / "none")) is None
    with pytest.raises(UserError, match="no run at"):
        of_run(str(tmp_path / "none"), SETTINGS)


@pytest.mark.usefixtures("embedded_ray")
def test_records_and_pilot_are_sources(manifest: Manifest, tmp_path: Path) -> None:
    table, out = manifest(*ROWS), str(tmp_path / "out")
    work = plan_generation(table, SETTINGS, out)
    cost = pilot(work, SETTINGS, out, Execution(workers=1), 3, fakes.FACTORY)
    assert (cost.n, cost.source, {*cost.inversion_s}) == (3, "of a pilot", {"motionclone"})
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


@pytest.mark.usefixtures("embedded_ray")
def test_a_pilot_that_ended_early_is_no_basis(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, execution = str(tmp_path / "out"), Execution(workers=1, backoff_s=0.01)
    rows = [("fine one", "a.mp4"), *((f"full {n}", "a.mp4") for n in range(3))]
    work = plan_generation(manifest(*rows), SETTINGS, out)
    with pytest.raises(UserError, match=r"the pilot was stopped.*no room to write"):
        pilot(work, SETTINGS, out, execution, 4, fakes.FACTORY)

    ends: list[Summary] = []

    def interrupted(*what: Any, **how: Any) -> Summary:
        """Carry it out whole, and say that somebody interrupted it."""
        ends.append(replace(run(*what, **how), interrupted=True))
        return ends[0]

    monkeypatch.setattr(module, "run", interrupted)
    fine = plan_generation(manifest(*ROWS, name="fine.csv"), SETTINGS, out)
    unread = replace(fine, unread=[BadRow(9, "gone", "nobody answers", {}, "reference")])
    with pytest.raises(KeyboardInterrupt, match="the pilot was interrupted"):
        pilot(unread, SETTINGS, out, execution, 2, fakes.FACTORY)
    assert (ends[0].committed, ends[0].unread, ends[0].total) == (2, 0, 2)
