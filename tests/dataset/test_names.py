"""File names out of ids."""

from motionecho.dataset.names import readable_names


def test_ids_that_collide_get_names_of_their_own() -> None:
    pairs = [("x/1", "a" * 32), ("X_1", "b" * 32), ("x_1-aaaaaaaa", "c" * 32), ("y.2.mp4", "d" * 32)]
    assert readable_names(pairs) == ["x_1-aaaaaaaa", "X_1-bbbbbbbb", "x_1-aaaaaaaa-2", "y_2_mp4"]


def test_a_sample_that_is_in_two_runs_has_two_names() -> None:
    assert readable_names([("a", "k" * 32)] * 2) == ["a-kkkkkkkk", "a-kkkkkkkk-2"]


def test_names_of_long_ids_fit_in_every_script() -> None:
    names = readable_names((key * 100, key * 32) for key in ("海", "a", "../"))
    assert all(len(name.encode()) <= 255 - len("-12345678-10.mp4") for name in names)
    assert names == ["海" * 66, "a" * 100, "sample"]
