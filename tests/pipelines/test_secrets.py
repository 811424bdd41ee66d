"""A run whose files are opened by logins and signatures: nothing that it writes or prints holds one."""

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fake_stages as fakes
import pyarrow.parquet as pq
import pytest
from served import Answer, Server, served

from motionecho.cli.main import run
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines import generate as pipeline

SECRETS = ("planted-word", "planted-signature", "planted-token", "cGxhbnRlZ")
LOGIN = "Basic " + base64.b64encode(b"me:planted-word").decode()
Cli = Callable[..., tuple[int, str]]

pytestmark = pytest.mark.usefixtures("embedded_ray")


class Clips:
    """A server that opens its files by a login or a signature; "late" ones only once, to those who plan."""

    def __init__(self) -> None:
        self.manifest, self.had = b"", set[str]()

    def __call__(self, method: str, path: str, login: str | None) -> Answer:
        name = path.partition("?")[0].strip("/")
        known = login == LOGIN or "Signature=planted-signature" in path
        if not known or name in self.had or name.startswith("forbidden"):
            return 403, {}, b""
        if name.startswith("late") and method == "GET":
            self.had.add(name)
        return 200, {"ETag": f'"{name}"'}, self.manifest if name.endswith(".jsonl") else name.encode()


@pytest.fixture
def clips() -> Clips:
    return Clips()


@pytest.fixture
def web(clips: Clips) -> Iterator[Server]:
    with served(clips) as server:
        yield server


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run a command on fake stages; all that it and its workers print has to be without secrets."""
    monkeypatch.setattr(pipeline, "run", partial(pipeline.run, factory=fakes.FACTORY))
    (tmp_path / "engine.yaml").write_text("infra_attempts: 1\n")

    def call(*words: Any) -> tuple[int, str]:
        capfd.readouterr()
        code = run([str(word) for word in words])
        said = "".join(capfd.readouterr())
        assert not [secret for secret in SECRETS if secret in said], said
        return code, said

    return call


def rows(web: Server) -> list[dict[str, Any]]:
    login = f"http://me:planted-word@{web.host}"
    signed = "X-Amz-Expires=60&Signature=planted-signature"
    note = f"see {login}/y?token=planted-token, or not"
    source = [{"page": f"{login}/page", "files": {f"{login}/x": note}}]
    key = f"{login}?api_key=planted-token"
    return [
        {"id": "login", "reference": f"{login}/a.mp4", "prompt": "fine one", "source": source},
        {"id": "signed", "reference": f"{web.url}/b.mp4?id=1&{signed}", "prompt": "fine two"},
        {"id": "late", "reference": f"{web.url}/late.mp4?{signed}", "prompt": "fine three"},
        {"id": "forbidden", "reference": f"{login}/forbidden.mp4", "prompt": "fine four"},
        {"id": "refused", "reference": f"zip://a::{login}/b.zip", "prompt": "fine five"},
        {"id": "bad", "reference": f"{login}/c.mp4", "prompt": "fine six", "seed": f"{login}/seed"},
        {"reference": f"{login}/c.mp4", "prompt": "raises always", "source": key},
    ]


def records(out: Path) -> dict[str, Record]:
    return {record.inputs["prompt"]: record for record in RunStore(str(out)).records()}


def planted(folder: Path) -> list[str]:
    """Every file that holds a secret, as bytes or packed in a table."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert {".json", ".parquet"} <= {path.suffix for path in found}
    tables = {path: pq.read_table(path) for path in found if path.match("*results*/*.parquet")}
    tables |= {path: pq.read_table(path) for path in found if path.name == "results.parquet"}
    assert len(tables) >= 2
    packed = {path: str(table.to_pydict()).encode() for path, table in tables.items()}
    words = [secret.encode() for secret in SECRETS]
    return [str(p) for p in found if any(w in p.read_bytes() + packed.get(p, b"") for w in words)]


