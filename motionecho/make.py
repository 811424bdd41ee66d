"""One sample from clip to frames, in order: batch, command line, notebook and bench make it here.

The way of a sample:

    maker = Maker(load_pair("toy"))
    clip = maker.clip("bounce.mp4")
    made = maker.make(maker.motion(clip), "a red star on a blue background", seed=42)
    made.write("star.mp4")
"""

import base64
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from motionecho.config import EchoConfig
from motionecho.echo import generate
from motionecho.errors import UserError
from motionecho.gate import Gate
from motionecho.inversion import Motion, invert
from motionecho.metrics import Item, Metric, Scores
from motionecho.models.pair import ModelPair
from motionecho.models.references import WHOLE, read_reference
from motionecho.runs.keys import digest
from motionecho.runs.provenance import provenance
from motionecho.runs.waits import doing
from motionecho.trace import StepTrace, Stopwatch, Trace
from motionecho.video import Clip, Window, write_video

OnStep = Callable[[StepTrace], None]


@dataclass(frozen=True)
class Made:
    """A video that was made: frames uint8 [f, h, w, 3] at `fps` per second, and how they came about.

    latents are the clean ones [c, f, h, w]; tries holds a line for each, where a quality gate was set;
    seconds are those of sampling and decoding. In a notebook it shows itself.
    """

    frames: NDArray[np.uint8]
    fps: float
    latents: Tensor
    trace: Trace
    prompt: str
    seed: int
    config: EchoConfig
    pair: str
    random_weights: bool = False
    tries: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def latent_sha256(self) -> str:
        """sha256 of the latents as little-endian float32: equal on equal hardware however it was made."""
        return hashlib.sha256(self.latents.detach().cpu().numpy().astype("<f4").tobytes()).hexdigest()

    def origin(self, sample_id: str, key: str = "") -> dict[str, Any]:
        """Where the video comes from, as it is written into the file."""
        return provenance(
            sample_id=sample_id,
            key=key,
            pair=self.pair,
            prompt=self.prompt,
            seed=self.seed,
            settings=digest(self.config.to_dict()),
            random_weights=self.random_weights,
        )

    def write(self, path: str | Path) -> None:
        """Write an H.264 file with its provenance inside; raises BadSample as `write_video` does."""
        write_video(str(path), self.frames, self.fps, self.origin(Path(path).stem))

    def _repr_html_(self) -> str:
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            self.write(path := Path(folder) / "video.mp4")
            data = base64.b64encode(path.read_bytes()).decode()
        width = max(256, self.frames.shape[2])
        return (
            f'<video src="data:video/mp4;base64,{data}" width="{width}" autoplay loop muted controls></video>'
        )


class Maker:
    """The one place that reads, inverts, samples, decodes and judges, with one pair.

    fit: how a clip is brought to size, crop, resize or pad. gate: a quality gate as `Gate` writes it, below
    which a sample is made again, judged on `device`.
    """

    def __init__(self, pair: ModelPair, fit: str = "crop", gate: str | None = None, device: str = "auto"):
        self.pair, self.fit = pair, fit
        self.gate, self.device = Gate.parse(gate) if gate else None, device

    @cached_property
    def judge(self) -> Metric | None:
        """The gate's metric, loaded; UserError where it cannot run here."""
        return self.gate.load_judge(self.device) if self.gate else None

    def clip(self, uri: str, window: Window = WHOLE, background: str = "black") -> Clip:
        """Read a reference, path or URL, at the pair's size and length; raises BadSample where it cannot."""
        return read_reference(uri, self.pair.spec, window, self.fit, background)

    def motion(self, clip: Clip, config: EchoConfig | None = None, train: bool = True) -> Motion:
        """Invert a reference; settings default to the pair's own, and `train` is as in `invert`."""
        return invert(self.pair, clip.frames, config or self.pair.spec.defaults, train)

    def make(
        self,
        motion: Motion,
        prompt: str,
        seed: int = 0,
        config: EchoConfig | None = None,
        negative_prompt: str = "",
        reference: Callable[[], Clip] | None = None,
        on_step: OnStep | None = None,
    ) -> Made:
        """Make the video of a prompt, again with more teacher or other seeds where a gate asks for it.

        A gate compares with the `reference`; raises UserError where there is none. Raises BadSample where the
        prompt cannot be read or latents become not finite.
        """
        config, watch, spec = config or self.pair.spec.defaults, Stopwatch(), self.pair.spec
        tell = None if on_step is None else lambda lines: on_step(lines[0])

        def once(used: EchoConfig, drawn: int) -> Made:
            latents, (trace,) = generate(
                self.pair, [motion], [prompt], [drawn], used, [negative_prompt], tell
            )
            watch.lap("sample")
            doing("decode")
            frames = self.pair.codec.decode(latents)[0]
            watch.lap("decode")
            return Made(frames, spec.fps, latents[0], trace, prompt, drawn, used, spec.name, spec.is_random)

        if self.gate is None:
            return replace(once(config, seed), seconds=watch.laps)

        if reference is None:
            raise UserError(f"the gate {self.gate} compares with a reference: give one to make()")

        def figures(frames: NDArray[np.uint8]) -> Scores:
            assert self.judge is not None  # there is a gate
            return self.judge(Item(frames, reference().frames, prompt, spec.fps))

        made, tries = self.gate.best_of(once, figures, config, seed)
        watch.lap("gate")
        return replace(made, tries=tries, seconds=watch.laps)
