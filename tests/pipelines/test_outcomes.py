"""Records of what happened, also where a record cannot hold what happened."""

import pytest

from motionecho.runs.records import Record
from pipelines.driver.outcomes import writable


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
