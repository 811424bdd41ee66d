"""The autoencoder's table: a row for either way."""

import tiny

from motionecho.bench.vae import measure


def test_both_ways_have_their_row() -> None:
    rows = measure(tiny.pair(), repeats=1)
    assert [row["part"] for row in rows] == ["encode", "decode"]
    assert all(row["ms"] > 0 and row["peak_gib"] is None for row in rows)
