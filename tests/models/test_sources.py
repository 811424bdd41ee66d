"""Weights are found in folders, in the hub's cache and behind URLs, fetched once, and hashed once."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from served import Answer, served

from motionecho.config import Placement
from motionecho.errors import UserError
from motionecho.models.registry import PairSpec, pair_spec
from motionecho.models.weights import sources
from motionecho.models.weights.sources import Published
from motionecho.runs.waits import Doing, heard, watched

PARTS = {
    "teacher": Published("org/teacher", {"": ("model.safetensors", "model.bin")}, 1.0),
    "base": Published("org/base", {"unet": ("unet/a.safetensors",), "vae": ("vae/a.safetensors",)}, 1.0),
}
HUB_FILES = {"org/teacher": ["model.bin"], "org/base": ["unet/a.safetensors", "vae/a.safetensors"]}
KEYS = ("teacher", "base/unet", "base/vae")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairSpec:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return replace(pair_spec("turbo-v2"), name="pair", parts=PARTS)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def memory() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    for name in ("model.bin", "unet/a.safetensors", "vae/a.safetensors"):
        fs.pipe(f"/weights/{name}", name.encode())
    yield "memory://weights"
    fs.rm("/weights", recursive=True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as huggingface_hub lays it out, and no hub to reach."""
    for repository, names in HUB_FILES.items():
        home = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text("0" * 40)
        write(home / "snapshots" / ("0" * 40), *names)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_folder_is_flat_or_mirrors_the_hub(spec: PairSpec, tmp_path: Path) -> None:
    flat = write(tmp_path / "flat", "model.safetensors", "unet/a.safetensors", "vae/a.safetensors")
    mirrored = [f"{repository}/{name}" for repository, names in HUB_FILES.items() for name in names]
    mirror = write(tmp_path / "mirror", *mirrored)
    for folder in (flat, mirror):
        assert tuple(spec.at((str(folder),)).paths()) == KEYS
    assert spec.at((str(mirror),)).paths()["teacher"].name == "model.bin"  # the second spelling


def test_one_part_may_be_elsewhere_down_to_a_file(spec: PairSpec, tmp_path: Path) -> None:
    flat = write(tmp_path / "flat", "unet/a.safetensors", "vae/a.safetensors")
    own = write(tmp_path / "own", "mine.pt") / "mine.pt"
    assert spec.at((str(flat), f"teacher={own}")).paths()["teacher"] == own
    with pytest.raises(
        UserError, match=r"teacher are missing at .*flat/model.safetensors; copy hf://org/teacher"
    ):
        spec.at((str(flat),)).paths()


