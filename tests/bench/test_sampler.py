"""The sampler's table: a row for every way to sample, with costs that are ordered as they have to be."""

import tiny

from motionecho.bench.sampler import MODES, measure


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
