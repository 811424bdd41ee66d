"""Commands of the README and the pages: each parses as the command line would, and blocks of `sh run` run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from motionecho.cli.app import app
from tests.patience import patience
from tests.test_readme import PAGES, ROOT, text_of

BLOCK = re.compile(r"^```sh run( slow)?\n(.*?)^```", flags=re.M | re.S)
RUN = [(page, slow, block) for page in PAGES for slow, block in BLOCK.findall(text_of(page))]


def whole(text: str) -> list[str]:
    """Return the commands that a page shows on lines of their own, indented or in a block."""
    text = text.replace("\\\n", " ")
    blocks = "".join(re.findall(r"^```sh[^\n]*\n(.*?)^```", text, flags=re.M | re.S))
    return [
        line.strip()
        for lines, start in ((text, " {4}"), (blocks, ""))
        for line in re.findall(rf"^{start}(motionecho [a-z-].*)", lines, flags=re.M)
    ]


def parts(text: str) -> list[str]:
    """Return commands within sentences, which may leave their arguments out."""
    return re.findall(r"`(motionecho [a-z-][^`\n]*)`", text)


def parsed(line: str, lenient: bool = False) -> Any:
    """Read a line as the command line does, up to where it would begin; raise what it raises.

    `lenient`: arguments may be missing and values be words that stand for them.
    """
    words = shlex.split(line, comments=True)
    for end in ("&&", ";", "|"):
        words = words[: words.index(end)] if end in words else words
    command: Any = typer.main.get_command(app)
    context, rest = command.make_context("motionecho", words[1:], resilient_parsing=lenient), words[1:]
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if lenient and not rest:
            break
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, [*rest], parent=context, resilient_parsing=lenient)
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    for word in rest if lenient else ():
        if word.startswith("-") and word.split("=")[0] not in {*known, "--help", "-h", "--debug"}:
            raise LookupError(word)
    return context


@pytest.mark.parametrize(
    ("line", "lenient", "kind"),
    [
        ("motionecho bacth plan m.csv", False, "UsageError"),
        ("motionecho batch plan m.csv --pilots 3", False, "NoSuchOption"),
        ("motionecho batch plan --pilots 3", True, "LookupError"),
        ("motionecho batch plan --limit 3", False, "MissingParameter"),
        ("motionecho batch plan m.csv --pilot three", False, "BadParameter"),
    ],
)
def test_what_does_not_parse_is_seen(line: str, lenient: bool, kind: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # typer's own, or click's in older ones
        parsed(line, lenient)
    assert type(raised.value).__name__ == kind
    assert parsed("motionecho batch plan m.csv --pilot 3 # three").params["pilot"] == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_parses(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for lines, lenient in ((whole(text_of(page)), False), (parts(text_of(page)), True)):
        for line in lines:
            try:
                parsed(line, lenient)
            except Exception as problem:
                message = getattr(problem, "message", problem)
                pytest.fail(f"{line}: {message}")


def test_the_pages_show_many() -> None:
    assert sum(len(whole(text_of(page))) for page in PAGES) > 60
    assert sum(len(parts(text_of(page))) for page in PAGES) > 40
    assert [bool(slow) for _, slow, _ in RUN].count(False) > 0


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=page.name, marks=[pytest.mark.slow] if slow else [])
        for page, slow, block in RUN
    ],
)
def test_a_block_runs_as_it_stands(page: Path, block: str, tmp_path: Path) -> None:
    """As a reader would in a checkout, whose clips are at hand; what it writes is elsewhere."""
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    script = f'set -eu\nmotionecho() {{ "{sys.executable}" -m motionecho "$@"; }}\n{block}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=patience(300), env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout.isspace()
