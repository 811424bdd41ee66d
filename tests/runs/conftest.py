"""The three kinds of places that runs are kept in: a disk, memory, and an S3 server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server on loopback, and the environment that leads to it."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    with pytest.MonkeyPatch.context() as patch:
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # a client made before has another address
        fsspec.filesystem("s3").makedirs("runs", exist_ok=True)
        yield "s3://runs"
        server.stop()


@pytest.fixture(params=["disk", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return str(tmp_path / "run") if request.param == "disk" else f"memory://{tmp_path.name}"
