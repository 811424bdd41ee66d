"""A study as a folder of static files, and its key, which says what is whose and stays outside."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from motionecho import __version__
from motionecho.errors import UserError
from motionecho.report.pages import as_json
from motionecho.runs.folder import Folder
from motionecho.runs.keys import digest, file_digest
from motionecho.runs.sealed import sealed
from motionecho.runs.store import RunStore, refuse_within
from motionecho.study.answers import QUESTIONS, VERSION
from motionecho.study.drawing import DrawnPair, MethodVideo, draw, read_videos
from motionecho.study.tiles import write_tiles

INDEX, DATA, PAGE, CLIPS = "index.html", "data.js", "page", "clips"
OF_REPORT = {
    "base.css": "style.css",
    "elements.js": "elements.js",
}  # files that the page shares with a report's
SHORT = 16  # hex digits of a name
CLIP = re.compile(rf"{CLIPS}/[0-9a-f]{{{SHORT}}}\.mp4")


@dataclass(frozen=True)
class BuiltStudy:
    """A study that was written: where page and key are, and how much is in it."""

    study: str
    page: str
    key: str
    pairs: int
    references: int
    methods: tuple[str, ...]
    bytes: int
    unlike: int  # pairs whose videos last differently


def build_study(
    stores: Sequence[RunStore],
    out: str,
    by: Sequence[str] = (),
    pairs: int = 36,
    seed: int = 0,
    any_seed: bool = False,
    repeats: int = 0,
    check: bool = False,
    key: str | None = None,
    force: bool = False,
    tell: Callable[[str], object] = lambda said: None,
) -> BuiltStudy:
    """Write a page that shows drawn pairs and asks QUESTIONS, and the key by which answers are tallied.

    Methods and draw: see `read_videos` and `draw`. Of each rater's pairs `repeats` come again at the end; a
    `check` of attention is among them. `key` is a file outside of the folder `out`, by default beside it. All
    videos are made before anything is written, and the page comes last, so that a folder without one has no
    study yet; the same arguments write the same bytes. Raises UserError where too few pairs match, a file
    cannot be shown, the folder holds anything but a study, or a study is there already and is not forced.
    """
    refuse_within(stores, out)
    folder, (vault, name) = _places(out, key)
    before = _clips_before(folder)
    _refuse_older(((folder, INDEX), (vault, name)), force)
    drawn = draw(read_videos(stores, by), pairs, seed, any_seed)
    methods = tuple(drawn[0].videos)
    shown, solution, made, unlike = [], {}, dict[str, str](), 0
    with tempfile.TemporaryDirectory(prefix="motionecho-") as local:
        for number, pair in enumerate(drawn, start=1):
            order = sorted(pair.videos, key=lambda method: _dealt(seed, pair.videos[method]))
            tiles = [pair.videos[method] for method in order]
            file = os.path.join(local, f"{number}.mp4")
            layout = write_tiles(file, tiles)
            unlike += bool(layout.pop("unlike"))
            clip = f"{CLIPS}/{file_digest(file)[:SHORT]}.mp4"
            made[clip] = file
            id = digest([clip, *map(repr, pair.name)])[:SHORT]
            shown.append({"pair": id, "clip": clip, "prompt": pair.name[2], **layout})
            solution[id] = {"clip": clip, **_sources(pair, order)}
            tell(f"{number} of {pairs} pairs")
        size = sum(os.path.getsize(file) for file in made.values())
        for clip, file in made.items():
            folder.put_whole(clip, file)
    words = {
        "schema_version": VERSION,
        "questions": [{"id": id, "text": text} for id, (_, text) in QUESTIONS.items()],
        "pairs": sorted(shown, key=lambda each: str(each["pair"])),  # not in the order of the draw
        "repeats": min(repeats, pairs),
        "check": check,
    }
    study = digest(words)[:SHORT]
    folder.remove_all([INDEX])  # of a study that is written over: half of it is none
    folder.remove_all(before - made.keys())  # while the data still name them
    _write_pages(folder, as_json({"study": study, **words}))
    head = {
        "schema_version": VERSION,
        "study": study,
        "made_by": f"motionecho {__version__}",
        "methods": methods,
    }
    how = {"runs": [store.url for store in stores], "by": list(by), "seed": seed, "any_seed": any_seed}
    body = sealed(json.loads(json.dumps({**head, **how, "questions": [*QUESTIONS], "pairs": solution})))
    vault.overwrite(name, json.dumps(body, indent=1, ensure_ascii=False).encode())
    folder.overwrite(INDEX, _page(INDEX))
    references = len({pair.name[:2] for pair in drawn})
    places = folder.absolute(INDEX), vault.absolute(name)
    return BuiltStudy(study, *places, len(drawn), references, methods, size, unlike)


def _places(out: str, key: str | None) -> tuple[Folder, tuple[Folder, str]]:
    """Return the folder of the page, and that of the key with its name; UserError where they will not do."""
    folder = Folder.at(out)
    vault, name = Folder.holding(key or f"{folder.url.rstrip('/')}.key.json")
    if f"{vault.url}/".startswith(f"{folder.url.rstrip('/')}/"):
        raise UserError(
            f'"{vault.absolute(name)}" is in the folder of the page, where raters could look: --key takes a '
            "file elsewhere"
        )
    return folder, (vault, name)


def _clips_before(folder: Folder) -> set[str]:
    """Return the clips of the study that a folder holds; UserError where it holds anything else.

    What a build left that was ended before its page was there is no obstacle.
    """
    there = [path for path in folder.find() if not path.startswith(".")]
    known = _listed_clips(folder.read(DATA)) if DATA in there else None
    own = () if known is None else (INDEX, DATA, PAGE)
    others = [path for path in there if path.split("/")[0] not in own and not CLIP.fullmatch(path)]
    if others:
        other = folder.absolute(others[0]).rstrip("/")  # the place itself, where that is a file
        raise UserError(f'"{other}" is not of a study: name a folder with nothing in it, or with a study')
    return known or set()


def _listed_clips(data: bytes) -> set[str] | None:
    """Return the clips that a study's data name, None where it is no such file."""
    found = re.fullmatch(r"study\.take\((.*)\);\n", data.decode(errors="replace"))
    if not found:
        return None
    try:
        words: Any = json.loads(json.loads(found[1]))
        clips = {str(pair["clip"]) for pair in words["pairs"]}
    except (ValueError, LookupError, TypeError):
        return None
    return {clip for clip in clips if CLIP.fullmatch(clip)}


