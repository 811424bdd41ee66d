"""The sampler's table: a row for every way to sample, with costs that are ordered as they have to be."""

from dataclasses import replace

import tiny

from motionecho.bench.sampler import MODES, by_strategy, measure
from motionecho.bench.tables import WORDS


def test_every_mode_has_its_row_and_its_cost() -> None:
    changes = {"guided_fraction": 1.0, "inversion_steps": 1}
    inversion, *rows = measure(tiny.pair(), [2, 4], repeats=1, changes=changes)
    assert inversion["mode"] == "inversion"
    assert [(row["steps"], row["mode"]) for row in rows] == [(n, mode) for n in (2, 4) for mode in MODES]
    assert all(row["seconds"] > 0 and row["peak_gib"] is None for row in rows)
    for number in (2, 4):
        plain, guided, always, adaptive = (row for row in rows if row["steps"] == number)
        assert plain["forwards"] == number
        assert guided["forwards"] == 3 * number  # a backward pass costs two forward ones
        assert always["activated"] == number
        assert 0 < adaptive["activated"] <= number  # thresholds between the losses
        assert guided["forwards"] < adaptive["forwards"] < always["forwards"]


def test_every_strategy_has_rows_with_its_training_apart() -> None:
    changes = {"guided_fraction": 1.0, "inversion_steps": 1, "train_steps": 40}
    pair, has = tiny.pair(), ("motionclone", "motiondirector", "vmc")
    pair = replace(pair, spec=replace(pair.spec, lacks=tuple(word for word in WORDS if word not in has)))
    rows = list(by_strategy(pair, 2, changes=changes | {"teacher_grid_steps": 2}))
    named = {row["mode"]: row for row in rows}
    assert {mode.partition(",")[0] for mode in named} == set(has)
    assert not any("adaptive" in mode for mode in named)
    for word in has:
        student, _, always = (row for mode, row in named.items() if mode.startswith(word))
        trains = word != "motionclone"
        assert (student["training_s"] is not None) == trains
        assert student["forwards"] < always["forwards"]
