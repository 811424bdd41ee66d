"""What people write wrongly is one sentence that names the key, the value and what is wanted."""

import re
from typing import Any

import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import UserError
from motionecho.strict import read_as
from pipelines.machines.resources import Resources


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"steps": "1e1"}, 10),
        ({"steps": " 4 "}, 4),
        ({"steps": 4.0}, 4),
        ({"endpoint_guidance": " yes"}, True),
        ({"teacher_fraction": " None "}, None),
        ({"layers": "a, b,"}, ("a", "b")),
        ({"activation": " never "}, "never"),
        ({"noise_blend": " 1e-2 "}, 0.01),
    ],
)
def test_text_is_read_as_people_write_it(change: dict[str, Any], value: object) -> None:
    (name,) = change
    assert EchoConfig.of(**change).to_dict()[name] == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"layers": 3}, "setting layers=3 is no list of names"),
        ({"steps": float("inf")}, "setting steps=inf is not a whole number"),
        ({"steps": [4]}, "setting steps=[4] is not a whole number"),
        ({"steps": None}, "setting steps=None is not a whole number"),
        ({"steps": "4.5"}, 'setting steps="4.5" is not a whole number'),
        ({"noise_blend": True}, "setting noise_blend=True is not a number"),
        ({"teacher_fraction": 2}, "setting teacher_fraction=2 is out of range: it has to be between 0 and 1"),
        ({"window": 0}, "setting window=0 is out of range: it has to be at least 1"),
        ({"renoise": "frsh"}, 'setting renoise="frsh" is none of fresh, predicted (did you mean "fresh"?)'),
        (
            {"strategy": "motionclon"},
            'setting strategy="motionclon" is no strategy (did you mean "motionclone"?)',
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as told:
        EchoConfig().updated(change)
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"resources": {"big": -1}}, "x: big=-1 is out of range: it has to be at least 0"),
        ({"resources": {"big": "many"}}, 'x: big="many" is not a number'),
        ({"memory": -5}, "x: memory=-5 is out of range: it has to be at least 1"),
        ({"memory": "2.5.3GiB"}, 'x: memory="2.5.3GiB" is no size such as 8GiB'),
        ({"memory": 1.5}, "x: memory=1.5 is no size such as 8GiB"),
        ({"cpus": -1}, "x: cpus=-1 is out of range: it has to be at least 0"),
        ({1: 2}, 'x: unknown key "1"'),
        ([1], "x has to be a mapping, not [1]"),
    ],
)
def test_a_wrong_stage_is_one_sentence(data: Any, sentence: str) -> None:
    with pytest.raises(UserError) as told:
        read_as(Resources, data, "x")
    assert str(told.value).startswith(sentence)


def test_settings_of_a_run_are_read_strictly() -> None:
    plain = RunSettings(pair="toy", echo=EchoConfig())
    assert RunSettings.from_dict(plain.to_dict()) == plain
    for change, sentence in (
        ({"fit": "corp"}, 'did you mean "crop"'),
        ({"fitt": "crop"}, 'unknown key "fitt"'),
    ):
        with pytest.raises(UserError, match=sentence):
            RunSettings.from_dict(plain.to_dict() | change)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"metrics": []}, 'settings: the key "pair" is missing'),
        ({"pair": "toy", "echo": 5}, "echo has to be a mapping of settings, not 5"),
        ({"pair": "toy", "metrics": 5}, "metrics=5 is no list of names"),
        ({"pair": "toy", "weights": 5}, "weights=5 is no list of names"),
    ],
)
def test_settings_that_are_no_settings_are_one_sentence(written: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        RunSettings.from_dict(written)
