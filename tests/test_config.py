"""Settings: strict about names, types and ranges, and the same after a round trip."""

import pytest

from motionecho.config import EchoConfig, RunSettings, resolve_name
from motionecho.errors import UserError


def test_text_and_values_are_parsed_by_type() -> None:
    config = EchoConfig().updated(
        {
            "steps": "4",
            "teacher_weight": 1,
            "layers": "a, b",
            "teacher_fraction": "none",
            "endpoint_guidance": "off",
        }
    )
    assert (config.student.steps, config.teacher.teacher_weight) == (4, 1.0)
    assert config.reference.layers == ("a", "b")
    assert config.teacher.teacher_fraction is None
    assert config.teacher.endpoint_guidance is False


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("eta", "student_strength"),
        ("lambda", "teacher_weight"),
        ("p", "guided_fraction"),
        ("N_max", "teacher_max_steps"),
        ("delta_1", "activation_threshold"),
        ("g", "noise_blend"),
        ("W", "window"),
        ("teacher-weight", "teacher_weight"),
    ],
)
def test_paper_symbols_are_names_too(symbol: str, name: str) -> None:
    assert resolve_name(symbol) == name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stepz": 1}, 'did you mean "steps"'),
        ({"steps": "4.5"}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"noise_blend": "nan"}, "not a number"),
        ({"guided_fraction": 2}, "between 0 and 1"),
        ({"steps": 0}, "between 1 and 200"),
        ({"gradient": "row"}, 'did you mean "raw"'),
        ({"endpoint_guidance": "maybe"}, "neither true nor false"),
    ],
)
def test_mistakes_are_one_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        EchoConfig().updated(change)


@pytest.mark.parametrize(
    "change", [{"noise_blend": 0.01}, {"g": 1}, {"noise_blend": 0, "initial_noise": "low_frequencies"}]
)
def test_sampling_cannot_begin_with_inverted_noise_that_is_not_made(change: dict[str, object]) -> None:
    sentence = r"^setting inversion_steps=0 makes no inverted noise .* needs noise_blend=0, not [\d.]+, and"
    without = EchoConfig.of(inversion_steps=0, noise_blend=0)
    with pytest.raises(UserError, match=sentence):
        without.updated(change)
    with pytest.raises(UserError, match=sentence):
        EchoConfig.of(**change).updated({"inversion_steps": "0"})
    with pytest.raises(UserError, match=sentence):
        RunSettings.from_dict({"pair": "toy", "echo": change | {"inversion_steps": 0}})
    assert without.updated(change | {"inversion_steps": 1}).student.begins_inverted
    assert not without.student.begins_inverted


def test_constructor_checks_too() -> None:
    with pytest.raises(UserError, match="out of range"):
        EchoConfig.of(teacher_weight=1.5)


def test_run_settings_round_trip() -> None:
    settings = RunSettings(pair="toy", echo=EchoConfig.of(steps=4, layers=("x",)), metrics=("sanity",))
    assert RunSettings.from_dict(settings.to_dict()) == settings


def test_motion_depends_on_inversion_settings_alone() -> None:
    base = EchoConfig()
    assert base.updated({"steps": 4, "eta": 1}).reference.to_dict() == base.reference.to_dict()
    assert base.updated({"inversion_steps": 10}).reference.to_dict() != base.reference.to_dict()


@pytest.mark.parametrize(
    ("fraction", "steps", "count"), [(0.0, 8, 0), (0.01, 8, 1), (0.5, 8, 4), (1.0, 8, 8)]
)
def test_share_of_steps(fraction: float, steps: int, count: int) -> None:
    assert EchoConfig.of(steps=steps).student.steps_in(fraction) == count


def test_every_setting_is_described() -> None:
    assert all(row["doc"] for row in EchoConfig.describe())
    assert {row["name"] for row in EchoConfig.describe()} == set(EchoConfig.names())
