"""The naming of samples by content: settings resolved row by row, motion keys and sample keys."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from motionecho.config import FACTORED, STRATEGIES, EchoConfig, ReferenceSettings, RunSettings
from motionecho.errors import MotionEchoError, UserError
from motionecho.manifest import Sample
from motionecho.models.registry import PairSpec
from motionecho.runs import files
from motionecho.runs.keys import digest, file_digest, keyed, motion_key, sample_key, text_key
from motionecho.video import Window
from pipelines.tasks import MakeSample, Task


class Keying:
    """A namer of samples; settings that repeat from row to row are worked out once."""

    def __init__(self, settings: RunSettings, spec: PairSpec) -> None:
        self.settings, self.spec, self.weights = settings, spec, spec.weights()
        self.known: dict[str, tuple[EchoConfig, str, dict[str, Any]]] = {}
        self.motions: dict[tuple[str, Window, str], str] = {}
        self.encoder = spec.text_weights() if spec.text_stage else {}

    def task(self, sample: Sample, sha256: str, version: str) -> Task:
        asked = json.dumps(sample.overrides, sort_keys=True) if sample.overrides else ""
        config, config_digest, inversion = self._config(asked, sample.overrides)
        motion = self.motions.get((sha256, sample.window, asked))
        if motion is None:
            motion = self.motions[sha256, sample.window, asked] = motion_key(
                sha256,
                window=dataclasses.asdict(sample.window),
                frames=self.spec.frames,
                height=self.spec.height,
                width=self.spec.width,
                fit=self.settings.fit,
                inversion=inversion,
                pair=self.spec.name,
                weights=self.weights,
            )
        key = sample_key(
            motion,
            prompt=sample.prompt,
            negative_prompt=sample.negative_prompt,
            seed=sample.seed,
            settings_digest=config_digest,
            dtype=self.settings.dtype,
        )
        texts = self.spec.texts(sample.prompt, sample.negative_prompt, config.reference)
        named = tuple((text, text_key(text, pair=self.spec.name, weights=self.encoder)) for text in texts)
        giver = STRATEGIES.giver(config.reference.strategy)
        return Task(key, motion, MakeSample(sample, sha256, version, motion, config, named, giver))

    def _config(self, asked: str, overrides: Mapping[str, Any]) -> tuple[EchoConfig, str, dict[str, Any]]:
        if asked not in self.known:
            config = self.spec.updated(self.settings.echo, overrides)
            values: Any = keyed(config.to_dict())
            # the motion names what every method needs
            own = {*self.spec.weights(config.sampling.method).items()} - {*self.weights.items()}
            if own:
                values = [values, dict(sorted(own))]
            if self.settings.gate:
                values = [values, self.settings.gate]
            self.known[asked] = config, digest(values), keyed(kept_of(config.reference))
        return self.known[asked]


def kept_of(reference: ReferenceSettings) -> dict[str, Any]:
    """Return what a motion's key is made of; a file of factors takes part by its bytes, not by its place.

    So does the release of a package that adds the strategy. Raises UserError where the file cannot be had or
    read, the strategy would not read it, or the package is broken.
    """
    settings = reference.to_dict()
    if giver := STRATEGIES.giver(reference.strategy):
        from motionecho.guidance.strategy import maker_of

        maker_of(reference.strategy)
        settings["strategy_of"] = giver
    if reference.motion_lora:
        from motionecho.guidance.lora import read_file

        if reference.strategy not in FACTORED:
            raise UserError(
                f'motion_lora "{reference.motion_lora}" is not read by strategy "{reference.strategy}"; '
                f"name strategy={' or '.join(FACTORED)}, or leave the file out"
            )
        try:
            with files.fetch(reference.motion_lora, files.HURRIED_S) as path:
                read_file(path, reference.motion_lora)
                settings["motion_lora"] = file_digest(path)
        except MotionEchoError as problem:
            said = str(problem)
            raise UserError(said if said.startswith("motion_lora") else f"motion_lora: {said}") from problem
    return settings
