"""A report as a folder of static files: pages of the package, and data that a browser takes from a disk too.

A page at file:// may not fetch, but it may load scripts; so data come as scripts that call one function with
JSON in a string. What is in there is text of strangers: it is escaped for scripts, and made visible.
"""

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib import resources
from itertools import islice
from typing import Any

from motionecho.report.visible import visible
from motionecho.runs.folder import Folder
from motionecho.runs.parallel import in_order

INDEX, HEAD = "index.html", "data/head.js"
SHARD = 500  # samples of one script
DIGITS = 6  # significant ones of a number that is looked at
EXACT = 2**53  # whole numbers beyond it are not all numbers of JavaScript


def write_pages(folder: Folder, head: Mapping[str, Any], samples: Iterable[tuple[str, str]]) -> int:
    """Write a report and return how many samples it has.

    Each sample is two texts of `as_json`: what gallery, charts and tables need of it, and what is read where
    it is opened. All scripts bear the head's `stamp`, which a page compares: one that is loaded while another
    is being written says so. The head comes last, so that a folder without one has no report yet.
    """
    with tempfile.TemporaryDirectory(prefix="motionecho-") as local:
        files, rest, count, number = list(_pages(local)), iter(samples), 0, 0
        while shard := list(islice(rest, SHARD)):
            for name, rows in zip(("samples", "details"), zip(*shard, strict=True), strict=True):
                text = f"[{','.join(rows)}]"
                files.append(_script(local, f"data/{name}-{number:03}.js", name, head["stamp"], number, text))
            count, number = count + len(shard), number + 1
        shards = {"count": count, "shards": number, "shard": SHARD}
        last = _script(local, HEAD, "head", head["stamp"], 0, as_json({**head, **shards}))
        for _ in in_order(lambda name: folder.put_whole(name, os.path.join(local, name)), files):
            pass
        folder.put_whole(last, os.path.join(local, last))
    kept = {*files, last}
    folder.remove_all(f"data/{name}" for name in _names(folder, "data") if f"data/{name}" not in kept)
    return count


def as_json(values: Any) -> str:
    """Write JSON of values as a page shows them."""
    return json.dumps(shown(values), separators=(",", ":"), allow_nan=False)


def shown(value: Any) -> Any:
    """Return JSON values as a page shows them: texts made visible, numbers finite and of a few digits."""
    if isinstance(value, str):
        return visible(value, keep="\n\t")
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) > EXACT:
        return str(value)
    if isinstance(value, Mapping):
        return {shown(str(name)): shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    return value


def _pages(local: str) -> Iterable[str]:
    """Copy the pages out of the package, which may be in an archive; yield their names in the report."""
    for source in resources.files("motionecho.report").joinpath("page").iterdir():
        name = source.name if source.name == INDEX else f"page/{source.name}"
        _write(local, name, source.read_text(encoding="utf-8"))
        yield name


def _script(local: str, name: str, call: str, stamp: str, number: int, text: str) -> str:
    """Write a script that hands over JSON; a string is parsed faster than a literal is compiled."""
    held = json.dumps(text).replace("<", "\\u003c")  # all else that could matter is escaped as not ASCII
    _write(local, name, f"motionecho.take({json.dumps([call, stamp, number])}, {held});\n")
    return name


def _write(local: str, name: str, text: str) -> None:
    path = os.path.join(local, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def _names(folder: Folder, under: str) -> list[str]:
    return [path.rsplit("/", 1)[-1] for path in folder.find(under)]
