"""What the contact sheet says of a sample."""

from motionecho.runs.records import Record
from pipelines.sheet import remark


def test_the_remark_has_the_figures_that_say_most() -> None:
    scores = {
        "toy_text": {"toy_text": 1.0, "toy_consistency": 0.985, "toy_text_shape": 1.0},
        "motion_fidelity": {"mf_traj": 0.714, "mf_dmt": 0.9, "mf_tracker": "dis"},
        "sanity": {"sanity_flicker": 0.5, "sanity_status": "ok"},
        "text_alignment": {"text_alignment": None, "text_alignment_status": "no_prompt"},
    }
    record = Record(
        key="k", id="one", status="ok", inputs={}, scores=scores, trace={"forward_equivalents": 9}
    )
    figures = "mf_traj 0.71, toy_text 1.00, toy_consistency 0.98, 9 forward equivalents"
    assert remark(record) == f"one: {figures}"
    assert remark(Record(key="k", id="one", status="ok", inputs={})) == "one"
