"""The stages on the embedded pair, without Ray: what they leave in the store, in whatever order."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load, save

from motionecho.cache import Recent
from motionecho.config import Placement, RunSettings
from motionecho.errors import BadSample, Changed, NotThere, PoisonedDevice, Transient, Unreachable
from motionecho.make import Maker
from motionecho.models.registry import pair_spec
from motionecho.runs.keys import file_digest
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from motionecho.video import probe, read_provenance
from pipelines.generate import identity
from pipelines.plan import plan_generation
from pipelines.tasks import Task, failure_of
from pipelines.workers.stages import Common, build

CLIPS = Path(__file__).parents[2] / "manifests" / "clips"
CPU = Placement(device="cpu")
CONFIG = pair_spec("toy").config(None, {"steps": 1, "inversion_steps": 1, "activation": "never"})
SETTINGS = RunSettings(pair="toy", echo=CONFIG, metrics=("sanity", "text_alignment"), placement=CPU)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    table = tmp_path_factory.mktemp("manifest") / "m.csv"
    rows = [f"{CLIPS}/arc.mp4,a red star on a blue background,{seed}" for seed in (1, 2)]
    table.write_text("\n".join(["reference,prompt,seed", *rows]))
    return list(plan_generation(str(table), SETTINGS, str(table.parent / "out")).todo)


def test_invert_generate_score(tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    store = RunStore(str(tmp_path / "run"))
    first = dataclasses.replace(tasks[0], attempt="1-a")
    stages = build(("invert", "generate", "publish", "score"), SETTINGS, store.url)

    motion = stages["invert"](first)["motion"]
    assert motion.sha256 == file_digest(store.absolute(motion.uri))
    assert stages["invert"](first)["motion"] == Blob(motion.uri), "the second time it is there"

    made = stages["generate"](first)
    film = made["handed"]
    made |= stages["publish"](first, film)
    assert made["steps"]["loss"] == [step["loss"] for step in film.steps]
    assert file_digest(store.absolute(made["preview"].uri)) == made["preview"].sha256
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.workers.stages.write_preview", lambda *a: 1 / 0)
        assert "preview" not in stages["publish"](first, film), "and nothing else fails"
    video = store.absolute(made["video"].uri)
    assert file_digest(video) == made["video"].sha256
    assert (probe(video).frames, probe(video).width) == (16, 64)
    assert read_provenance(video)["key"] == first.key
    assert pq.read_table(store.absolute(made["stats"].uri)).num_rows == 1
    assert made["trace"]["evaluations"]["student"] >= 1

    scored = stages["score"](dataclasses.replace(first, video=made["video"].uri))
    assert scored["scores"]["sanity"]["sanity_status"] == "ok"
    assert scored["metrics"]["sanity"]["version"]
    assert "text_alignment" in scored["skipped"]

    # another sample first, other process state: the same latents
    again = build(("invert", "generate"), SETTINGS, str(tmp_path / "other"))
    for task in (tasks[1], tasks[0]):
        again["invert"](task)
    assert (
        again["generate"](dataclasses.replace(tasks[1], attempt="1-b"))["latent_sha256"]
        != made["latent_sha256"]
    )
    assert (
        again["generate"](dataclasses.replace(tasks[0], attempt="1-b"))["latent_sha256"]
        == made["latent_sha256"]
    )

    other = dataclasses.replace(tasks[0].payload, reference_sha256="0" * 64, motion_key="f" * 32)
    changed = dataclasses.replace(tasks[0], payload=other)
    with pytest.raises(Changed, match="changed while the run went on"):
        again["invert"](changed)


class Kept:
    """A run of two clips, and another that shares its motions: whose files are damaged in turn."""

    def __init__(self, folder: Path) -> None:
        table = folder / "m.csv"
        rows = [f"{CLIPS}/{clip}.mp4,a red star on a blue background" for clip in ("arc", "bounce")]
        table.write_text("\n".join(["reference,prompt", *rows]))
        self.tasks = plan_generation(str(table), SETTINGS, str(folder / "run")).todo
        self.other = RunStore(str(folder / "other"), motions=str(folder / "run" / "motions"))
        self.other.create({}, {})
        self.stages = build(("invert", "generate"), SETTINGS, str(folder / "run"))
        self.common: Common = self.stages["generate"].common  # type: ignore[attr-defined]
        motions = [self.stages["invert"](task)["motion"] for task in self.tasks]
        self.files = [Path(self.common.store.absolute(motion.uri)) for motion in motions]
        self.whole = [file.read_bytes() for file in self.files]
        self.latents = [self.stages["generate"](task)["latent_sha256"] for task in self.tasks]

    def made(self, monkeypatch: pytest.MonkeyPatch, clips: int = 1, store: RunStore | None = None) -> int:
        """Make the videos in a process that remembers no motion: count inversions, check the latents."""
        maker, inverted, tasks = self.common.maker, [], self.tasks[:clips]
        with monkeypatch.context() as patch:
            patch.setattr(self.common, "motions", Recent(8))
            patch.setattr(self.common, "store", store or self.common.store)
            patch.setattr(maker, "motion", lambda *a: inverted.append(a) or Maker.motion(maker, *a))
            for task in tasks:
                self.stages["prefetch"](task)  # reads ahead, and leaves mending to whoever has the device
            assert not inverted
            made = [self.stages[name](task) for task in tasks for name in ("invert", "generate")]
        assert [result["latent_sha256"] for result in made[1::2]] == self.latents[:clips]
        assert [file.read_bytes() for file in self.files] == self.whole
        return len(inverted)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    torch.set_num_threads(1)
    return Kept(tmp_path_factory.mktemp("kept"))


def older(data: bytes) -> bytes:
    """A motion as it was written before its header had a digest."""
    return save(load(data), {"motionecho": json.dumps({"inversion": "{}", "pair": "toy"})})


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:1000],
    "empty": lambda data: b"",
    "another's": lambda data: save({"weight": torch.zeros(1)}),
    "older": older,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_motion_is_made_anew(
    kept: Kept, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.files[0].write_bytes(damage(kept.whole[0]))
    assert kept.made(monkeypatch) == 1


def test_a_motion_that_is_gone_is_made_anew_once(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.files[0].unlink()
    assert [kept.made(monkeypatch), kept.made(monkeypatch)] == [1, 0]


def test_motions_in_each_other_s_place_are_made_anew(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run of its own, and by one that shares its motions."""
    for store in (kept.common.store, kept.other):
        for file, data in zip(kept.files, reversed(kept.whole), strict=True):
            file.write_bytes(data)
        assert kept.made(monkeypatch, 2, store) == 2


