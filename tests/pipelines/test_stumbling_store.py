"""A bucket that refuses one request in five for a minute: nothing is lost, nothing half written."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from chaos_runs import FAST, Start, by_id, check_whole, ended, rows, written

pytestmark = pytest.mark.slow


class Stumbling:
    """A server's application that answers 503 to a share of the requests of its first minute."""

    def __init__(self, application: Any, share: float = 0.2, seconds: float = 60) -> None:
        self.application, self.share, self.seconds = application, share, seconds
        self.dice, self.since, self.refused = random.Random(0), 0.0, 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.since = self.since or time.monotonic()
        if time.monotonic() - self.since < self.seconds and self.dice.random() < self.share:
            self.refused += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"]
        return self.application(environ, start_response)


@pytest.fixture
def stumbling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stumbling]:
    """An S3 server of that kind on loopback, where the environment leads; its bucket is `runs`."""
    threaded = pytest.importorskip("moto.moto_server.threaded_moto_server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    made: list[Stumbling] = []
    dispatcher = threaded.DomainDispatcherApplication

    def stumble(*words: Any) -> Stumbling:
        made.append(Stumbling(dispatcher(*words), share=0))
        return made[0]

    monkeypatch.setattr(threaded, "DomainDispatcherApplication", stumble)
    server = threaded.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    fsspec.filesystem("s3").mkdir("runs")
    made[0].share, made[0].since = 0.2, 0.0
    yield made[0]
    server.stop()


def test_a_bucket_that_answers_503_for_a_minute(cli: Start, stumbling: Stumbling, tmp_path: Path) -> None:
    table, out = rows(60), "s3://runs/stumbling"
    manifest = written(tmp_path / "60.csv", table)
    code, said = ended(cli("batch", "submit", manifest, "--out", out, *FAST, "--workers", "2", "--json"))
    assert code == 0, said
    assert time.monotonic() - stumbling.since > 60, "the run outlived the bad minute"
    records = by_id(out)
    assert set(records) == {row["id"] for row in table}
    assert not [strike for record in records.values() for strike in record.strikes]
    check_whole(out, records)
    named = {blob.uri for record in records.values() for blob in record.blobs}
    there = {path.removeprefix("runs/stumbling/") for path in fsspec.filesystem("s3").find("runs/stumbling")}
    print(f"{stumbling.refused} requests refused; {len(there)} objects, unnamed blobs: ",
          sorted(each for each in there - named if each.endswith((".mp4", "trace.parquet"))))  # fmt: skip
    assert named <= there
    assert stumbling.refused > 20
