"""An address that cannot be joined is one sentence, soon."""

import os
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from motionecho.errors import UserError
from pipelines.execution import Execution
from pipelines.machines.ray_cluster import connected


def sentence(address: str) -> str:
    with pytest.raises(UserError) as caught, connected(Execution(address=address)):
        pass
    return str(caught.value)


def test_a_job_server_is_not_joined_in_silence() -> None:
    assert "ray://" in sentence("http://head:8265")


def test_a_cluster_whose_token_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**words: Any) -> None:
        raise AuthenticationError("Token authentication is enabled but no authentication token was found")

    monkeypatch.setattr(ray, "init", init)
    said = sentence("auto")
    assert "no token is set here" in said
    assert "RAY_AUTH_TOKEN with RAY_AUTH_MODE=token" in said


def test_the_users_own_token_is_what_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their cluster is theirs: what they say of its door is left as it is."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of their cluster")
    seen: dict[str, str] = {}
    monkeypatch.setattr(ray, "init", lambda **words: seen.update(os.environ))
    with connected(Execution(address="auto")):
        pass
    assert {name: seen[name] for name in seen if name.startswith("RAY_AUTH")} == {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of their cluster"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("job", "passed_on"), [(None, {"env_vars": {"MOTIONECHO_PROTOCOLS": "sftp"}}), ("j", None)]
)
def test_workers_open_what_the_driver_may(
    monkeypatch: pytest.MonkeyPatch, job: str | None, passed_on: dict[str, Any] | None
) -> None:
    """In a job it is in everybody's environment already."""
    monkeypatch.setenv("MOTIONECHO_PROTOCOLS", "sftp")
    if job:
        monkeypatch.setenv("MOTIONECHO_JOB", job)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **words: seen.update(words))
    with connected(Execution(address="auto")):
        pass
    assert seen["runtime_env"] == passed_on