def _refuse_older(files: Sequence[tuple[Folder, str]], force: bool) -> None:
    """Raise UserError where one of these is there, unless `force` has it written over."""
    for place, file in files:
        if not force and place.exists(file):
            raise UserError(
                f'"{place.absolute(file)}" is there already: name another folder, or add --force to write '
                "over page and key, after which no answer to the study before can be tallied"
            )


def _dealt(seed: int, video: MethodVideo) -> str:
    """Return what decides the tile of a video: nothing that a rater could know tells methods by it."""
    return digest([seed, video.video.sha256, video.key, video.method])


def _sources(pair: DrawnPair, order: Sequence[str]) -> dict[str, Any]:
    """Say what a pair shows: its reference and prompt, and tile by tile the method and its video."""
    its = [pair.videos[method] for method in order]
    videos = [
        {
            "run": video.store.url,
            "id": video.id,
            "key": video.key,
            "seed": video.seed,
            "sha256": video.video.sha256,
        }
        for video in its
    ]
    return {"reference": its[0].reference, "prompt": its[0].prompt, "methods": list(order), "videos": videos}


def _write_pages(folder: Folder, words: str) -> None:
    """Write all but the page itself; data come as a script, which a page at file:// may load.

    They are the first, since what is beside them is known for a study's by them.
    """
    held = json.dumps(words).replace("<", "\\u003c")  # all else that could matter is escaped as not ASCII
    folder.overwrite(DATA, f"study.take({held});\n".encode())
    for source in resources.files(__package__).joinpath("page").iterdir():
        if source.name != INDEX:
            folder.overwrite(f"{PAGE}/{source.name}", source.read_bytes())
    for name, file in OF_REPORT.items():
        shared = resources.files("motionecho.report").joinpath("page", file)
        folder.overwrite(f"{PAGE}/{name}", shared.read_bytes())


def _page(name: str) -> bytes:
    return resources.files(__package__).joinpath("page", name).read_bytes()
