"""The import rules that keep the tree readable, and a command line that starts fast."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLI = [ROOT / "motionecho" / "__main__.py", *sorted((ROOT / "motionecho" / "cli").rglob("*.py"))]
LIBRARY = sorted({*(ROOT / "motionecho").rglob("*.py")} - {*CLI})
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level package names that a file imports, and whether the import is lazy (inside a function)."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and child.level == 0:
                yield child.module, lazy
            yield from visit(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), lazy=False)


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name, _ in imports(path)}


def test_the_walk_sees_every_kind_of_import(tmp_path: Path) -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    if True:\n        import ray\n"
    (tmp_path / "m.py").write_text(source)
    assert list(imports(tmp_path / "m.py")) == [("a.b", False), ("c", False), ("ray", True)]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_library_knows_neither_ray_nor_pipelines_nor_the_command_line(path: Path) -> None:
    assert not packages(path) & {"ray", "pipelines", "typer", "rich"}
    assert not any(name.startswith("motionecho.cli") for name, _ in imports(path))


def test_pipelines_do_not_know_the_command_line() -> None:
    for path in PIPELINES:
        assert not packages(path) & {"typer", "rich"}, path
        assert not any(name.startswith("motionecho.cli") for name, _ in imports(path)), path


def test_only_some_commands_reach_up_to_pipelines_and_lazily() -> None:
    reaching = [path for path in CLI if "pipelines" in packages(path)]
    commands = ["again.py", "batch.py", "engine.py", "jobs.py", "plan.py", "score.py"]
    assert [path.name for path in reaching] == commands
    pulled = [(name, lazy) for path in reaching for name, lazy in imports(path)]
    assert all(lazy for name, lazy in pulled if name.split(".")[0] == "pipelines")
    assert not any("ray" in packages(path) for path in CLI)


def test_command_line_starts_without_heavy_packages() -> None:
    heavy = ["torch", "ray", "diffusers", "cv2", "decord", "av", "pyarrow", "numpy", "pipelines"]
    loaded = f"[name for name in {heavy} if name in sys.modules]"
    code = f"import sys, json, motionecho.cli.app; print(json.dumps({loaded}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []
