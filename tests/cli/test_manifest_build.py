"""`motionecho manifest build`: from what people have to a manifest that runs, or one sentence."""

import json
from pathlib import Path

import fsspec
import pytest

from motionecho.cli.exits import Exit
from motionecho.manifest import BadRow, Sample, read_manifest
from tests.cli.conftest import Cli


def good(path: Path | str) -> list[Sample]:
    rows = read_manifest(str(path))
    assert [row for row in rows if isinstance(row, BadRow)] == []
    return [row for row in rows if isinstance(row, Sample)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips, two of them of one name, a file that is none, and prompts."""
    for name in ("horse.mp4", "a/walk.MP4", "b/walk.mov", "notes.md"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).touch()
    (tmp_path / "prompts.txt").write_text("\ufeffa red star\n\n  a cat, on grass \n")
    return tmp_path


@pytest.mark.parametrize("name", ["m.parquet", "m.csv", "m.jsonl"])
def test_every_video_with_every_prompt_and_seed(cli: Cli, folder: Path, name: str) -> None:
    done = cli("manifest", "build", folder / "clips", "--prompts", folder / "prompts.txt", "--seeds", "4",
               "-o", folder / name, "--json")  # fmt: skip
    assert done.code == Exit.OK, done.err
    assert (done.json["rows"], done.json["references"], done.json["prompts"], done.json["seeds"]) == (
        24,
        3,
        2,
        4,
    )
    samples = good(folder / name)
    assert {s.prompt for s in samples} == {"a red star", "a cat, on grass"}
    assert {s.seed for s in samples} == {0, 1, 2, 3}
    assert {s.reference for s in samples} == {
        str(folder / "clips" / n) for n in ("horse.mp4", "a/walk.MP4", "b/walk.mov")
    }
    assert len({s.id for s in samples}) == 24


def test_a_folder_moved_with_its_manifest_is_the_same_work(cli: Cli, folder: Path) -> None:
    cli("manifest", "build", folder / "clips", "--prompts", folder / "prompts.txt", "-o", folder / "m.csv")
    before = [(s.id, s.seed) for s in good(folder / "m.csv")]
    moved = folder.rename(folder.with_name("moved"))
    assert all(Path(s.reference).is_file() for s in good(moved / "m.csv"))
    cli("manifest", "build", moved / "clips", "--prompts", moved / "prompts.txt", "-o", moved / "again.csv")
    assert [(s.id, s.seed) for s in good(moved / "again.csv")] == before


def test_a_caption_for_each_video(cli: Cli, folder: Path) -> None:
    (folder / "c.csv").write_text("file,caption,licence\nhorse,a cat,CC0\nb/walk,a dog,\n")
    done = cli("manifest", "build", folder / "clips", "--prompts", folder / "c.csv", "--join", "file",
               "-o", folder / "m.jsonl")  # fmt: skip
    assert done.code == Exit.OK, done.err
    horse, walk = good(folder / "m.jsonl")
    assert (Path(horse.reference).name, horse.prompt, horse.extra) == (
        "horse.mp4",
        "a cat",
        {"licence": "CC0"},
    )
    assert walk.reference.endswith("b/walk.mov")
    (folder / "d.csv").write_text("video,caption\nhorse.mp4,a cat\n")
    cli("manifest", "build", folder / "clips", "--prompts", folder / "d.csv", "-o", folder / "n.csv")
    assert [s.reference for s in good(folder / "n.csv")] == [horse.reference]


def test_another_tools_table_with_sweeps(cli: Cli, folder: Path) -> None:
    (folder / "old.jsonl").write_text(
        '{"id": "x", "video_path": "clips/horse.mp4", "new_prompt": ["a cat", "a dog"], "steps": [4, 8]}\n'
    )
    assert cli("manifest", "build", folder / "old.jsonl", "-o", folder / "m.csv").code == Exit.OK
    swept = good(folder / "m.csv")
    assert [(s.prompt, s.overrides["steps"]) for s in swept] == [
        ("a cat", 4), ("a cat", 8), ("a dog", 4), ("a dog", 8)
    ]  # fmt: skip
    assert [s.id for s in swept] == [s.id for s in good(folder / "old.jsonl")], "the same work either way"


def test_places_that_are_urls(cli: Cli, folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/build/clips/horse.mp4", b"x")
    done = cli("manifest", "build", "memory://build/clips", "--prompts", folder / "prompts.txt",
               "-o", "memory://build/m.parquet")  # fmt: skip
    assert done.code == Exit.OK, done.err
    assert {s.reference for s in good("memory://build/m.parquet")} == {"memory://build/clips/horse.mp4"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clips", "-o", "m.csv"], "--prompts FILE"),
        (["nowhere", "--prompts", "prompts.txt", "-o", "m.csv"], '"nowhere" has no video'),
        (["clips", "--prompts", "gone.txt", "-o", "m.csv"], "gone.txt"),
        (["clips", "--prompts", "prompts.txt", "--join", "x", "-o", "m.csv"], "--join needs a table"),
        (["clips", "--prompts", "prompts.txt", "-o", "m.txt"], "has to end in"),
        (["clips", "--prompts", "prompts.txt", "-o", "there.csv"], "--force"),
        (["clips", "--prompts", "walk.csv", "-o", "m.csv"], '"walk" may be'),
        (["clips", "--prompts", "hors.csv", "-o", "m.csv"], 'row 1: there is no video "hors"'),
        (["clips", "--prompts", "hors.csv", "--join", "vid", "-o", "m.csv"], 'no column "vid"'),
        (["twice.csv", "-o", "m.csv"], 'has "video_path" and "reference", which all mean "reference"'),
        (["wrong.csv", "-o", "m.csv"], "row 2: setting steps"),
        (["wrong.csv", "--prompts", "prompts.txt", "-o", "m.csv"], "are for folders"),
        (["seeded.csv", "--seeds", "2", "-o", "m.csv"], "row 1 has seed=7"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    for name, text in {
        "there.csv": "old", "walk.csv": "video,prompt\nwalk,a cat\n",
        "hors.csv": "video,prompt\nhors,a cat\n",
        "twice.csv": "video_path,reference,prompt\na,b,c\n", "seeded.csv": "video,prompt,seed\na,b,7\n",
        "wrong.csv": "video,prompt,steps\na,b,4\na,b,many\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    done = cli("manifest", "build", *arguments)
    assert done.code == Exit.USAGE
    assert said in done.sentence()
    assert not (folder / "m.csv").exists()
    assert (folder / "there.csv").read_text() == "old"


def test_a_manifest_in_csv_is_read_back_to_the_letter(cli: Cli, tmp_path: Path) -> None:
    """What a spreadsheet would compute stays as it is: an apostrophe before it would be another prompt."""
    texts = ["=1+1", "+x", "-x", "@x", "'=x", 'a, "b"\nc', "海辺 👩\u200d🚀", "\x1b[31m", "＝1"]
    rows = [{"id": f"{text} id", "reference": "a.mp4", "prompt": text, "note": text} for text in texts]
    source = tmp_path / "m.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli("manifest", "build", source, "-o", tmp_path / "m.csv").code == Exit.OK
    assert cli("manifest", "build", tmp_path / "m.csv", "-o", tmp_path / "again.csv").code == Exit.OK
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "m.csv").read_bytes()
    written = [(s.id, s.prompt, s.extra["note"], s.seed) for s in good(tmp_path / "m.csv")]
    assert written == [(s.id, s.prompt, s.extra["note"], s.seed) for s in good(source)]
    assert [prompt for _, prompt, _, _ in written] == texts


@pytest.mark.parametrize(
    "reference", ['"https://me:word@host/a.mp4"', '["b.mp4", "https://host/a.mp4?sig=word"]']
)
def test_what_opens_a_file_is_not_written_into_a_manifest(cli: Cli, tmp_path: Path, reference: str) -> None:
    (tmp_path / "old.jsonl").write_text(f'{{"reference": {reference}, "prompt": "a cat"}}\n')
    done = cli("manifest", "build", tmp_path / "old.jsonl", "-o", tmp_path / "new.csv")
    assert done.code == Exit.USAGE
    assert "has a login or a signature, which is not written into a manifest" in done.sentence()
    assert "word" not in done.err
    assert not (tmp_path / "new.csv").exists()