def test_no_flipped_bit_of_a_motion_reaches_a_video(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    data = kept.whole[0]
    begin = 8 + int.from_bytes(data[:8], "little")
    for n, offset in enumerate([3, 90, begin // 2, begin, begin + 3, -1]):
        changed = bytearray(data)
        changed[offset] ^= 1 << (n * 3) % 8
        kept.files[0].write_bytes(changed)
        assert kept.made(monkeypatch) == 1, f"a bit of byte {offset}"


def test_a_gate_makes_it_again_and_names_another_sample(tasks: list[Task], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    store = RunStore(str(tmp_path / "run"))
    gated = dataclasses.replace(SETTINGS, gate="mf_traj>=2, 2 tries", metrics=())
    task = dataclasses.replace(tasks[0], attempt="1-a")
    stages = build(("invert", "generate", "publish"), gated, store.url)
    stages["invert"](task)
    made = stages["generate"](task)
    made |= stages["publish"](task, made["handed"])
    first, second = made["tries"]
    assert (first["seed"], second["seed"] == first["seed"]) == (task.payload.sample.seed, False)
    assert [line["kept"] for line in made["tries"]].count(True) == 1
    assert max(first["mf_traj"], second["mf_traj"]) == next(t["mf_traj"] for t in made["tries"] if t["kept"])
    kept = next(line["seed"] for line in made["tries"] if line["kept"])
    assert read_provenance(store.absolute(made["video"].uri))["seed"] == kept

    table = tmp_path / "m.csv"
    table.write_text(f"reference,prompt\n{CLIPS}/arc.mp4,a red star\n")
    plain, other = (plan_generation(str(table), each, store.url).todo[0] for each in (SETTINGS, gated))
    assert plain.key != other.key
    assert plain.payload.motion_key == other.payload.motion_key


def test_failures_are_told_apart() -> None:
    kinds: dict[str, list[Exception]] = {
        "bad": [BadSample("x")],
        "infra": [
            Transient("x"),
            Unreachable("a.mp4 is forbidden"),
            NotThere("a.mp4 does not exist"),
            OSError(28, "full"),
            RuntimeError("I/O error: No space left on device (os error 28)"),
        ],
        "poisoned": [PoisonedDevice("x"), RuntimeError("CUDA error: an illegal memory access")],
        "strike": [ValueError("x"), torch.OutOfMemoryError("CUDA out of memory"), Changed("x")],
    }
    for kind, problems in kinds.items():
        assert [failure_of(problem, "generate").kind for problem in problems] == [kind] * len(problems)


def test_recent_keeps_the_last_used() -> None:
    recent: Recent[int] = Recent(2)
    for key in (1, 2, 1, 3):
        recent.get(key, lambda key=key: key * 10)  # type: ignore[misc]
    assert [recent.has(key) for key in (1, 2, 3)] == [True, False, True]
    assert recent.get(1, lambda: 0) == 10


def test_where_weights_are_reaches_the_workers_and_decides_nothing(tmp_path: Path) -> None:
    plain = RunSettings(pair="turbo-v2", echo=CONFIG, placement=Placement(weights=("random",), offload=True))
    again = RunSettings.from_dict(json.loads(json.dumps(plain.to_dict())))
    assert again == plain
    common = Common(again, str(tmp_path))
    assert common.spec.is_random
    same = identity(dataclasses.replace(plain, placement=dataclasses.replace(plain.placement, offload=False)))
    assert identity(plain) == same
    assert same["weights"] == {"teacher": "random", "student": "random"}
    assert "weights" not in same["settings"]
