"""What the contact sheet shows, and says of a sample."""

import os
from pathlib import Path
from typing import Any

import pytest

from motionecho.config import RunSettings
from motionecho.models.registry import pair_spec
from motionecho.runs import layout
from motionecho.runs.folder import Folder
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines import sheet
from pipelines.plan import plan_generation
from pipelines.sheet import publish_sheet, remark

CLIP = Path(__file__).parents[2] / "manifests" / "clips" / "arc.mp4"
SETTINGS = RunSettings(pair="toy", echo=pair_spec("toy").config(None, {}))


def test_a_damaged_record_costs_its_row_and_all_take_one_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, store = tmp_path / "m.csv", RunStore(str(tmp_path / "run"))
    table.write_text("\n".join(["reference,prompt", *(f"{CLIP},a {what}" for what in ("cat", "dog", "pig"))]))
    work = plan_generation(str(table), SETTINGS, store.url)
    for task in work.todo:
        video = store.put_blob(store.video_uri(task.key, "1-a"), str(CLIP))
        store.commit(Record(key=task.key, id=task.key, status="ok", inputs={}, video=video))
    store.put_text(layout.record(work.todo[1].key, 1), "{")

    drawn: list[str] = []
    listings: list[Any] = []
    draw, find = sheet.contact_sheet, Folder.find

    def drawing(rows: Any, *words: Any, **more: Any) -> None:
        drawn.extend(row.caption for row in rows)
        draw(rows, *words, **more)

    def listed(self: Folder, *words: Any) -> list[str]:
        listings.append(words)
        return find(self, *words)

    monkeypatch.setattr(sheet, "contact_sheet", drawing)
    monkeypatch.setattr(Folder, "find", listed)
    problems: list[str] = []
    made = publish_sheet(store, SETTINGS, work, fresh=True, on_problem=problems.append)
    assert (drawn, problems, len(listings)) == (["a cat", "a pig"], [], 1)
    assert made is not None
    assert os.path.getsize(made) > 0


def test_the_remark_has_the_figures_that_say_most() -> None:
    scores = {
        "toy_text": {"toy_text": 1.0, "toy_consistency": 0.985, "toy_text_shape": 1.0},
        "motion_fidelity": {"follows": 0.714, "mf_dmt": 0.9, "mf_tracker": "dis"},
        "sanity": {"sanity_flicker": 0.5, "sanity_status": "ok"},
        "text_alignment": {"text_alignment": None, "text_alignment_status": "no_prompt"},
    }
    record = Record(
        key="k", id="one", status="ok", inputs={}, scores=scores, trace={"forward_equivalents": 9}
    )
    figures = "follows 0.71, toy_text 1.00, toy_consistency 0.98, no text_alignment: no prompt"
    assert remark(record) == f"one: {figures}, 9 forward equivalents"
    why = {"follows": None, "follows_why": "the reference stands still", "motion_fidelity_status": "static"}
    still = Record(key="k", id="two", status="ok", inputs={}, scores={"motion_fidelity": why})
    assert remark(still) == "two: no follows: the reference stands still"
    assert remark(Record(key="k", id="one", status="ok", inputs={})) == "one"
