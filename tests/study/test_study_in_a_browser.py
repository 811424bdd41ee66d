"""A study as raters use it: opened from a disk in Chromium, watched, answered by keys, saved, tallied."""

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Looking, contrast
from PIL import Image

from motionecho.study.build import BuiltStudy, build_study
from tests.cli.conftest import Cli, cli
from tests.study.flat_run import COLORS, GREY, rows, write_run

__all__ = ["cli"]
sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
METHODS = ("student", "motionecho", "teacher")
PAIRS = 4
Look = Callable[..., Looking]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltStudy:
    place = tmp_path_factory.mktemp("study of colours")
    store = write_run(place / "run", rows(2, 2, METHODS))
    return build_study([store], str(place / "page"), pairs=PAIRS, repeats=1, check=True)


@pytest.fixture
def look(browser: Any, built: BuiltStudy) -> Iterator[Look]:
    opened: list[Looking] = []

    def one(**how: Any) -> Looking:
        opened.append(Looking(browser, Path(built.page), **how))
        return opened[-1]

    yield one
    for each in opened:
        assert each.complaints == []
        assert {url.split("/")[0] for url in each.asked} <= {"file:", "blob:"}
        each.context.close()


def begin(at: Looking, rater: str) -> None:
    at.page.fill("#rater", rater)
    at.page.click("text=Begin")
    at.page.wait_for_selector("canvas")


def shown(at: Looking) -> dict[str, Any]:
    """The trial on the screen, as the page has it."""
    number = int(at.page.inner_text("h1").split()[1]) - 1
    return dict(at.page.evaluate("n => study.state.trials[n]", number))


