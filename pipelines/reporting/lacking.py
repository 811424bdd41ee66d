"""What a record may lack of what a report shows: its preview in the right place, and its steps."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from motionecho.errors import BadSample
from motionecho.runs import layout
from motionecho.runs.folder import Folder, Listed
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.trace import by_column
from motionecho.video import Window, read_clip, read_provenance
from pipelines.reporting.samples import reference_of


@dataclass
class Lacking:
    """The finder of previews and steps of a run's records, for a report in `folder`, from several threads.

    `base` is the way from there to the run's place, None where there is none. Previews are `copied` into the
    folder, or linked; `made` says to make those that are missing. `problems` are the first of each kind.
    """

    store: RunStore
    folder: Folder
    base: str | None
    copied: bool
    made: bool
    problems: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)  # previews in the report's folder
    published: Mapping[str, Listed] = field(default_factory=dict)  # and in the run's

    def __post_init__(self) -> None:
        self.own = set(self.folder.find(layout.PREVIEWS))
        self.published = self.store.folder.listed(layout.PREVIEWS)

    def linked(self, uri: str | None) -> str | None:
        """Return the way from the page to a file of the run; None for names that none of its own has."""
        if self.base is None or not uri or not layout.is_own(uri):
            return None
        return f"{quote(os.fsencode(self.base))}/{quote(uri)}"  # a folder's name may be any bytes

    def find(self, record: Record) -> tuple[Record, str | None, Mapping[str, list[Any]]]:
        """Return a record with the way to its preview and its steps, as far as there are such."""
        if not record.ok:
            return record, None, {}
        return record, self._preview(record), record.steps or self._steps(record)

    def _steps(self, record: Record) -> dict[str, list[Any]]:
        """Read the steps of an older record out of their table; none where that is not there, or no table."""
        if not record.stats or not layout.is_own(record.stats.uri):
            return {}
        try:
            with self.store.fetch(record.stats.uri) as path:
                return by_column(pq.read_table(path, use_threads=False).to_pylist())
        except Exception as problem:
            self._note("steps", record, problem)
            return {}

    def _preview(self, record: Record) -> str | None:
        uri = layout.preview(record.key, record.attempt or "")
        file, noted = self.published.get(uri), record.preview
        whole = file is not None and noted is not None and noted.bytes in (None, file.bytes)
        published = whole and noted is not None and noted.uri == uri
        if not layout.is_own(uri) or not record.video:
            return None
        if published and not self.copied:
            return self.linked(uri)
        if uri in self.own:
            return quote(uri)
        try:
            if published:
                with self.store.fetch(uri) as local:
                    self.folder.put_whole(uri, local)
                return quote(uri)
            if self.made:
                self._make(record, uri)
                return quote(uri)
        except Exception as problem:
            self._note("preview", record, problem)
        return None

    def _make(self, record: Record, uri: str) -> None:
        """Make the preview of a sample whose publishing left none, of its video and its reference."""
        from motionecho.models.references import read_reference  # torch comes with it
        from motionecho.models.registry import pair_spec
        from motionecho.report.preview import write_preview

        settings: Mapping[str, Any] = (self.store.run() or {}).get("identity", {}).get("settings") or {}
        spec, cells, echo = pair_spec(settings["pair"]), record.inputs, record.echo
        window = Window(cells.get("start") or 0.0, cells.get("duration"), cells.get("fps"))
        fit, under, sha256 = (
            settings.get("fit", "crop"),
            echo.get("background", "black"),
            record.reference.get("sha256"),
        )
        clip = read_reference(reference_of(record), spec, window, fit, under, sha256)
        video = record.video.uri if record.video else ""
        if not layout.is_own(video):
            raise BadSample(f'"{video}" is no file of its run')
        with self.store.fetch(video) as path:
            result, origin = read_clip(path, spec.frames, spec.height, spec.width), read_provenance(path)
        with tempfile.TemporaryDirectory(prefix="motionecho-") as local:
            file = os.path.join(local, "preview.mp4")
            write_preview(file, clip.frames, result.frames, spec.fps, origin)
            self.folder.put_whole(uri, file)

    def _note(self, what: str, record: Record, problem: Exception) -> None:
        self.problems.setdefault(f"{what} {type(problem).__name__}", f"no {what} of {record.id}: {problem}")
