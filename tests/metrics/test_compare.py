from dataclasses import replace

import pytest

from motionecho.errors import UserError
from motionecho.metrics.compare import Scored, compare, gather, is_bookkeeping, read_scores
from motionecho.metrics.stats import estimate
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.tables import as_row, to_parquet


def scored(name: str, reference: str = "a.mp4", maker: str = "1", **figures: float) -> Scored:
    inputs = {"id": name, "reference": f"/somewhere/{reference}", "prompt": "a fox", "seed": 3}
    return Scored(name, inputs, figures, {"m": "ok"}, {"m": maker})


def record(name: str, value: float, at: str, metric: str = "m") -> Record:
    row = {metric: value, f"{metric}_status": "ok", "text": "x", "none": None}
    key, inputs = f"{name}{at}", {"id": name}
    return Record(key=key, id=name, status="ok", inputs=inputs, committed_at=at, scores={metric: row})


def test_the_later_figure_counts_and_only_numbers_are_figures() -> None:
    (row,) = gather([record("a", 2.0, "2"), record("a", 1.0, "1"), record("a", 5.0, "1", "other")])
    assert row.figures == {"m": 2.0, "other": 5.0}


def test_intervals_draw_groups_and_know_their_limits() -> None:
    alone, apart = estimate([1.0, 2.0, 3.0, 4.0]), estimate([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"])
    assert (alone.mean, apart.mean) == (2.5, 2.5)
    assert alone.low is not None
    assert alone.high is not None
    assert 1 <= alone.low < 2.5 < alone.high <= 4
    assert (apart.low, apart.high) == (1.5, 3.5), "two groups: either of them or both"
    assert estimate([1.0, 3.0], ["a", "a"]) == estimate([1.0, 3.0], ["a", "a"])
    assert estimate([1.0, 3.0], ["a", "a"]).low is None


def test_pairs_by_id_with_difference_interval_and_wins() -> None:
    a = [scored(f"s{k}", f"{k}.mp4", fidelity=0.1 * k) for k in range(6)]
    b = [scored(f"s{k}", f"{k}.mp4", fidelity=0.1 * k + (0.2 if k else -0.2), only_b=1.0) for k in range(5)]
    result = compare(a, b)
    assert (result.by, result.pairs, result.alone, result.unlike) == ("id", 5, (1, 0), {})
    figure = result.figures["fidelity"]
    assert list(result.figures) == ["fidelity"]
    assert figure.difference.mean == pytest.approx(0.12)
    assert (figure.wins, figure.difference.n) == (0.8, 5)
    assert figure.difference.low is not None
    assert figure.difference.high == pytest.approx(0.2), "with five pairs many draws leave the odd one out"
    assert -0.2 < figure.difference.low < 0.12


def test_pairs_by_content_where_ids_differ_and_says_when_makers_do() -> None:
    a = [scored(f"a{k}", f"{k}.mp4", x=1.0) for k in range(3)]
    b = [scored(f"b{k}", f"{k}.mp4", maker="2", x=1.0) for k in range(3)]
    result = compare(a, b)
    assert (result.by, result.pairs) == ("reference, prompt and seed", 3)
    assert result.figures["x"].wins == 0.5
    assert result.unlike == {"m": ("1", "2")}
    with pytest.raises(UserError, match="neither by id nor by"):
        compare(a, [scored("other", "other.mp4", x=1.0)])


def test_what_occurs_twice_pairs_with_nothing() -> None:
    a = [scored("one", "a.mp4", x=1.0), scored("two", "b.mp4", x=1.0)]
    b = [scored("x", "a.mp4", x=1.0), scored("y", "a.mp4", x=2.0), scored("z", "b.mp4", x=2.0)]
    assert compare(a, b).pairs == 1


def test_reads_a_results_table_and_refuses_any_other(tmp_path) -> None:
    rows = [as_row(record("a", 2.0, "1"), "/run")]
    (tmp_path / "part.parquet").write_bytes(to_parquet(rows))
    assert [row.figures for row in read_scores(str(tmp_path / "part.parquet"))] == [{"m": 2.0}]
    (tmp_path / "other.csv").write_text("id,video\na,b.mp4\n")
    with pytest.raises(UserError, match="no results table"):
        read_scores(str(tmp_path / "other.csv"))
    with pytest.raises(UserError, match="there is no run at"):
        read_scores(str(tmp_path / "nothing"))


def test_tables_leave_out_what_only_json_shows() -> None:
    hidden = ("mf_tracks_video", "mf_kept_reference", "mf_frames", "cost_seconds_invert", "sanity_luma")
    shown = ("mf_traj", "mf_speed_video", "cost_seconds", "text_alignment", "toy_text_shape", "unheard_of")
    assert [figure for figure in (*hidden, *shown) if not is_bookkeeping(figure)] == [*shown]


def test_scores_taken_later_belong_to_their_video_whatever_its_id_was() -> None:
    """Two samples of one id, as two manifests give them; one was scored, and so was what it was before."""

    def made(key: str) -> Record:
        video = Blob(f"videos/00/{key * 32}-1-0abc.mp4", "0" * 64, 1)
        return replace(record("a", 1.0, f"1{key}", "own"), key=key * 32, video=video)

    def later(video: str, value: float) -> Record:
        return replace(record("a-b", value, "9"), inputs={"id": "a-b", "video": f"s3://else/where/{video}"})

    runs = [made("a"), made("b")]
    scores = [later(f"videos/00/{'b' * 32}-1-0abc.mp4", 7.0), later(f"videos/00/{'b' * 32}-1-0abd.mp4", 8.0)]
    assert [row.figures for row in gather([*runs, *scores])] == [{"own": 1.0}, {"own": 1.0, "m": 7.0}]
    assert [row.figures for row in gather(scores)] == [{"m": 8.0}], "alone, they are told apart by id"
