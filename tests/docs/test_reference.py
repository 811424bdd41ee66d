"""Pages of reference say what the code says; the calls of docs/tables.md read a run."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from motionecho.cli.exits import Exit
from motionecho.config import EchoConfig
from motionecho.runs.records import Record
from motionecho.runs.schema import RESULTS
from motionecho.runs.store import RunStore

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
PLAIN, TOLD = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", PAGE.parent / "make_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["tables.md", "settings.md", "records.md", "errors.md"])
def test_the_page_is_what_the_code_gives(maker: ModuleType, name: str) -> None:
    text = (PAGE.parent / name).read_text(encoding="utf-8")
    assert text == maker.PAGES[name](text), "python docs/make_reference.py"


def test_nothing_is_left_out(maker: ModuleType) -> None:
    pages = {name: (PAGE.parent / name).read_text(encoding="utf-8") for name in maker.PAGES}
    assert all(f"\n| `{name}` |" in pages["settings.md"] for name in EchoConfig.names())
    assert all(f"\n| `{spec.name}` |" in pages["records.md"] for spec in fields(Record))
    assert all(f"\n| `{name}` |" in pages["errors.md"] for name in ("BadSample", "Transient", "Damaged"))
    assert all(f"\n| `{code.value}` | `{code.name}` | {meaning}" in pages["errors.md"] for code, meaning in (
        (Exit.GUARD, "stopped early"), (Exit.INTERRUPTED, "the same command")))  # fmt: skip
    text = pages["tables.md"]
    assert all(f"| `{column.name}` | {column.kind} |" in text for column in RESULTS)


def test_its_calls_read_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of like columns, and those that are told what to do with others."""
    files = []
    for number, own in enumerate(({}, {"mood": "good"})):
        store = RunStore(str(tmp_path / "runs" / ("demo" if number == 0 else "other")))
        inputs = {"id": "a", "reference": "r", "prompt": "p"} | own
        files.append(
            f"{store.url}/{store.compact([Record(key='0' * 32, id='a', status='ok', inputs=inputs)])}"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    names: dict[str, object] = {"files": files, "RESULTS": RESULTS}
    imports, *calls = PLAIN.strip().split("\n\n")
    exec(imports, names)
    read = [eval(call, names) for call in (*"".join(calls).split("\n"), *TOLD.strip().split("\n"))]
    counts = [len(each["train"] if isinstance(each, dict) else each) for each in read]
    assert counts == [1, 1, 1, 1, 2, 2, 2]
