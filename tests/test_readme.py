"""What the README and the other pages show is there: files, links, names, commands and the make targets."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHERS = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "cluster/README.md",
    "manifests/README.md",
    "motionecho/models/toy/weights/README.md",
)
PAGES = [ROOT / "README.md", *(ROOT / name for name in OTHERS), *sorted((ROOT / "docs").glob("*.md"))]
TOP = ("motionecho", "pipelines", "tests", "docs", "manifests", "cluster")
NAMES = {path.name for top in TOP for path in (ROOT / top).rglob("*")}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_every_file_of_the_tree_exists() -> None:
    block = README[README.index("    motionecho/  ") :].split("\n\n")[0]
    folder, seen = Path(), 0
    for line in block.splitlines():
        names = re.match(r"( +)((?:[\w.]+/? {1,2})+)", line + " ")
        assert names, line
        for name in names[2].split():
            if len(names[1]) == 4:
                folder = ROOT / name
            path = ROOT / name if len(names[1]) == 4 else folder / name
            assert path.exists(), line
            seen += 1
    assert seen > 30


def test_the_tree_leaves_nothing_out() -> None:
    block = README[README.index("    motionecho/  ") :].split("\n\n")[0]
    named = set(re.findall(r"[\w.]+/?", block))
    for package in ("motionecho", "pipelines"):
        for path in (ROOT / package).iterdir():
            if path.suffix == ".py" and not path.name.startswith("__"):
                assert path.name in named, path
            if (path / "__init__.py").exists():
                assert f"{path.name}/" in named, path


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", re.sub(r"<!--.*?-->", "", text_of(page), flags=re.S))
    assert page.name != "README.md" or page.parent != ROOT or len(links) > 5
    for link in links:
        assert "://" in link or (page.parent / link).exists(), link


@each_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = text_of(page)
    made_by_the_page = re.findall(r"`([\w./]+)`:\n\n```python", text)
    for path in {*paths(text)} - {*made_by_the_page}:
        places = (ROOT / path, ROOT / "motionecho" / path, page.parent / path)
        assert any(place.exists() for place in places) or path in NAMES, path


def test_every_path_of_the_project_file_exists() -> None:
    found = re.findall(r'"/?([^"\s]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = [path for path in found if path.split("/")[0] in TOP and ":" not in path]
    assert len(ours) > 5
    for path in ours:
        assert (ROOT / path).exists(), path
    for module in (name.removesuffix(".*") for name in found if name.startswith("motionecho.")):
        importlib.import_module(module.split(":")[0])


@each_page
def test_every_name_of_the_code_is_there(page: Path) -> None:
    """`module.name` of a module at the root, `path.py`: `name`, and `name` in or of `path.py`."""
    text = text_of(page)
    for module, rest in re.findall(r"`([a-z_]+)\.([A-Za-z_][\w.]*)`", text):
        if (ROOT / "motionecho" / f"{module}.py").exists() and rest not in ("py", "json"):
            attribute(f"motionecho/{module}.py", rest)
    for path, names in re.findall(r"`([\w/]+\.py)`: ((?:`[\w.]+`(?:, )?)+)", text):
        for name in re.findall(r"`([\w.]+)`", names):
            attribute(path, name)
    for name, path in re.findall(r"`(\w+)` (?:of|in) `([\w/]+\.py)`", text):
        attribute(path, name)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def paths(text: str) -> Iterator[str]:
    """Yield what looks like a file or folder of the repository, in backticks or in indented lines."""
    for words in re.findall(r"`([^`\n]+)`|^    (.+)$", text, flags=re.M):
        for word in "".join(words).split():
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word):
                continue
            first, slash, _ = word.partition("/")
            ours = first in TOP if slash else word.endswith((".py", ".md"))
            inside = word.endswith((".py", "/")) and slash and (ROOT / "motionecho" / first).is_dir()
            if ours or inside:
                yield word


def attribute(path: str, dotted: str) -> Any:
    """Return what a name of a file stands for; paths begin at the root or in `motionecho/`."""
    inside = path if path.split("/")[0] in TOP else f"motionecho/{path}"
    found: Any = importlib.import_module(inside.removesuffix(".py").replace("/", "."))
    for name in dotted.split("."):
        found = getattr(found, name)
    return found


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
