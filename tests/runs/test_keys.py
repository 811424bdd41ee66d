"""Keys change with whatever changes a result, and with nothing else."""

from typing import Any

import pytest

from motionecho.runs.keys import KEY_LENGTH, digest, file_digest, motion_key, sample_key, score_key

MOTION: dict[str, Any] = {
    "reference_sha256": "ab" * 32,
    "window": {"start": 0.0, "duration": None, "fps": None},
    "frames": 16,
    "height": 64,
    "width": 64,
    "fit": "crop",
    "inversion": {"inversion_steps": 25},
    "pair": "toy",
    "weights": {"vae": "1", "teacher": "2"},
}
SAMPLE: dict[str, Any] = {
    "motion": "m" * KEY_LENGTH,
    "prompt": "a red star",
    "negative_prompt": None,
    "seed": 1,
    "settings_digest": "s",
    "dtype": "auto",
}


def motion(**changes: Any) -> str:
    values = MOTION | changes
    return motion_key(values.pop("reference_sha256"), **values)


def sample(**changes: Any) -> str:
    values = SAMPLE | changes
    return sample_key(values.pop("motion"), **values)


def test_digest_ignores_order_and_keeps_types_apart() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest(value) for value in (1, "1", 1.5, True, None, [1], {"1": 1}, "ä")}) == 8
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


@pytest.mark.parametrize(
    "change",
    [
        {"reference_sha256": "cd" * 32},
        {"window": {"start": 1.0, "duration": None, "fps": None}},
        {"frames": 24},
        {"height": 32},
        {"width": 32},
        {"fit": "pad"},
        {"inversion": {"inversion_steps": 50}},
        {"pair": "other"},
        {"weights": {"vae": "1", "teacher": "3"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_motion_key_depends_on(change: dict[str, Any]) -> None:
    assert motion(**change) != motion() == motion()


@pytest.mark.parametrize(
    "change",
    [
        {"motion": "n" * KEY_LENGTH},
        {"prompt": "a red star "},
        {"negative_prompt": "blurry"},
        {"seed": 2},
        {"settings_digest": "t"},
        {"dtype": "float16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_sample_key_depends_on(change: dict[str, Any]) -> None:
    assert sample(**change) != sample() == sample()


def test_score_key_depends_on_metric_and_version() -> None:
    keys = {
        score_key("k", "a", "1"),
        score_key("k", "a", "2"),
        score_key("k", "b", "1"),
        score_key("l", "a", "1"),
    }
    assert len(keys) == 4


def test_keys_are_file_names_on_every_system() -> None:
    for key in (motion(), sample(), score_key("k", "a", "1")):
        assert len(key) == KEY_LENGTH
        assert set(key) <= set("0123456789abcdef")


def test_file_digest_is_of_bytes_not_of_names(tmp_path: Any) -> None:
    for name, data in (("a.mp4", b"x"), ("b.mp4", b"x"), ("c.mp4", b"y")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (file_digest(str(tmp_path / name)) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert a == b != c
