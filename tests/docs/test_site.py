"""The documentation as a site: it is built without a warning, and no page of ours is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patience
from tests.test_readme import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="pip install 'motionecho[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=patience(120),
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},  # the theme's news about itself
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_every_page_is_there_and_in_the_list(site: Path) -> None:
    listed = set(re.findall(r'href="([\w.]+\.html)', (site / "index.html").read_text(encoding="utf-8")))
    pages = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    assert len(pages) >= 20
    assert {*pages, "index.html", "cluster.html", "manifests.html", "changelog.html"} <= listed
    assert all((site / name).exists() for name in listed)


def test_links_between_pages_beside_the_code_lead_within_the_site(site: Path) -> None:
    quickstart = (site / "quickstart.html").read_text(encoding="utf-8")
    assert 'href="cluster.html"' in quickstart
    assert 'href="index.html"' in quickstart
    assert (site / "demo.webp").exists()
    readme = (site / "index.html").read_text(encoding="utf-8")
    assert "echo.py</code> (the paper" in readme, "a link to the code became its text"
    assert not re.findall(r'href="[^":]*\.(?:py|md)"', readme)


def test_a_page_asks_no_other_server_for_anything(site: Path) -> None:
    for page in site.glob("*.html"):
        loaded = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(\w+://[^"]+)"', page.read_text("utf-8"))
        assert loaded == [], page.name
