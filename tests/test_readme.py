"""What the README shows is there: files, links, commands and the make targets."""

import re
import shlex
from pathlib import Path

import pytest

from motionecho.cli.main import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    {line.split("#")[0].strip() for line in README.splitlines() if line.startswith("    motionecho ")}
)


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


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", re.sub(r"<!--.*?-->", "", README, flags=re.S))
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_its_options_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    names = [word for word in words[:2] if word.isalpha()]
    assert run([*names, "--help"]) == 0
    offered = capsys.readouterr().out
    for word in words:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", offered), word


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
