"""The figures of a run are told of every run, wherever it is kept."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.driver.meters import Meters


@pytest.mark.parametrize(
    ("run", "tag"), [("s3://b/run-1", "s3://b/run-1"), ("/data/dé/走る\x1b", r"/data/d\xe9/\u8d70\u308b\x1b")]
)
def test_a_run_in_a_folder_of_any_name_has_figures(run: str, tag: str) -> None:
    loop: Any = SimpleNamespace(tally=SimpleNamespace(committed=1, failed=1, failures=Counter()), pools=[])
    meters = Meters(run, 3)
    meters.tell(loop)  # Ray raises for other letters than ASCII's
    assert meters.left.info["default_tags"] == {"run": tag}
