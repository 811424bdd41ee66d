"""What all tests share: no network, no settings of the machine they run on, marks that skip themselves."""

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before anything loads torch
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes test side by side

ALLOWED = {"MOTIONECHO_PROTOCOLS": "memory"}  # which no one's table may name unless its reader says so
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("MOTIONECHO_") or name == "RAY_ADDRESS":
            monkeypatch.delenv(name)
    for name, value in (OFFLINE | ALLOWED).items():
        monkeypatch.setenv(name, value)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip `gpu` tests without an accelerator, and `slow` ones unless -m names them."""
    wanted = config.getoption("-m") or ""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_gpu():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no accelerator here"))
    if "slow" not in wanted:
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: run with -m slow"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if not _has_gpu():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported, by whichever test is first
