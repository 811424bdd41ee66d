"""A pair whose texts have a stage: each is encoded once, by a worker without networks, and found later."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import text_pair
import torch

from motionecho.cli.main import run as command
from motionecho.config import Placement, RunSettings
from motionecho.models.registry import load_pair, pair_spec
from motionecho.models.texts import EncodedText
from motionecho.runs.cleanup import orphans
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.runs.verify import verify
from pipelines.estimate import Cost, estimate
from pipelines.execution import Execution, Progress
from pipelines.generate import plan_generation, run
from pipelines.machines.ray_cluster import text_pool
from pipelines.machines.resources import laid_over, read_execution
from pipelines.replay import replay
from pipelines.tasks import Task
from pipelines.workers.canary import canary
from pipelines.workers.stages import build

CLIPS = Path(__file__).parents[2] / "manifests" / "clips"
PROMPTS = [f"a {color} star on a blue background" for color in ("red", "green", "white")]
CONFIG = pair_spec("toy").config(None, {"steps": 1, "inversion_steps": 1, "activation": "never"})
SETTINGS = RunSettings(pair=text_pair.PAIR, echo=CONFIG, metrics=(), placement=Placement(device="cpu"))
PLAIN = dataclasses.replace(SETTINGS, pair="toy")
EXECUTION = Execution(workers=2, backoff_s=0.01)


def manifest(folder: Path, prompts: list[str], seeds: tuple[int, ...] = (1, 2)) -> str:
    with (folder / f"{len(prompts)}-{seeds[0]}.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "reference", "prompt", "seed"])
        writer.writerows(
            [f"{seed}-{n}", CLIPS / "arc.mp4", prompt, seed]
            for n, prompt in enumerate(prompts)
            for seed in seeds
        )
    return stream.name


def records(out: Path) -> dict[str, Record]:
    return {record.id: record for record in RunStore(str(out)).records()}


def latents(out: Path) -> dict[str, str | None]:
    return {name: record.latent_sha256 for name, record in records(out).items()}


@pytest.mark.usefixtures("embedded_ray")
def test_each_text_is_encoded_once_and_by_no_worker_with_networks(tmp_path: Path) -> None:
    encode_each_once(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_ray")
def test_what_is_there_is_found_and_what_cannot_be_read_is_its_row_s_fault(tmp_path: Path) -> None:
    table, out, told = encode_each_once(tmp_path)
    encoded = text_pair.encoded(str(out))

    # the same videos as by the pair that encodes them itself, and nothing of the stage is seen there
    run(table, PLAIN, str(tmp_path / "plain"), EXECUTION, told.append)
    assert latents(out) == latents(tmp_path / "plain")
    assert "text" not in told[-2].pools
    assert not (tmp_path / "plain" / "texts").exists()
    text_pair.events.clear()
    assert replay(RunStore(str(out)), "1-0").equal
    assert text_pair.events == ["encoder", PROMPTS[0], "", "networks"]

    # other seeds: what is there is not encoded again, and no worker is had for it
    more = manifest(tmp_path, PROMPTS, (3,))
    assert plan_generation(more, SETTINGS, str(out)).plan.texts_cached == 4
    told.clear()
    assert run(more, SETTINGS, str(out), EXECUTION, told.append, factory=text_pair.FACTORY).committed == 3
    assert text_pair.encoded(str(out)) == encoded
    assert not any("text" in now.pools for now in told)

    # another prompt, and one that cannot be read: that row's fault, and no other's
    odd = manifest(tmp_path, ["a red moon on a blue background", "a red elephant"], (4,))
    summary = run(odd, SETTINGS, str(out), EXECUTION, factory=text_pair.FACTORY)
    assert (summary.committed, summary.failed) == (1, 1)
    error = records(out)["4-1"].error
    assert error
    assert (error.kind, error.stage) == ("bad", "text")
    assert 'does not know the word "elephant"' in error.message
    assert len(text_pair.encoded(str(out))) == len(encoded) + 2


def encode_each_once(tmp_path: Path) -> tuple[str, Path, list[Progress]]:
    """Make six videos of three prompts; the worker of texts dies once. Return table, place and words."""
    table, out, told = manifest(tmp_path, PROMPTS), tmp_path / "out", list[Progress]()
    plan = plan_generation(table, SETTINGS, str(out)).plan
    assert (plan.todo, plan.texts, plan.texts_cached) == (6, 4, 0)
    Path(f"{out}.dies").touch()
    summary = run(table, SETTINGS, str(out), EXECUTION, told.append, factory=text_pair.FACTORY)
    assert (summary.committed, summary.failed, summary.stopped) == (6, 0, None)
    encoded = text_pair.encoded(str(out))
    assert len(encoded) == 1 + len({*encoded}) == 1 + 4, "and once more what a worker died at"
    assert {*encoded} == {*PROMPTS, ""}
    strikes = [note for record in records(out).values() for note in record.strikes]
    assert [(note.name, note.stage) for note in strikes] == [("WorkerDied", "text")]
    assert {r.where.stages[0] for r in records(out).values() if r.where} == {"invert"}
    last = [now.pools for now in told if now.pools][-1]
    assert last["text"] == (0, 0), "its worker has ended with the stage"
    return table, out, told


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    torch.set_num_threads(1)
    return list(plan_generation(manifest(tmp_path, PROMPTS[:2], (1,)), SETTINGS, str(tmp_path / "run")).todo)


@pytest.fixture
def store(tmp_path: Path, tasks: list[Task]) -> RunStore:
    """A run whose stage for texts has been, and nothing else."""
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    stage = build(("text",), SETTINGS, store.url)["text"]
    assert [stage(task) for task in [*tasks, *tasks]] == [{"texts": 2}, {"texts": 1}, {}, {}]
    return store


def files(store: RunStore) -> list[Path]:
    return sorted(Path(store.url, "texts").rglob("*.safetensors"))


def test_texts_are_named_by_content(tasks: list[Task], store: RunStore, tmp_path: Path) -> None:
    assert [text for text, _ in tasks[0].payload.texts] == [PROMPTS[0], ""]
    keys = {key for task in tasks for _, key in task.payload.texts}
    assert keys == store.texts() == {path.stem for path in files(store)}
    plain = plan_generation(str(tmp_path / "2-1.csv"), PLAIN, str(tmp_path / "run"))
    assert not any(task.payload.texts for task in plan_generation(str(tmp_path / "2-1.csv"), PLAIN, "x").todo)
    assert (plain.texts, plain.plan.texts) == (None, 0)
    trained = pair_spec(text_pair.PAIR).updated(CONFIG, {"strategy": "vmc", "reference_prompt": PROMPTS[2]})
    texts = pair_spec(text_pair.PAIR).texts(PROMPTS[0], PROMPTS[1], trained.reference)
    assert texts == (PROMPTS[0], PROMPTS[1], "", PROMPTS[2])


def test_a_damaged_text_is_found_and_encoded_anew(tasks: list[Task], store: RunStore) -> None:
    whole = [path.read_bytes() for path in files(store)]
    files(store)[0].write_bytes(whole[0][:-1])
    shutil.copy(files(store)[2], files(store)[1])
    state = verify(store, lambda path, key: None, read_text=EncodedText.load)
    assert {(each.what, each.file) for each in state.findings} == {
        ("damaged", f"texts/{path.parent.name}/{path.name}") for path in files(store)[:2]
    }
    assert build(("text",), SETTINGS, store.url)["text"](tasks[0]).keys() <= {"texts"}
    build(("text",), SETTINGS, store.url)["text"](tasks[1])
    assert [path.read_bytes() for path in files(store)] == whole
    assert not verify(store, lambda path, key: None, read_text=EncodedText.load).findings


def test_leftovers_of_texts_are_cleaned_and_texts_are_not(store: RunStore) -> None:
    left = files(store)[0].parent / ".part-1"
    left.touch()
    assert [orphan.uri for orphan in orphans(store, 0.0)] == [f"texts/{left.parent.name}/.part-1"]


def test_a_pair_encodes_itself_what_is_gone(tasks: list[Task], store: RunStore) -> None:
    text_pair.events.clear()
    stages = build(("invert", "generate"), SETTINGS, store.url)
    stages["prefetch"](tasks[0])
    first = [stages[name](tasks[0]) for name in ("invert", "generate")][1]
    assert text_pair.events == ["networks"], "it was told all"
    for path in files(store):
        path.unlink()
    again = build(("generate",), SETTINGS, store.url)
    made = again["generate"](tasks[0])
    assert "beside the networks" in text_pair.events
    assert made["latent_sha256"] == first["latent_sha256"]


def test_a_canary_needs_no_encoder() -> None:
    text_pair.events.clear()
    pair = load_pair(text_pair.PAIR, "cpu")
    assert canary(pair)["parts"].keys() == {"autoencoder", "student", "teacher", "decoder"}
    assert text_pair.events == ["networks"]


def test_the_stage_has_a_worker_of_its_own_and_says_what_it_asks_for(tmp_path: Path) -> None:
    spec = text_pool([4, 8])
    assert (spec.names, spec.size, spec.num_gpus, spec.num_cpus, spec.threads) == (("text",), 1, 0, 0, 8)
    (tmp_path / "engine.yaml").write_text("stages: {text: {gpus: 1, memory: 16GiB}}")
    (asked,) = laid_over([spec], read_execution(str(tmp_path / "engine.yaml"))["resources"])
    assert (asked.num_gpus, asked.memory, asked.threads) == (1, 16 << 30, None)


def test_one_video_is_encoded_for_before_its_networks_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text_pair.events.clear()
    words = ["generate", str(CLIPS / "arc.mp4"), PROMPTS[0], "--pair", text_pair.PAIR, "--device", "cpu"]
    words += ["--negative-prompt", PROMPTS[1], "-o", str(tmp_path / "x.mp4"), "--json"]
    words += ["--set", "steps=1", "--set", "inversion_steps=1", "--set", "activation=never"]
    assert command(words) == 0
    assert text_pair.events == ["encoder", PROMPTS[0], PROMPTS[1], "", "networks"]
    assert "encode" in json.loads(capsys.readouterr().out)["seconds"]


def test_an_estimate_says_that_it_leaves_the_stage_out(tasks: list[Task], tmp_path: Path) -> None:
    cost = Cost(2, "CPU", "cpu", 60.0, None, {"motionclone": 1.0}, 1.0, 1.0, "of this run")
    work = plan_generation(str(tmp_path / "2-1.csv"), SETTINGS, str(tmp_path / "run"))
    assert (
        estimate(work, cost).basis
        == "2 samples of this run on cpu; stage text left out, which has 3 to encode"
    )
    work = plan_generation(str(tmp_path / "2-1.csv"), PLAIN, str(tmp_path / "run"))
    assert estimate(work, cost).basis == "2 samples of this run on cpu"


def test_a_plan_names_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [manifest(tmp_path, PROMPTS), "--device", "cpu", "-o", str(tmp_path / "run"), "--metric", "none"]
    for pair, said in ((text_pair.PAIR, "4 distinct texts, of which 0 encoded"), ("toy", "")):
        assert command(["batch", "plan", *words, "--pair", pair]) == 0
        told = capsys.readouterr().out
        assert said in told
        assert ("stage text" in told) == bool(said)