def test_the_variable_is_the_default_and_the_option_wins(spec: PairSpec, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", "/somewhere")
    assert spec.at().weights_at == ("/somewhere",)
    assert spec.at(("random",)).weights_at == ("random",)
    assert pair_spec("toy").weights_at == ()  # which ships with its own


def test_published_weights_are_found_in_the_hub_s_cache(spec: PairSpec, hub: Path) -> None:
    assert spec.at().paths() == spec.at().pull()
    assert spec.at().paths()["teacher"].read_text() == "model.bin"
    assert spec.at(("teacher=hf://org/teacher",)).paths() == spec.at(("teacher=org/teacher",)).paths()
    with pytest.raises(UserError, match=r"hf://org/other/.* on this machine; fetch them with: .* pull"):
        spec.at(("teacher=org/other",)).paths()
    with pytest.raises(UserError, match="hub cannot be reached"):
        spec.at(("teacher=org/other",)).pull()


def test_weights_behind_a_url_are_copied_once(spec: PairSpec, memory: str) -> None:
    there = spec.at((memory,))
    with pytest.raises(UserError, match=r"missing at memory://weights/model\.safetensors on this machine"):
        there.paths()  # asking where the weights are fetches none
    pulled = there.pull()
    assert pulled["base/unet"].read_bytes() == b"unet/a.safetensors"
    before = {path: path.stat().st_mtime_ns for path in pulled.values()}
    assert there.pull() == there.paths() == pulled
    assert {path: path.stat().st_mtime_ns for path in pulled.values()} == before
    with pytest.raises(UserError, match=r"missing at memory://nowhere/model\.safetensors"):
        spec.at(("memory://nowhere",)).pull()
    assert not list(sources.cache_folder("").rglob(".part-*"))


def test_before_anything_is_fetched_it_is_said_what_from_where_to_where(
    spec: PairSpec, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    seen: list[Doing] = []
    with heard(lines.append), watched(seen.append):
        spec.at((memory,)).pull()
        spec.at((memory,)).pull()  # now that all is here
    assert lines[0] == "fetching   teacher, base/unet, base/vae of pair pair, 2.0 GB at most"
    assert lines[1] == "from       memory://weights/model.safetensors"
    assert lines[-2].startswith(f"to         {sources.cache_folder('weights')} (")
    assert lines[-1].startswith("stop       Ctrl-C")
    assert sum("fetching" in line for line in lines) == 1
    assert {doing.what for doing in seen} >= {"fetching a.safetensors"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody is there
    lines.clear()
    with heard(lines.append), pytest.raises(UserError) as refused:
        spec.at().pull()
    assert lines == []
    assert "hf://org/teacher/model.safetensors" in str(refused.value)
    assert "the hub cannot be reached: http://127.0.0.1:9" in str(refused.value)


def test_a_login_or_a_signature_opens_weights_and_names_none(spec: PairSpec) -> None:
    def answer(method: str, path: str, login: str | None) -> Answer:
        name, _, query = path.partition("?")
        known = login is not None or query == "sv=2022-11-02&sig=secret%2Bword"
        there = name in ("/w/model.bin", "/w/unet/a.safetensors", "/w/vae/a.safetensors")
        return (200 if known and there else 404 if known else 403), {}, name.encode()

    with served(answer) as web:
        signed = f"{web.url}/w/?sv=2022-11-02&sig=secret%2Bword"
        file = f"http://me:secretword@{web.host}/w/model.bin"
        with pytest.raises(UserError, match=r"cannot fetch the weights: .* is forbidden") as refused:
            spec.at((signed.replace("secret", "secret-past"),)).pull()
        with pytest.raises(UserError, match=r"missing at .* on this machine") as missing:
            spec.at((signed,)).paths()
        assert "secret" not in f"{refused.value}{missing.value}"
        pulled = spec.at((signed, f"teacher={file}")).pull()
        assert pulled["teacher"].read_bytes() == b"/w/model.bin"
        assert "secret" not in str(sorted(sources.cache_folder("weights").rglob("*")))
    placement = Placement(weights=spec.at((signed, f"teacher={file}")).weights_at)
    assert json.loads(json.dumps(placement.weights)) == [
        f"{web.url}/w/?***", f"teacher=http://***@{web.host}/w/model.bin"
    ]  # fmt: skip
    assert pickle.loads(pickle.dumps(placement)).weights[1].full == f"teacher={file}", (
        "a worker may pull, too"
    )
    assert spec.at(tuple(map(str, placement.weights))).pull() == pulled, "what is here needs no login"


def test_random_weights_are_said_to_be_random(spec: PairSpec) -> None:
    assert spec.at(("random",)).weights() == dict.fromkeys(KEYS, "random")
    with pytest.raises(UserError, match="random stands for all"):
        spec.at(("random", "teacher=/x"))


@pytest.mark.parametrize(("weights", "said"), [
    ("techer=/x", r'no part "techer" \(did you mean "teacher"\?\)'),
    ("/x/model.ckpt", "is one file, where several are needed"),
    ("base=/x/model.ckpt", "is one file, where several are needed"),
])  # fmt: skip
def test_a_place_that_cannot_be_meant_is_told(spec: PairSpec, weights: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        spec.at((weights,))


def test_a_pair_that_ships_its_weights_takes_no_others() -> None:
    with pytest.raises(UserError, match="ships with its weights"):
        pair_spec("toy", ("/x",))


def test_a_large_file_is_hashed_once_and_again_when_it_changes(spec, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sources, "LARGE", 1)
    folder = write(tmp_path / "flat", "model.bin", "unet/a.safetensors", "vae/a.safetensors")
    there = spec.at((str(folder),))
    assert set(there.known_weights().values()) == {None}  # nothing is read to say what there is
    first = there.weights()
    assert there.known_weights() == first
    for note in sources.cache_folder("sha256").iterdir():
        _, _, stamp = note.read_text().partition(" ")
        note.write_text(f"{'0' * 64} {stamp}")
    assert set(there.weights().values()) == {"0" * 64}  # believed while size and time hold
    (folder / "model.bin").touch()
    assert there.known_weights()["teacher"] is None
    assert there.weights()["teacher"] == first["teacher"]


def indexed(folder: Path, *names: str) -> Path:
    write(folder, *names)
    index = {"weight_map": {f"tensor.{name}": name for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SHARDED = {"teacher": Published("org/teacher", {"": ("model.safetensors.index.json", "model.bin")}, 1.0)}


def test_an_index_stands_for_the_files_that_it_names(spec: PairSpec, tmp_path: Path) -> None:
    folder = indexed(tmp_path / "sharded", *SHARDS)
    there = replace(spec, parts=SHARDED).at((str(folder),))
    assert [*there.paths()] == ["teacher", *(f"teacher/{name}" for name in SHARDS)]
    before = there.weights()
    assert len({*before.values()}) == 3
    (folder / SHARDS[1]).write_bytes(b"another")
    assert {key for key, its in there.weights().items() if its != before[key]} == {f"teacher/{SHARDS[1]}"}
    (folder / SHARDS[1]).unlink()
    with pytest.raises(
        UserError, match=rf"missing at .*/{SHARDS[1]}; copy hf://org/teacher/{SHARDS[1]} there"
    ):
        there.paths()


def test_files_of_an_index_are_fetched_with_it(spec: PairSpec, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.put(str(indexed(tmp_path / "sharded", *SHARDS)), "/sharded", recursive=True)
    there = replace(spec, parts=SHARDED).at(("memory://sharded",))
    with pytest.raises(UserError, match="on this machine; fetch them with"):
        there.paths()
    pulled = there.pull()
    assert pulled == there.paths()
    assert pulled[f"teacher/{SHARDS[0]}"].read_text() == SHARDS[0]
    fs.rm("/sharded", recursive=True)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {"a": "../b"}}', '{"weight_map": {"a": 1}}']
)
def test_an_index_that_is_none_is_named(spec: PairSpec, tmp_path: Path, text: str) -> None:
    index = write(tmp_path / "broken", "model.safetensors.index.json") / "model.safetensors.index.json"
    index.write_text(text)
    with pytest.raises(
        UserError, match=r"model.safetensors.index.json is no index of files that lie beside it"
    ):
        replace(spec, parts=SHARDED).at((str(index.parent),)).paths()
