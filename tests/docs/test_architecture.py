"""docs/architecture.md: its layers are those that imports keep, its words are explained, it is one page."""

import re
from pathlib import Path

from tests.test_imports import LAYERS

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
WORDS = ["motion", "target", "energy", "level", "itinerary", "record"]
WORDS += ["lease", "blob", "strike", "film", "gate", "floor"]


def test_the_layers_are_those_that_the_imports_keep() -> None:
    section = PAGE.split("## Layers")[1].split("\n## ")[0]
    rows = re.findall(r"^    (\S.*?) {3,}", section, flags=re.M)
    assert tuple(tuple(row.split()) for row in rows) == LAYERS


def test_a_dozen_words_are_explained_once() -> None:
    assert re.findall(r"^\| (\w+) \| ", PAGE.split("## Words")[1], flags=re.M)[1:] == WORDS


def test_it_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 90
