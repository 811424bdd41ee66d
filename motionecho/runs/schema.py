"""The columns of every table, declared once: parts, exports, scores and stats are written by them.

`docs/tables.md` is made of this file by `python docs/make_reference.py`. A column is added at the end of its
group; one that is renamed or means something else needs another VERSION.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from motionecho.runs.keys import digest
from motionecho.runs.records import OUTCOME_PREFIX, Record, absolute

VERSION = 2  # of the tables; those of version 1 say none
Kind = Literal["string", "int64", "float64", "bool", "timestamp"]  # Arrow's; a timestamp is in UTC
KINDS: dict[type, Kind] = {bool: "bool", int: "int64", float: "float64"}
Source = str | Callable[[Record, str], Any]


@dataclass(frozen=True)
class Column:
    """A column that any row may leave null, with what it means and the unit of its numbers.

    `source` finds its value: a path into the record, or a function of it and of the run's place.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    source: Source = ""

    def value(self, record: Record, root: str) -> Any:
        """Return what a record has for the column; None where it has nothing."""
        if not isinstance(self.source, str):
            return self.source(record, root)
        found: Any = record
        for name in self.source.split("."):
            if found is None:
                return None
            found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
        return found


def prefixed(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns under the names that they have beside a manifest's."""
    return tuple(replace(column, name=OUTCOME_PREFIX + column.name) for column in columns)


def _worked(record: Record, _: str) -> float | None:
    return (record.spent(*record.where.stages) or None) if record.where else None


def _reached(record: Record, _: str) -> bool | None:
    return any(each.get("reached") for each in record.tries) if record.tries else None


def _tried(record: Record, _: str) -> int | None:
    return sum(each.get("forward_equivalents", 0) for each in record.tries) if record.tries else None


def _place(name: str) -> Source:
    return lambda record, root: absolute(root, blob.uri) if (blob := getattr(record, name, None)) else None


def _path(name: str) -> Source:
    def inside(record: Record, _: str) -> str | None:
        blob = getattr(record, name, None)
        return blob.uri if blob and absolute("", blob.uri) != blob.uri else None

    return inside


def _weights(record: Record, _: str) -> str | None:
    """Name all weights together: "random", or twelve digits of one digest."""
    known = record.weights
    return None if not known else "random" if "random" in known.values() else digest(known)[:12]


def _duration(record: Record, _: str) -> float | None:
    frames, fps = record.facts.get("frames"), record.facts.get("fps")
    return frames / fps if frames and fps else None


def _family(name: str, what: str, kind: Kind, unit: str, members: Mapping[str, str]) -> tuple[Column, ...]:
    """Declare columns <name>_<member>, of a mapping in the record."""
    return tuple(
        Column(f"{name}_{each}", kind, text, unit, f"{what}.{each}") for each, text in members.items()
    )


INPUTS = (
    Column("id", "string", "name of the row, unique in its manifest"),
    Column("reference", "string", "clip whose motion is followed: absolute path or URL"),
    Column("prompt", "string", "what the video shows"),
    Column("seed", "int64", "seed of all noise"),
    Column("negative_prompt", "string", "what the video does not show"),
    Column("start", "float64", "where in the clip to begin", "s"),
    Column("duration", "float64", "how much of the clip is used", "s"),
    Column("fps", "float64", "rate at which frames of the clip are taken", "1/s"),
    Column("video", "string", "in scores, the video that was scored: absolute path or URL"),
)
SAMPLE = (
    Column("run", "string", "place of the run: what paths begin at", source=lambda _, root: root),
    Column("schema_version", "int64", "version of this table", source=lambda *_: VERSION),
    Column("key", "string", "name of the sample, by content", source="key"),
    Column("status", "string", "ok, failed or requeued", source="status"),
    Column("generation", "int64", "how often it was recorded, from 1", source="generation"),
    Column("attempts", "int64", "attempts that it took", source="attempts"),
    Column("committed_at", "timestamp", "when it was recorded", source="committed_at"),
    Column("error_class", "string", "kind of the error that ended it", source="error.name"),
    Column("error_message", "string", "what went wrong, in a sentence", source="error.message"),
    Column("error_stage", "string", "the stage where it did", source="error.stage"),
    Column(
        "warnings",
        "string",
        "what is odd about its reference, joined by ;",
        source=lambda r, _: "; ".join(r.warnings) or None,
    ),
    Column("pair", "string", "models that made it", source="facts.pair"),
    Column("weights", "string", "identity of all their weights together, or random", source=_weights),
    Column("dtype", "string", "what they computed in", source="facts.dtype"),
    Column("strategy", "string", "what of the motion is followed", source="echo.strategy"),
    Column("method", "string", "who samples", source="echo.method"),
    Column("reference_sha256", "string", "of the reference's bytes", source="reference.sha256"),
    Column("reference_version", "string", "the store's word for them", source="reference.version"),
    Column("motion_key", "string", "name of the inverted reference, by content", source="motion_key"),
    Column("latent_sha256", "string", "of the latents: equal where samples are", source="latent_sha256"),
    Column("tries", "int64", "tries, where a quality gate was set", source=lambda r, _: len(r.tries) or None),
    Column("gate_reached", "bool", "whether a try reached the gate, where one was set", source=_reached),
    Column("tries_forward_equivalents", "int64", "cost of all tries in forward passes", source=_tried),
    Column("host", "string", "machine that made it", source="where.name"),
    Column("device", "string", "cpu, or the GPU's name", source="where.device"),
    Column("threads", "int64", "of a CPU", source="where.threads"),
    Column("gpus", "float64", "share of GPUs that the worker had", source="where.gpus"),
    Column("worker_seconds", "float64", "what its worker spent on it", "s", _worked),
)
FILES = (
    Column("video", "string", "the video, absolute", source=_place("video")),
    Column("video_path", "string", "the same, relative to the run", source=_path("video")),
    Column("video_sha256", "string", "of its bytes", source="video.sha256"),
    Column("bytes", "int64", "size of the video's file", "bytes", "video.bytes"),
    Column("width", "int64", "of the video", "pixels", "facts.width"),
    Column("height", "int64", "of the video", "pixels", "facts.height"),
    Column("frames", "int64", "frames of the video", source="facts.frames"),
    Column("fps", "float64", "frames of the video per second", "1/s", "facts.fps"),
    Column("duration_s", "float64", "length of the video", "s", _duration),
    Column("preview", "string", "reference and result side by side, absolute", source=_place("preview")),
    Column("preview_path", "string", "the same, relative to the run", source=_path("preview")),
    Column("stats", "string", "table of its steps, absolute", source=_place("stats")),
    Column("stats_path", "string", "the same, relative to the run", source=_path("stats")),
    Column("motion", "string", "inverted reference, absolute", source=_place("motion")),
    Column("motion_path", "string", "the same, relative to the run; null if shared", source=_path("motion")),
    Column("file", "string", "file of the video in an exported folder, beside its table"),
)
TRACE = (
    *_family(
        "trace", "trace", "int64", "",
        {
            "steps": "student steps",
            "activated_steps": "those in which the teacher ran",
            "truncated_steps": "those whose teacher ended early",
            "teacher_steps": "steps of the teacher",
            "forward_equivalents": "passes, one with a gradient counting 3, of the try that was kept",
        },
    ),
    *_family(
        "trace_evaluations", "trace.evaluations", "int64", "",
        {
            "student": "passes of the student",
            "student_guided": "those with a gradient",
            "teacher": "passes of the teacher",
            "teacher_guided": "those with a gradient",
        },
    ),
    *_family(
        "trace", "trace", "float64", "",
        {"first_loss": "motion loss of the first guided step", "last_loss": "of the last one"},
    ),
    Column("trace_seconds", "float64", "time of all steps", "s", "trace.seconds"),
    *_family(
        "seconds", "seconds", "float64", "s",
        {
            "text": "encoding texts that were not there",
            "invert": "inverting the reference, or finding that it is there",
            "train": "training on the reference, or finding that it is there",
            "generate": "making the video, all of the next four",
            "generate_load": "reading motion and texts",
            "generate_sample": "sampling",
            "generate_decode": "decoding",
            "generate_gate": "judging, where a gate is set",
            "publish": "writing the video, its table and its preview",
            "publish_preview": "of that, making the preview",
            "score": "taking figures",
        },
    ),
)  # fmt: skip
# Figures of every metric by its own name; `motionecho/metrics/registry.py` hands them to its table.
FIGURES: dict[str, tuple[Column, ...]] = {
    "sanity": (
        Column("sanity_luma", "float64", "mean grey level", "of 255"),
        Column("sanity_contrast", "float64", "standard deviation of grey levels", "of 255"),
        Column("sanity_roughness", "float64", "difference of neighbouring pixels over the contrast"),
        Column("sanity_change", "float64", "change in time of the block that changes most", "of 255"),
        Column("sanity_flicker", "float64", "second difference in time over the first: 0 to 2"),
    ),
    "motion_fidelity": (
        Column("follows", "float64", "whether it moves as its reference does: 0 to 1"),
        Column("follows_why", "string", "why there is no such figure"),
        Column("mf_dmt", "float64", "symmetric DMT formula: -1 to 1"),
        Column("mf_dmt_oneway", "float64", "as DMT's released code: -1 to 1"),
        Column("mf_traj", "float64", "whole trajectories, weighted: -1 to 1"),
        Column("mf_traj_near", "float64", "the same among neighbours: -1 to 1"),
        Column("mf_dmt_floor", "float64", "mf_dmt of a still clip"),
        Column("mf_traj_floor", "float64", "mf_traj of a still clip"),
        Column("mf_traj_near_floor", "float64", "mf_traj_near of a still clip"),
        Column("mf_floor", "string", "how the floor was found"),
        Column("mf_status", "string", "ok, or why there is no figure of tracks"),
        Column("mf_frames", "int64", "frames that were compared"),
        Column("mf_tracks_video", "int64", "tracks in the video"),
        Column("mf_kept_video", "float64", "share of them that was followed"),
        Column("mf_speed_video", "float64", "their mean motion", "diagonals a step"),
        Column("mf_tracks_reference", "int64", "tracks in the reference"),
        Column("mf_kept_reference", "float64", "share of them that was followed"),
        Column("mf_speed_reference", "float64", "their mean motion", "diagonals a step"),
        Column("mf_tracker", "string", "what tracked: levels of two trackers differ"),
        Column("mf_setting", "string", "its settings"),
    ),
    "text_alignment": (
        Column("text_alignment", "float64", "mean cosine of frames and prompt"),
        Column("text_alignment_model", "string", "CLIP's model and weights"),
    ),
    "temporal_consistency": (
        Column("temporal_consistency", "float64", "mean cosine of consecutive frames"),
        Column("temporal_consistency_all_pairs", "float64", "mean cosine of all pairs of frames"),
        Column("temporal_consistency_model", "string", "CLIP's model and weights"),
    ),
    "toy_text": (
        Column("toy_text", "float64", "share of frames that show what the prompt says"),
        Column("toy_consistency", "float64", "mean cosine of consecutive frames' looks"),
        Column("toy_text_shape", "float64", "share of frames with the prompt's shape"),
        Column("toy_text_color", "float64", "share of frames with its colour"),
        Column("toy_text_background", "float64", "share of frames with its background"),
    ),
    "inception": (
        Column("inception_video", "string", "file of the video's features, relative to the scores"),
        Column("inception_reference", "string", "file of the reference's features"),
    ),
    "clip": (
        Column("clip_video", "string", "file of the video's features, relative to the scores"),
        Column("clip_reference", "string", "file of the reference's features"),
    ),
}
STEPS = (
    Column("key", "string", "name of the sample, by content"),
    Column("id", "string", "name of its row"),
    Column("schema_version", "int64", "version of this table"),
    Column("step", "int64", "student step, from 0"),
    Column("t", "float64", "time that it comes from", "of 1000"),
    Column("t_next", "float64", "time that it goes to", "of 1000"),
    Column("loss", "float64", "motion loss that the student saw"),
    Column("window_mean", "float64", "mean of the last losses, which decides"),
    Column("active", "bool", "whether the teacher ran"),
    Column("teacher_start", "float64", "time that its walk began at", "of 1000"),
    Column("teacher_steps", "int64", "steps of its walk"),
    Column("truncated", "bool", "whether the walk ended early"),
    Column("teacher_loss", "float64", "the last motion loss that it saw"),
    Column("teacher_weight", "float64", "its weight in the interpolation"),
    Column("seconds", "float64", "time of the step", "s"),
    Column("evaluations_student", "int64", "passes of the student"),
    Column("evaluations_student_guided", "int64", "those with a gradient"),
    Column("evaluations_teacher", "int64", "passes of the teacher"),
    Column("evaluations_teacher_guided", "int64", "those with a gradient"),
)


def of_metric(name: str, figures: Iterable[Column]) -> tuple[Column, ...]:
    """Return all columns of a metric: its figures, and what stands beside those of every metric."""
    status = Column(f"{name}_status", "string", "ok, or why figures are null")
    return (
        *(replace(each, source=f"scores.{name}.{each.name}") for each in (*figures, status)),
        Column(f"{name}_version", "string", "what made them", "", f"metrics.{name}.version"),
        Column(f"{name}_skipped", "string", "why they were not taken", "", f"skipped.{name}"),
    )


SCORES = tuple(column for name, figures in FIGURES.items() for column in of_metric(name, figures))
GROUPS = {
    "The manifest's columns": INPUTS,
    "The sample": prefixed(SAMPLE),
    "Its files": prefixed(FILES),
    "What it cost": prefixed(TRACE),
    "Its scores": prefixed(SCORES),
}
(RECORD,) = prefixed([Column("record", "string", "all of it as JSON; last of all columns")])
RESULTS = tuple(column for group in GROUPS.values() for column in group)
