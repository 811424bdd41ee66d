"""What packagers rely on: bounds, the lock of the image, and a README without files beside it."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from motionecho import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "cluster" / "requirements.lock").read_text(encoding="utf-8")
OF_THE_IMAGE = ("s3", "gcs", "azure", "web", "jobs")
LINUX = {
    "python_version": "3.11", "python_full_version": "3.11.0", "platform_machine": "x86_64",
    "os_name": "posix",
    "sys_platform": "linux", "platform_system": "Linux", "implementation_name": "cpython",
    "platform_python_implementation": "CPython", "extra": "",
}  # fmt: skip


def named(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement).lower()


def locked() -> dict[str, tuple[Version, int]]:
    """Return the version of every package of the lock, and how many hashes it has."""
    found = {}
    for entry in re.split(r"\n(?=\S)", LOCK):
        if pin := re.match(r"([\w.-]+)==(\S+)", entry):
            found[named(pin[1])] = (Version(pin[2]), entry.count("--hash=sha256:"))
    return found


def test_the_lock_has_what_the_image_needs_within_the_bounds() -> None:
    pins = locked()
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in OF_THE_IMAGE:
        wanted += PROJECT["project"]["optional-dependencies"][extra]
    asked = [each for each in map(Requirement, wanted) if each.marker is None or each.marker.evaluate(LINUX)]
    assert len(asked) > 20
    for each in asked:
        version, _ = pins[named(each.name)]
        assert each.specifier.contains(version, prereleases=True), f"{each}: {version}; run make lock"
    assert len(pins) > 100
    assert all(hashes for _, hashes in pins.values()), "without a hash pip --require-hashes refuses all"


def test_the_image_is_made_of_the_lock_and_renewed_by_a_command() -> None:
    dockerfile = (ROOT / "cluster" / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert "--no-deps ." in dockerfile
    python = re.search(r"^FROM python:([\d.]+)", dockerfile, flags=re.M)
    assert python
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlock: ")[1].split("\n\n")[0]
    assert f"--python-version {python[1]} " in recipe
    assert re.findall(r"--extra (\w+)", recipe) == [*OF_THE_IMAGE]
    assert "\n#    make lock\n" in LOCK
    ray = locked()["ray"][0]
    for name in ("rayjob.yaml", "raycluster.yaml"):
        assert f'rayVersion: "{ray}"' in (ROOT / "cluster" / name).read_text(encoding="utf-8"), name


def test_on_a_package_index_the_readme_links_to_no_file_beside_it() -> None:
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    shown = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\]\((?!https?://)", shown)) > 20
    for each in hook["substitutions"]:
        shown = re.sub(each["pattern"], each["replacement"], shown)
    assert re.findall(r"\]\((?!https?://)", shown) == []
    assert "docs/architecture.md" in shown, "it is still named"


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["license"]) == (__version__, PROJECT["project"]["license"])
    assert cited["authors"] == PROJECT["project"]["authors"]
    assert cited["references"][0]["url"].startswith("https://arxiv.org/abs/")


def test_what_the_source_distribution_takes_along_is_there() -> None:
    taken = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/docs", "/tests", "/cluster", "/CHANGELOG.md"} <= {*taken}
    assert all((ROOT / name.lstrip("/")).exists() for name in taken)


def test_every_extra_that_a_page_names_exists() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    pages = [ROOT / "README.md", ROOT / "cluster" / "README.md", *(ROOT / "docs").rglob("*.md")]
    sources = [*pages, *(ROOT / "motionecho").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]
    found = {
        name.strip()
        for path in sources
        for names in re.findall(r"motionecho\[([a-z0-9, ]+)\]", path.read_text(encoding="utf-8"))
        for name in names.split(",")
    }
    assert found >= {"s3", "jobs", "metrics"}
    assert found <= extras.keys()