def test_no_byte_that_is_written_or_printed_opens_a_file(
    cli: Cli, clips: Clips, web: Server, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    clips.manifest = "\n".join(map(json.dumps, rows(web))).encode()
    manifest = f"http://me:planted-word@{web.host}/m.jsonl?Signature=planted-signature"
    submit = ("batch", "submit", manifest, "--out", out, "--engine", tmp_path / "engine.yaml")
    cli("manifest", "validate", manifest)
    clips.had.clear()
    code, said = cli("batch", "plan", manifest, "--out", out)
    assert (code, "not read" in said) == (0, True)
    clips.had.clear()
    code, said = cli(*submit)
    assert code == 3
    assert f"manifest   http://***@{web.host}/m.jsonl?***: 7 rows" in said
    assert "not read   1; the first: " in said
    assert "not read   1 row whose files could not be had now; the same command again tries them" in said

    made = records(out)
    assert {record.id for record in made.values() if record.ok} == {"login", "signed"}
    assert {record.id for record in made.values()} >= {"refused", "bad"}
    assert "put off    1 sample that could not be made now; the same command again tries them" in said
    assert 'sample "late": ' in said
    assert "fine three" not in made, "what is forbidden at work is nobody's record"
    assert "fine four" not in made, "nor what was when it was planned"
    assert made["fine one"].inputs["reference"] == f"http://***@{web.host}/a.mp4"
    assert made["fine two"].reference["uri"] == f"{web.url}/b.mp4?id=1&***"
    raised = made["raises always"].error
    assert raised is not None
    assert "out of luck" in raised.traceback
    assert made["raises always"].inputs["source"] == f"http://***@{web.host}?***"

    assert cli(*submit, "--json")[0] == 3
    for command in ("status", "failures", "gc"):
        cli("batch", command, out, "--json")
    code, said = cli("batch", "retry", out)
    assert (code, "whose login or signature is not stored" in said) == (2, True)
    assert "name it in full after RUN" in said
    cli("batch", "retry", out, manifest, "--engine", tmp_path / "engine.yaml")
    cli("export", out, "-o", tmp_path / "exported")
    cli("batch", "collect", out, "-o", tmp_path / "collected.parquet")
    assert planted(tmp_path) == []


def test_what_a_record_lacks_is_asked_for(cli: Cli, clips: Clips, web: Server, tmp_path: Path) -> None:
    table, out = tmp_path / "m.jsonl", tmp_path / "out"
    table.write_text("\n".join(json.dumps(row) for row in rows(web)[:2]))
    assert cli("batch", "submit", table, "--out", out)[0] == 0
    for words in (("batch", "replay", out, "login"), ("score", out, "--metric", "sanity")):
        code, said = cli(*words)
        assert (code, "not stored: name the manifest that has them with --manifest" in said) == (2, True)
    part = next((out / "results").glob("*.parquet"))
    code, said = cli("batch", "submit", part, "--out", tmp_path / "again")
    assert (code, "which is not stored: name it again in full" in said) == (2, True)
    code, said = cli("score", out, "--metric", "sanity", "--manifest", table)
    assert "2 videos" in said
    assert not [row for row in said.splitlines() if "not stored" in row]


@pytest.mark.parametrize("option", ["--out", "--motions"])
def test_what_a_run_writes_to_has_no_login(cli: Cli, tmp_path: Path, option: str) -> None:
    (tmp_path / "a.mp4").write_text("clip")
    (tmp_path / "m.csv").write_text("reference,prompt\na.mp4,fine one\n")
    place = "http://me:planted-word@127.0.0.1:9/run"
    code, said = cli("batch", "submit", tmp_path / "m.csv", "--out", tmp_path / "out", option, place)
    assert (code, "takes its credentials from the environment" in said) == (2, True)


def test_the_last_word_of_a_command_is_without_secrets(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: Any, **named: Any) -> None:
        raise RuntimeError("Cannot connect to https://me:planted-word@host/a?sig=planted-signature")

    monkeypatch.setattr("pipelines.generate.plan_generation", broken)
    code, said = cli("batch", "submit", "https://me:planted-word@host/m.csv", "--out", "run")
    assert code == 1
    assert "unexpected RuntimeError: Cannot connect to https://***@host/a?***" in said
    assert "--debug batch submit https://***@host/m.csv --out run" in said
