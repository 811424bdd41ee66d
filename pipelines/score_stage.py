"""One video to its figures: read as it is, its reference brought to its frames and size, every metric run."""

from typing import TYPE_CHECKING, Any

from motionecho import files
from motionecho.errors import UserError
from motionecho.metrics import Item, load_metrics
from motionecho.video import Clip, Window, probe, read_clip
from pipelines.stages import Recent, Stage
from pipelines.tasks import Task

if TYPE_CHECKING:
    from pipelines.score import Scoring

MOST_FRAMES = 128  # a longer video is read at so many frames, spread evenly
MOST_PIXELS = 1024 * 576  # a larger picture is scaled down to this area


def build(names: tuple[str, ...], scoring: "Scoring", url: str) -> dict[str, Stage]:
    """Load the metrics; UserError where this machine's weights are others than the driver's."""
    return {"score": ScoreVideo(scoring)}


class ScoreVideo:
    """Every metric the task asks for, on one video."""

    def __init__(self, scoring: "Scoring") -> None:
        self.scoring = scoring
        metrics, skipped = load_metrics(scoring.metrics, scoring.device)
        self.metrics = {metric.name: metric for metric in metrics}
        for name, version in scoring.metrics.items():
            if name in skipped:
                raise UserError(f"{name} runs on the driver's machine but not on this one: {skipped[name]}")
            if self.metrics[name].version != version:
                found = self.metrics[name].version
                raise UserError(f'{name} is "{found}" on this machine and "{version}" on the driver\'s')
        self.references: Recent[Clip] = Recent(4)

    def __call__(self, task: Task) -> dict[str, Any]:
        if not task.metrics:
            return {"scores": {}}
        sample = task.sample
        with files.fetch(task.video or "") as path:
            video = read_video(path, task.video or "")
        reference = self._reference(task, video) if sample.reference else None
        item = Item(video.frames, None if reference is None else reference.frames, sample.prompt, video.fps)
        return {"scores": {name: dict(self.metrics[name](item)) for name in task.metrics}}

    def _reference(self, task: Task, video: Clip) -> Clip:
        """The reference at the video's size, with as many frames, or as many as it has."""
        sample, (frames, height, width) = task.sample, video.frames.shape[:3]

        def read() -> Clip:
            with files.fetch(sample.reference) as path:
                count = frames if sample.window.fps else min(frames, probe(path, sample.reference).frames)
                return read_clip(
                    path, count, height, width, sample.window, self.scoring.fit, name=sample.reference
                )

        return self.references.get((task.reference_sha256, sample.window, frames, height, width), read)


def read_video(path: str, name: str) -> Clip:
    """A video as it is: all its frames at its own size, up to the limits above; BadSample as `read_clip`."""
    info = probe(path, name)
    scale = min(1.0, (MOST_PIXELS / (info.width * info.height)) ** 0.5)
    height, width = max(1, round(info.height * scale)), max(1, round(info.width * scale))
    return read_clip(path, min(info.frames, MOST_FRAMES), height, width, Window(), "resize", name=name)
