"""A manifest out of what people have: a folder of videos and a file of prompts, or any table of rows.

    rows = from_folder("s3://bucket/clips", "prompts.txt")     every video with every prompt
    rows = from_folder("clips", "captions.csv")                a row for each caption's own video
    rows = from_table("old.jsonl")                             other tools' columns under our names

Rows have absolute references and are not checked; `manifest.check_rows` does that.
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from motionecho.errors import BadSample, Transient, UserError, nearest
from motionecho.manifest.columns import column_names
from motionecho.manifest.rows import resolve_reference
from motionecho.manifest.tables import TABLES, read_table
from motionecho.runs import files
from motionecho.runs.folder import Folder
from motionecho.runs.places import Place
from motionecho.runs.urls import WEB, is_url, protocol_of, told

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif")

Row = dict[str, Any]


def from_table(path: str) -> list[Row]:
    """Read rows of a table under canonical column names; UserError where one cannot be read."""
    rows = _canonical(path, ("reference", "prompt"))
    for number, row in enumerate(rows, start=1):
        if isinstance(row.get("reference"), str):
            try:
                row["reference"] = resolve_reference(row["reference"], path)
            except UserError as problem:
                raise UserError(f'"{path}" row {number}: {problem}') from problem
    return rows


def from_folder(folder: str, prompts: str, join: str | None = None) -> list[Row]:
    """Pair the videos of a folder (or a single one) with prompts.

    A text file has one prompt a line, and every video gets every prompt. A table with a column that names
    videos (`join`, or one that means `reference`) gives each of its rows the video named there, by path
    within the folder, file name, or file name without suffix; without such a column it counts as a list.
    """
    videos = videos_in(folder)
    if os.path.splitext(Place(prompts).name)[1].lower() not in TABLES:
        if join:
            raise UserError(f'--join needs a table of prompts, and "{prompts}" is a text with one a line')
        return [{"reference": video, "prompt": text} for video in videos.values() for text in _lines(prompts)]
    rows = _canonical(prompts, ("prompt",), join)
    if not any("reference" in row for row in rows):
        return [row | {"reference": video} for video in videos.values() for row in rows]
    find = _Finder(folder, videos)
    return [
        row | {"reference": find(str(row.get("reference", "")), f'"{prompts}" row {number}')}
        for number, row in enumerate(rows, start=1)
    ]


def videos_in(folder: str) -> dict[str, str]:
    """Map the path within the folder of every video below it to its address, sorted; UserError where none."""
    place = Folder.at(folder, files.HURRIED_S)
    base = place.url
    try:
        if place.fs.isfile(""):
            return {os.path.basename(base): base}
        found = place.find()
    except Exception as problem:  # whatever a remote driver raises
        raise UserError(f'cannot list "{folder}": {told(str(problem))}') from problem
    names = [path for path in found if path.lower().endswith(VIDEOS)]
    if not names:
        raise UserError(f'"{folder}" has no video in it: no file that ends in {", ".join(VIDEOS)}')
    return {name: f"{base}/{name}" for name in names}


def portable(reference: str, folder: str) -> str:
    """Name a reference as a manifest in `folder` does: relative where it lies beneath."""
    base = (folder if is_url(folder) else os.path.abspath(folder)).rstrip("/") + "/"
    if not reference.startswith(base) or Place(reference).is_secret:
        return reference
    within = reference.removeprefix(base)
    web = protocol_of(base) in WEB  # where a path is written with %XX, and may have more behind it
    return reference if web and re.search("[?#]", within) else unquote(within) if web else within


class _Finder:
    """A finder of videos by the names that tables have for them."""

    def __init__(self, folder: str, videos: dict[str, str]) -> None:
        self.folder = folder
        self.names: dict[str, list[str]] = defaultdict(list)
        for path, address in videos.items():
            base = os.path.basename(path)
            for name in dict.fromkeys((path, base, os.path.splitext(path)[0], os.path.splitext(base)[0])):
                self.names[name].append(address)
        self.exact = videos

    def __call__(self, name: str, where: str) -> str:
        name = name.removeprefix("./")
        found = [self.exact[name]] if name in self.exact else self.names.get(name, [])
        if not found:
            hint = nearest(name, self.names)
            raise UserError(f'{where}: there is no video "{name}" in "{self.folder}"{hint}')
        if len(found) > 1:
            raise UserError(f'{where}: "{name}" may be {found[0]} or {found[1]}; give the path in the folder')
        return found[0]


def _canonical(path: str, required: Sequence[str], join: str | None = None) -> list[Row]:
    raw = read_table(path)
    for number, row in enumerate(raw, start=1):
        if isinstance(row, str):
            raise UserError(f'"{path}" row {number}: {row}')
    rows = [row for row in raw if isinstance(row, dict)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    names = column_names(path, columns, required)
    if join is not None:
        if join not in columns:
            hint = nearest(join, columns) or f"; it has {', '.join(columns)}"
            raise UserError(f'"{path}" has no column "{join}"{hint}')
        other = [column for column in names if names[column] == "reference" and column != join]
        if other:
            raise UserError(f'"{path}" names videos in "{other[0]}" too; leave --join out, or that column')
        names[join] = "reference"
    return [{names[column]: value for column, value in row.items() if column in names} for row in rows]


def _lines(path: str) -> list[str]:
    try:
        with files.fetch(path) as local, open(local, encoding="utf-8-sig") as stream:
            lines = [line.strip() for line in stream if line.strip()]
    except (BadSample, Transient, OSError, ValueError) as problem:
        raise UserError(f"cannot read the prompts: {problem}") from problem
    if not lines:
        raise UserError(f'"{path}" has no prompts: it wants one a line')
    return lines