def color(at: Looking, name: str) -> tuple[int, ...]:
    """The colour in the middle of a picture, as it is seen."""
    picture = Image.open(io.BytesIO(at.page.locator(f'canvas[aria-label="{name}"]').screenshot())).convert(
        "RGB"
    )
    return tuple(picture.getpixel((picture.width // 2, picture.height // 2)))  # type: ignore[arg-type]


def seen_as(found: tuple[int, ...]) -> str:
    """The method whose colour that is."""
    known = {**COLORS, "reference": GREY}
    return min(known, key=lambda name: sum(abs(a - b) for a, b in zip(known[name], found, strict=True)))


def save(at: Looking, folder: Path) -> Path:
    with at.page.expect_download() as download:
        at.page.click("#save")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def answer_all(at: Looking, favourites: tuple[str, ...]) -> None:
    """Answer every question for the method whose colour is seen, by keys; checks and repeats as asked."""
    while at.page.evaluate("document.body.dataset.screen") == "trial":
        at.page.wait_for_function("() => document.querySelector('input[type=range]').value > 0")  # drawn
        trial = shown(at)
        places = {seen_as(color(at, f"Video {letter}")): n for n, letter in enumerate("ABC", start=1)}
        assert sorted(places) == sorted(METHODS)
        assert seen_as(color(at, "Reference")) == "reference"
        for favourite in favourites:
            key = trial["order"].index(trial["asked"]) + 1 if trial["kind"] == "check" else places[favourite]
            at.page.keyboard.press(str(key))
        at.page.keyboard.press("Enter")


def test_what_is_chosen_by_eye_is_what_is_tallied(
    look: Look, built: BuiltStudy, tmp_path: Path, cli: Cli
) -> None:
    favourites = (
        ("student", "motionecho", "motionecho", "teacher"),
        ("student", "motionecho", "student", "student"),
    )
    files = []
    for number, each in enumerate(favourites):
        at = look(accept_downloads=True)
        begin(at, f"rater-{number}")
        answer_all(at, each)
        assert at.page.inner_text("h1") == "Thank you"
        files.append(save(at, tmp_path))
    assert files[0].name == f"answers-{built.study[:6]}-rater-0.json"
    done = cli("study", "tally", *files, "--key", built.key, "--json")
    assert done.code == 0, done.err
    found = {
        question: {method: share["mean"] for method, share in its["shares"].items()}
        for question, its in done.json["questions"].items()
    }
    assert found == {
        "Q1": {"motionecho": 0, "student": 1, "teacher": 0},
        "Q2": {"motionecho": 1, "student": 0, "teacher": 0},
        "Q3": {"motionecho": 0.5, "student": 0.5, "teacher": 0},
        "Q4": {"motionecho": 0, "student": 0.5, "teacher": 0.5},
    }
    assert [its["answers"] for its in done.json["questions"].values()] == [2 * PAIRS] * 4
    assert done.json["questions"]["Q3"]["agreement"] == pytest.approx(1 - 7 * 8 / 32)
    assert (done.json["repeated"], done.json["failed"], done.json["checked"]) == ([8, 8], [], 2)
    said = cli("study", "tally", *files, Path(built.page), "--key", built.key)
    assert (said.code, "left out" in said.err) == (3, True)
    assert "Q2        temporal consistency  motionecho      1" in said.out


def test_a_page_that_is_opened_again_goes_on(look: Look, tmp_path: Path) -> None:
    at = look(accept_downloads=True)
    begin(at, "comes-back")
    first = shown(at)
    for key in ("1", "b", "3", "c"):  # digits and letters
        at.page.keyboard.press(key)
    at.page.keyboard.press("Enter")
    second = shown(at)
    at.page.keyboard.press("2")
    at.page.reload()
    at.page.wait_for_selector("body[data-ready]")
    assert at.page.input_value("#rater") == "comes-back"
    assert at.page.inner_text("#found").startswith(f"With this code 1 of {PAIRS + 2} are answered")
    at.page.click("text=Begin")
    assert shown(at) == second
    assert at.page.locator("input:checked").count() == 1
    at.page.click("text=Back")
    assert shown(at) == first
    assert at.page.locator("input:checked").evaluate_all("all => all.map(one => Number(one.value))") == [
        first["order"][place] for place in (0, 1, 2, 2)
    ]
    at.page.click("text=Stop here and save")
    words = json.loads(save(at, tmp_path).read_text())
    assert [len(trial["answers"]) for trial in words["trials"]] == [4, 1]
    assert words["of"] == PAIRS + 2
    at.page.click("summary")
    copied = json.loads(at.page.input_value("textarea"))
    assert copied["trials"] == words["trials"]


def test_any_code_keeps_its_own_answers(look: Look) -> None:
    at = look()
    for rater in ("last", "other"):  # the first is also what the code used last is kept under
        begin(at, rater)
        for _ in range(4):
            at.page.keyboard.press("1")
        at.page.keyboard.press("Enter")
        at.page.reload()
        at.page.wait_for_selector("body[data-ready]")
        assert at.page.input_value("#rater") == rater
    at.page.fill("#rater", "last")
    assert at.page.inner_text("#found").startswith(f"With this code 1 of {PAIRS + 2} are answered")


def test_a_question_without_an_answer_is_pointed_at(look: Look) -> None:
    at = look()
    at.page.fill("#rater", "Jane Doe")
    at.page.click("text=Begin")
    assert "letters a to z" in at.page.inner_text("#found")
    begin(at, "forgets")
    at.page.keyboard.press("1")
    at.page.click("text=Next")
    assert at.page.inner_text("#problem") == "Question 2 has no answer yet."
    assert at.page.evaluate("document.activeElement.name") == "Q2"
    at.page.keyboard.press("ArrowRight")  # as radio buttons have it
    assert at.page.locator("input[name=Q2]:checked").count() == 1
    assert shown(at)["order"][1] == int(at.page.locator("input[name=Q2]:checked").input_value())


def test_videos_play_unless_less_motion_is_asked_for(look: Look) -> None:
    at = look()
    begin(at, "watches")
    at.page.wait_for_function("() => document.querySelector('video').currentTime > 0.1")
    at.page.keyboard.press(" ")
    assert at.page.evaluate("document.querySelector('video').paused")
    at.page.wait_for_selector(".toggle:text('Play')")
    calm = look(reduced_motion="reduce")
    begin(calm, "watches")
    calm.page.wait_for_function("() => document.querySelector('video').readyState > 2")
    assert seen_as(color(calm, "Reference")) == "reference"  # drawn, and still
    assert calm.page.evaluate("document.querySelector('video').paused")
    calm.page.click(".toggle")
    calm.page.wait_for_function("() => !document.querySelector('video').paused")


def test_a_page_without_its_data_says_so(browser: Any, built: BuiltStudy, tmp_path: Path) -> None:
    shutil.copytree(Path(built.page).parent, tmp_path / "page")
    (tmp_path / "page" / "data.js").unlink()
    at = Looking(browser, tmp_path / "page" / "index.html")
    assert at.page.inner_text(".note") == "data.js is not beside this page."
    at.context.close()


def test_every_order_is_as_likely_and_is_the_raters_own(look: Look) -> None:
    at = look()
    drawn = at.page.evaluate(
        "() => Array.from({ length: 1200 }, (_, n) => study.trials(study.words, `rater-${n}`))"
        ".map(trials => trials.filter(({ kind }) => kind === 'pair'))"
        ".map(trials => trials.map(({ order, pair }) => [pair.pair, order]))"
    )
    orders = Counter(tuple(order) for trials in drawn for _, order in trials)
    assert len(orders) == 6
    expected = 1200 * PAIRS / 6
    assert (
        sum((count - expected) ** 2 / expected for count in orders.values()) < 20.5
    )  # chi2, 5 degrees: p = .001
    first = Counter(trials[0][0] for trials in drawn)
    assert sum((count - 300) ** 2 / 300 for count in first.values()) < 16.3  # 3 degrees
    assert len(first) == PAIRS


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_and_can_be_read(width: int, scheme: str, look: Look) -> None:
    at = look(viewport={"width": width, "height": 844}, color_scheme=scheme)
    fits = "() => document.documentElement.scrollWidth <= innerWidth"
    assert at.page.evaluate(fits)
    begin(at, "looks")
    assert at.page.evaluate(fits)
    at.page.keyboard.press("1")
    for selector in (
        "legend",
        ".pick input:checked + span",
        ".pick span",
        "button.main",
        ".foot",
        "figcaption",
    ):
        told = at.page.locator(selector).first.evaluate(
            "one => { let behind = one; const style = getComputedStyle;"
            " while (style(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;"
            " return [style(one).color, style(behind).backgroundColor]"
            ".map(text => text.match(/[\\d.]+/g).slice(0, 3).map(Number)) }"
        )
        assert contrast(*told) >= 4.5, selector
    sizes = at.page.locator("canvas").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert len(sizes) == 4
    assert min(sizes) > 150
