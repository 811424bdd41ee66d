"""Records of what happened, also where a record cannot hold what happened."""

import pytest

from motionecho.config import EchoConfig
from motionecho.manifest import Sample
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from pipelines.driver.outcomes import Recorder, writable
from pipelines.tasks import Job, MakeSample, Task


@pytest.mark.parametrize(
    "fields",
    [
        {"scores": {"m": {"figure": float("nan")}}},
        {"inputs": {"note": "half \ud83d"}},
        {"seconds": {"sample": float("inf")}},
        {"seconds": {"sample": "a while"}},
        {"motion_key": "m"},  # made, and without a video
    ],
)
def test_a_record_that_cannot_be_written_is_its_samples_failure(fields: dict[str, object]) -> None:
    whole = {"key": "a" * 32, "id": "x", "status": "ok", "inputs": {"prompt": "p"}, "generation": 2}
    made = writable(Record(**(whole | fields)))
    assert (made.status, made.id, made.key, made.generation) == ("failed", "x", "a" * 32, 2)
    assert made.error is not None
    assert made.error.name == "Unwritable"
    assert Record.from_json(made.to_json().encode()) == made


def test_any_other_record_stays_as_it_is() -> None:
    record = Record(key="a" * 32, id="x", status="ok", inputs={"prompt": "p"})
    assert writable(record) is record


def test_a_record_names_the_weights_that_its_method_needs() -> None:
    make = Recorder({}, {"teacher": "a"}, {"structure": {"teacher": "a", "control": "b"}})

    def weights(method: str) -> dict[str, str]:
        config = EchoConfig.of(method=method)
        payload = MakeSample(Sample("x", "clip.mp4", "a fox", 0), "0" * 64, "", "m" * 32, config)
        return make.record(Job(Task("a" * 32, "m" * 32, payload)), ErrorNote(name="Bad")).weights

    assert weights("teacher") == {"teacher": "a"}
    assert weights("structure") == {"teacher": "a", "control": "b"}
