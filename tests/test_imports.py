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
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (*LIBRARY, *CLI, *PIPELINES)
}
# Lowest first: a room imports rooms of the rows above its own, and of no other.
LAYERS = (
    ("errors",),
    ("strict", "plugins"),
    ("config", "schedules", "noise", "trace", "cache", "device"),
    ("denoiser", "steplog", "sprites", "runs"),
    ("guidance", "adaptive", "video"),
    ("models", "manifest", "report"),
    ("inversion", "metrics"),
    ("carrying", "dataset"),
    ("teacher", "gate", "calibrate"),
    ("echo",),
    ("make",),
    ("face",),
    ("bench", "study"),
    ("pipelines",),
    ("cli",),
)
ROW = {room: row for row, rooms in enumerate(LAYERS) for room in rooms}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Dotted names that a file imports, and whether lazily (in a function); those for types are left out."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and getattr(child.test, "id", None) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and child.level == 0:
                yield from ((f"{child.module}.{alias.name}", lazy) for alias in child.names)
            yield from visit(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), lazy=False)


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name, _ in imports(path)}


def neighbours(name: str) -> set[str]:
    """Our own modules that a module imports, lazily or not."""
    found = (imported for imported, _ in imports(MODULES[name]))
    modules = ((each, each.rpartition(".")[0]) for each in found)
    return {module if module in MODULES else parent for module, parent in modules} & {*MODULES}


def room(module: str) -> str:
    first, _, rest = module.partition(".")
    return first if first == "pipelines" else rest.partition(".")[0]


def test_the_walk_sees_every_kind_of_import(tmp_path: Path) -> None:
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\n"
    source += "def f():\n    if True:\n        import ray\n"
    (tmp_path / "m.py").write_text(source)
    assert list(imports(tmp_path / "m.py")) == [("a.b", False), ("c.d", False), ("ray", True)]


def test_no_module_imports_against_the_layers() -> None:
    against = [
        f"{module} -> {other}"
        for module in MODULES
        for other in neighbours(module)
        if room(module) != room(other) and "" not in (room(module), room(other)) and "__main__" not in module
        if ROW[room(other)] >= ROW[room(module)]
    ]
    assert against == []


def test_no_circle_of_imports() -> None:
    left = {module: neighbours(module) - {module} for module in MODULES}
    while free := {module for module, others in left.items() if not others & {*left}}:
        left = {module: others for module, others in left.items() if module not in free}
    assert left == {}, "every one of these imports another of them"


def test_the_root_is_the_paper_and_what_it_stands_on() -> None:
    assert len([*(ROOT / "motionecho").glob("*.py")]) <= 20


def test_no_file_is_long() -> None:
    long = {name: n for name, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 300}
    assert long == {}


def test_each_class_name_occurs_once() -> None:
    seen: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                seen.setdefault(node.name, []).append(module)
    assert {name: where for name, where in seen.items() if len(where) > 1} == {}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_library_knows_neither_ray_nor_pipelines_nor_the_command_line(path: Path) -> None:
    assert not packages(path) & {"ray", "pipelines", "typer", "rich"}


def test_pipelines_do_not_know_the_command_line() -> None:
    for path in PIPELINES:
        assert not packages(path) & {"typer", "rich"}, path


def test_the_command_line_reaches_up_to_pipelines_lazily() -> None:
    pulled = [(path.name, name, lazy) for path in CLI for name, lazy in imports(path)]
    assert all(lazy for _, name, lazy in pulled if name.split(".")[0] == "pipelines")
    assert not any(name.split(".")[0] == "ray" for _, name, _ in pulled)


HEAVY = ["torch", "ray", "diffusers", "cv2", "decord", "av", "pyarrow", "numpy", "pipelines"]
HEAVY += ["motionecho.config", "motionecho.models"]


# Typer brings pydantic along by itself, but only once it parses the options of a command.
@pytest.mark.parametrize(
    ("words", "heavy"), [(["--help"], [*HEAVY, "pydantic"]), (["batch", "submit", "--help"], HEAVY)]
)
def test_command_line_starts_without_heavy_packages(words: list[str], heavy: list[str]) -> None:
    loaded = f"[name for name in {heavy} if name in sys.modules]"
    code = f"import sys, json; from motionecho.cli.main import run; run({words}); print(json.dumps({loaded}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout.splitlines()[-1]) == []
