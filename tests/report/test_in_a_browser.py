"""The report of a run as a person uses it: opened from a disk in Chromium, looked at, filtered, typed at."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Looking, contrast
from drawn_run import ATTEMPT, COUNT, FAILED, draw

from motionecho.metrics.compare import gather
from motionecho.metrics.stats import estimate
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.trace import forward_equivalents
from pipelines.reporting.write import write_report

sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


Look = Callable[..., Looking]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    place = tmp_path_factory.mktemp("runs") / "drawn run"
    records = draw(str(place))
    write_report([RunStore(str(place))])
    return place, records


@pytest.fixture
def look(browser: Any) -> Iterator[Look]:
    opened: list[Looking] = []

    def one(index: Path, **how: Any) -> Looking:
        opened.append(Looking(browser, index, **how))
        return opened[-1]

    yield one
    for each in opened:
        each.context.close()


def named(records: list[Record]) -> dict[str, Record]:
    return {record.id: record for record in records}


def test_samples_are_seen_found_and_opened(run: tuple[Path, list[Record]], look: Look) -> None:
    place, records = run
    ok = [record for record in records if record.ok]
    at = look(place / "report" / "index.html")
    page = at.page
    assert (page.title(), len(at.ids())) == ("drawn run - motionecho report", COUNT)
    assert page.locator(".card.failed").count() == FAILED == COUNT - len(ok)

    # videos: both halves are one file, which plays
    page.wait_for_function(
        "() => { const v = document.querySelector('.card video'); return v && v.currentTime > 0.3 }"
    )
    sizes = page.evaluate(
        "() => { const v = document.querySelector('.card video'); return [v.videoWidth, v.videoHeight] }"
    )
    assert sizes == [512, 256]
    assert (
        page.evaluate("() => [...document.querySelectorAll('.card video')].at(-1).hasAttribute('src')")
        is False
    )
    page.keyboard.press("p")
    assert page.evaluate("() => [...document.querySelectorAll('video[src]')].every(v => v.paused)")

    # strangers' words are shown, and do nothing
    first = page.locator(".card", has=page.locator(".prompt", has_text="</script>"))
    assert "\\u202e" in first.locator(".prompt").inner_text()
    assert page.locator("b, img", has_text="bold").count() == 0
    assert page.locator("main img").count() == 0

    # strips are what the traces say
    for record in ok[:6]:
        card = (
            page.locator(f'.card:has(.media[aria-label="Open {record.id}"])')
            if '"' not in record.id
            else first
        )
        steps = record.steps
        assert card.locator("rect.active").count() == sum(steps["active"])
        assert card.locator("rect.truncated").count() == sum(steps["truncated"])
        assert card.locator("rect.teacher").count() == sum(n > 0 for n in steps["teacher_steps"])
        assert card.locator("rect.plain").count() == sum(
            loss is not None and not active
            for loss, active in zip(steps["loss"], steps["active"], strict=True)
        )
        assert card.locator("line.limit").count() == 1

    # search, filters, order; the address keeps them
    page.keyboard.press("/")
    page.keyboard.type("green TAKE")
    page.wait_for_function("() => document.getElementById('number').textContent.startsWith('10 ')")
    assert sorted(at.ids()) == sorted(r.id for r in records if "green" in r.inputs["prompt"])
    page.keyboard.press("Escape")
    page.select_option("[name=strategy]", "moft")
    page.select_option("[name=status]", "done")
    page.select_option("[name=figure]", "follows")
    page.fill("[name=min]", "0.5")
    page.select_option("[name=sort]", "follows")
    page.click("#down")
    scores = {r.id: r.scores["motion_fidelity"]["follows"] for r in ok if r.echo["strategy"] == "moft"}
    best = sorted((id for id, value in scores.items() if value >= 0.5), key=lambda id: -scores[id])
    page.wait_for_function(f"() => document.getElementById('number').textContent.startsWith('{len(best)} ')")
    assert at.ids() == best
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert at.ids() == best
    page.click("#clear")
    assert len(at.ids()) == COUNT

    # keys
    at.show(sort="", down="", status="done")
    ids = at.ids()
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    name = page.locator("#detail-name")
    name.wait_for()
    assert name.inner_text() == ids[1]
    page.keyboard.press("j")
    page.wait_for_function("id => document.getElementById('detail-name').textContent === id", arg=ids[2])
    record = named(records)[ids[2]]
    page.locator("#detail .steps").wait_for(state="attached")
    page.locator("#detail summary", has_text="As a table").click()
    rows = at.table("#detail .steps")
    assert [row[4] for row in rows] == ["yes" if active else "no" for active in record.steps["active"]]
    assert [row[5] for row in rows] == [str(number) for number in record.steps["teacher_steps"]]
    for row, loss in zip(rows, record.steps["loss"], strict=True):
        assert row[2] == "-" if loss is None else abs(float(row[2]) - loss) <= 0.05
    kinds = {
        name.removeprefix("evaluations_"): n for name, n in record.steps.items() if name.startswith("eval")
    }
    costs = [forward_equivalents({kind: n[step] for kind, n in kinds.items()}) for step in range(8)]
    assert [row[8] for row in rows] == [str(cost) for cost in costs]
    text = page.locator("#detail").inner_text()
    assert str(record.inputs["seed"]) in text, "all digits of it"
    assert f"motionecho batch replay '{place}' {record.key}" in text
    assert (
        page.locator("#detail a", has_text="video").get_attribute("href")
        == f"../videos/{record.key[:2]}/{record.key}-{ATTEMPT}.mp4"
    )
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == f"Open {ids[2]}"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert at.complaints == []
    assert {url for url in at.asked if not url.startswith((place.as_uri(), "data:"))} == set()


def test_what_is_typed_is_kept_though_another_filter_is_set_at_once(
    run: tuple[Path, list[Record]], look: Look
) -> None:
    at = look(run[0] / "report" / "index.html")
    at.page.evaluate("""() => {
        for (const [name, value] of [["text", "green"], ["min", "0.5"]]) {
            const field = document.querySelector(`[name=${name}]`);
            field.value = value;
            field.dispatchEvent(new Event("input"));
        }
        motionecho.show({ sort: "follows" });
    }""")
    at.page.wait_for_function("() => motionecho.state.min === '0.5'", timeout=5_000)
    assert (at.page.input_value("[name=text]"), at.page.input_value("[name=min]")) == ("green", "0.5")
    at.page.evaluate("""() => {
        const field = document.querySelector("[name=text]");
        field.value = "blue";
        field.dispatchEvent(new Event("input"));
        document.getElementById("clear").click();
    }""")
    at.page.wait_for_timeout(300)  # longer than typing is waited for
    assert at.page.evaluate("[motionecho.state.text, motionecho.state.min]") == ["", ""]


def test_figures_failures_and_facts(run: tuple[Path, list[Record]], look: Look) -> None:
    place, records = run
    at = look(place / "report" / "index.html")
    page = at.page
    page.keyboard.press("2")
    scored = gather(records)
    by = {record.id: record for record in records}
    for row in at.table(".groups"):
        own = [each for each in scored if by[each.id].echo["strategy"] == row[0]]
        means = estimate([s.figures["follows"] for s in own], [s.inputs["reference"] for s in own])
        shown = row[3].split()
        assert int(row[1]) == len(own)
        assert abs(float(shown[0]) - means.mean) < 0.001
        assert abs(float(shown[1]) - (means.low or 0)) < 0.02, "the same bootstrap by other draws"
        assert abs(float(shown[3]) - (means.high or 0)) < 0.02
    page.locator(".cloud").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[open]")
    lowest = min(scored, key=lambda s: (s.figures["cost_forward_equivalents"], s.figures["follows"]))
    assert page.locator("#detail-name").inner_text() == lowest.id
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")
    counted = sum(
        int(text.rsplit(": ", 1)[1].split()[0])
        for text in page.locator(".charts figure").first.locator("title").all_text_contents()
    )
    assert counted == len(scored)
    page.keyboard.press("3")
    failed = at.table(".failures")
    assert len(failed) == FAILED
    assert {(row[1], row[2]) for row in failed} == {("generate", "BadSample"), ("generate", "Timeout")}
    assert "it took too long </script>" in failed[0][3]
    assert f"motionecho batch retry '{place}'" in page.locator("main").inner_text()
    page.keyboard.press("4")
    assert "drawing-board" in page.locator("main").inner_text()
    assert at.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1440, "dark")])
def test_it_fits_a_phone_and_either_scheme(
    run: tuple[Path, list[Record]], look: Look, width: int, scheme: str
) -> None:
    at = look(
        run[0] / "report" / "index.html",
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = at.page
    for view in ("samples", "figures", "failures", "run"):
        at.show(view=view)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), view
    at.show(view="samples")
    page.wait_for_function("() => document.querySelector('.card video').readyState >= 2")
    assert page.evaluate("() => [...document.querySelectorAll('video')].every(v => v.paused)"), (
        "motion was not asked for"
    )
    page.locator(".card .media").first.focus()
    page.wait_for_function("() => !document.querySelector('.card video').paused")
    colors = page.evaluate(
        """names => { const i = document.body.appendChild(document.createElement("i"));
        return Object.fromEntries(names.map(name => { i.style.color = `var(--${name})`;
        return [name, getComputedStyle(i).color.match(/[0-9.]+/g).slice(0, 3).map(Number)] })) }""",
        [
            "paper",
            "card",
            "ink",
            "soft",
            "accent",
            "bad",
            "good",
            "tint",
            "bad-tint",
            "good-tint",
            "nothing",
            "student",
            "teacher",
            "edge",
        ],
    )
    for text, grounds in {
        "ink": "paper card nothing bad-tint",
        "soft": "paper card nothing bad-tint",
        "accent": "paper card tint",
        "bad": "card bad-tint",
        "good": "good-tint",
    }.items():
        for ground in grounds.split():
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for line in ("student", "teacher", "edge"):
        assert min(contrast(colors[line], colors[ground]) for ground in ("paper", "card")) >= 3, line
    assert at.complaints == []


def test_two_runs_are_one_folder_by_itself(
    run: tuple[Path, list[Record]], look: Look, tmp_path: Path
) -> None:
    other, out = tmp_path / "other", tmp_path / "beside"
    draw(str(other), better=0.05)
    write_report([RunStore(str(run[0])), RunStore(str(other))], str(out))
    at = look(out / "index.html")
    page = at.page
    paired = page.locator(".card:has(video + .sides)").all()
    assert page.locator(".card").count() == COUNT + FAILED, "those that failed have no partner"
    assert all(card.locator("video").count() == 2 for card in paired)
    at.show(view="figures")
    row = next(row for row in at.table("section:first-child .groups") if row[0] == "follows")
    assert row[3].startswith("+0.050")
    assert row[4:] == ["100 %", str(COUNT - FAILED)]
    assert at.complaints == []
    assert {url for url in at.asked if not url.startswith((out.as_uri(), "data:"))} == set()


def test_one_that_is_written_anew_meanwhile_says_so(
    run: tuple[Path, list[Record]], look: Look, tmp_path: Path
) -> None:
    page_at = tmp_path / "copy"
    shutil.copytree(run[0] / "report", page_at)
    samples = page_at / "data" / "samples-000.js"
    stamp = json.loads(samples.read_text().split("take(", 1)[1].split("]", 1)[0] + "]")[1]
    samples.write_text(samples.read_text().replace(stamp, "0" * len(stamp)))
    at = look(page_at / "index.html")
    assert "written anew" in at.page.locator("[role=alert]").inner_text()
