"""The facts of a pair, known without loading it, and the places of its weights."""

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from motionecho.config import STRATEGIES, EchoConfig, ReferenceSettings, resolve_name
from motionecho.errors import UserError, nearest
from motionecho.models.sizes import Sizes
from motionecho.models.weights.arrival import announce
from motionecho.models.weights.sources import (
    Published,
    WeightFile,
    WeightPlace,
    file_sha256,
    known_sha256,
)
from motionecho.runs.places import Place, opened
from motionecho.runs.urls import told

WEIGHTS_VARIABLE, RANDOM = "MOTIONECHO_WEIGHTS", "random"
Settings = Mapping[str, Any]
TEXT_PARTS = ("text", "tokenizer")
OVERRIDE = re.compile(r"([\w-]+)=(.+)")


@dataclass(frozen=True)
class PairSpec:
    """The facts of a pair, known without loading it.

    Sizes are in pixels, fps in frames per second. A pair ships its `files`, or its `parts` are published.
    """

    name: str
    summary: str
    licence: str
    frames: int
    height: int
    width: int
    fps: int
    module: str  # has load(spec, placement, dtype) and networks(files)
    defaults: EchoConfig
    sizes: Sizes | None = None  # others that it can be asked for, as NAME@FRAMESxHEIGHTxWIDTH
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    parts: Mapping[str, Published] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)  # parts that one method alone needs, with it
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # that each strategy reads
    lacks: tuple[str, ...] = ()  # strategies that it cannot run
    strategies: Mapping[str, Settings] = field(default_factory=dict)  # the settings that each goes best with
    methods: Mapping[str, Mapping[str, Settings]] = field(  # likewise, of every strategy ("") or one
        default_factory=lambda: {"motionecho": {}}
    )
    distilled_for: int | None = None  # the one number of student steps that its weights are made for
    most_steps: int | None = None  # of its student, who knows no times for more
    metrics: tuple[str, ...] = ()  # that say something of its videos, where the usual ones do not
    prompt_check: str | None = None  # "module:function", raises BadSample; its module imports no torch
    prompt_end: str | None = None  # "module:function" of prompt and spec, returns what is lost of it
    # Texts are encoded in a stage of their own, once per distinct prompt, by the module's
    # load_text(spec, placement), from the files or parts `text` and, if there is one, `tokenizer`.
    text_stage: bool = False
    weights_at: tuple[str, ...] = ()  # PLACE or PART=PLACE; a folder, URL, hub repository, file, or "random"

    def at(self, weights: tuple[str, ...] = ()) -> Self:
        """Return the pair with its weights elsewhere; without any, where MOTIONECHO_WEIGHTS says, if set.

        Raises UserError on a part that the pair does not have, or where nothing is to be looked for.
        """
        if not self.parts:
            if weights:
                raise UserError(f"pair {self.name} ships with its weights: leave out --weights {weights[0]}")
            return self
        default = os.environ.get(WEIGHTS_VARIABLE)
        texts = tuple(weights) or ((default,) if default else ())
        spec = replace(self, weights_at=tuple(Place(text, told(text)) for text in texts))
        spec._places()
        return spec

    def sized(self, size: str) -> Self:
        """Return the pair at a size "FRAMESxHEIGHTxWIDTH", which its name then says.

        Raises UserError on a size that is not right, and where the pair has but one.
        """
        if self.sizes is None:
            own = f"{self.frames}x{self.height}x{self.width}"
            raise UserError(f"pair {self.name} makes clips of {own} alone: leave out @{size}")
        frames, height, width = self.sizes.read(size, self.name)
        if (frames, height, width) == (self.frames, self.height, self.width):
            return self
        name = f"{self.name}@{frames}x{height}x{width}"
        return replace(self, name=name, frames=frames, height=height, width=width)

    def check_prompt(self, prompt: str) -> None:
        """Raise BadSample where the pair is known to be unable to read the prompt; loads no model."""
        if self.prompt_check:
            _named(self.prompt_check)(prompt)

    def lost_of(self, prompt: str) -> str:
        """Return the end of a prompt that the pair's text encoder does not read; "" where it reads all."""
        return str(_named(self.prompt_end)(prompt, self)) if self.prompt_end else ""

    def texts(
        self, prompt: str, negative_prompt: str | None, reference: ReferenceSettings
    ) -> tuple[str, ...]:
        """List the distinct texts of a sample that a stage is to encode, its reference's, too."""
        caption = reference.reference_prompt if reference.trains else ""
        return tuple(dict.fromkeys((prompt, negative_prompt or "", "", caption))) if self.text_stage else ()

    @property
    def is_random(self) -> bool:
        return RANDOM in self.weights_at

    def needed(self, method: str = "") -> dict[str, Published]:
        """Return the parts that every method needs, and those that this one alone does."""
        return {part: its for part, its in self.parts.items() if self.optional.get(part, method) == method}

    def paths(self, method: str = "", only: tuple[str, ...] = ()) -> dict[str, Path]:
        """Locate every file of needed weights on this node, unread; raises UserError where one is missing.

        `only` names parts to which that is confined.
        """
        return self._located(method, False, only)

    def pull(self, method: str = "", only: tuple[str, ...] = ()) -> dict[str, Path]:
        """Return the paths, fetching what is not on this node from where it is published, or a URL given.

        `only` names parts to which that is confined.

        Raises UserError where a file is not there or not readable, Transient where a store keeps failing.
        """
        return self._located(method, True, only)

    def weights(self, method: str = "") -> dict[str, str]:
        """Return the sha256 of every file of `paths`, or "random"; raises UserError where one is missing.

        A large file is read once: what it had is remembered.
        """
        if self.is_random:
            needed = self.needed(method).items()
            return {key: RANDOM for part, its in needed for key in its.keys(part).values()}
        return {key: file_sha256(path) for key, path in self.paths(method).items()}

    def text_weights(self) -> dict[str, str]:
        """Return the sha256 of the files that a text stage computes with; raises as `weights`."""
        return {key: its for key, its in self.weights().items() if key.partition("/")[0] in TEXT_PARTS}

    def known_weights(self, method: str = "") -> dict[str, str | None]:
        """Return what `weights` does without reading large files; None for a sha256 not known from before."""
        if self.is_random:
            return dict(self.weights(method))
        return {key: known_sha256(path) for key, path in self.paths(method).items()}

    def config(self, preset: str | None = None, changes: Mapping[str, Any] | None = None) -> EchoConfig:
        """Make settings: the pair's defaults, a preset, single changes; raises UserError on unknown names."""
        if preset is not None and preset not in self.presets:
            raise UserError(f'pair {self.name} has no preset "{preset}"{nearest(preset, self.presets)}; '
                            f"it has {', '.join(self.presets)}")  # fmt: skip
        changed = dict(self.presets[preset]) if preset else {}
        return self.updated(self.defaults, changed | {resolve_name(k): v for k, v in (changes or {}).items()})

    def updated(self, config: EchoConfig, changes: Mapping[str, Any]) -> EchoConfig:
        """Return settings with changes; another strategy or method brings what goes best with it first.

        Raises UserError on unknown names and values, and on a strategy, method or number of steps that the
        pair does not have.
        """
        asked = config.updated(changes)
        word, method = asked.reference.strategy, asked.sampling.method
        strategies = [each for each in STRATEGIES if each not in self.lacks]
        for kind, name, known in (("strategy", word, strategies), ("method", method, [*self.methods])):
            if name not in known:
                raise UserError(f'pair {self.name} has no {kind} "{name}"; it has {", ".join(known)}')
        if self.most_steps and asked.student.steps > self.most_steps:
            raise UserError(f"pair {self.name} has a student of at most {self.most_steps} steps, "
                            f"not {asked.student.steps}")  # fmt: skip
        if told(place := asked.reference.motion_lora) != place:
            raise UserError(
                f'motion_lora "{told(place)}" holds a login or a signature, which settings do not keep: '
                "name a file, or a place whose credentials come from the environment"
            )
        if (word, method) == (config.reference.strategy, config.sampling.method):
            return asked
        of_methods = (its for each in self.methods.values() for its in each.values())
        touched = {name for its in (*self.strategies.values(), *of_methods) for name in its}
        best = {name: value for name, value in self.defaults.to_dict().items() if name in touched}
        for its in (
            self.strategies.get(word, {}),
            *(self.methods[method].get(each, {}) for each in ("", word)),
        ):
            best |= its
        return config.updated(best | dict(changes))

    def absent(self, method: str = "", only: tuple[str, ...] = ()) -> dict[str, WeightFile]:
        """Return which files of needed weights are not on this node, by key, as they are looked for first."""
        found: dict[str, WeightFile] = {}
        for key, sources in self._wanted(method, only):
            here = next((source for source in sources if source.path()), None)
            shards = here.shards() if here else []
            found |= {f"{key}/{shard.url.name}": shard for shard in shards if shard.path() is None}
            found |= {} if here else {key: sources[0]}
        return found

    def gigabytes(self, keys: Iterable[str]) -> float:
        """Sum the published sizes of the parts that keys of weights are of, each whole."""
        return sum(self.parts[part].gigabytes for part in {key.partition("/")[0] for key in keys})

    def _wanted(self, method: str, only: tuple[str, ...]) -> Iterator[tuple[str, list[WeightFile]]]:
        """Yield the key of every file of needed weights, and the places that it may be at."""
        places = self._places()
        for part, published in self.needed(method).items():
            if not only or part in only:
                for what, key in published.keys(part).items():
                    yield key, [*places[part].candidates(published, what)]

    def _located(self, method: str, fetch: bool, only: tuple[str, ...] = ()) -> dict[str, Path]:
        located, absent = dict(self.files), self.absent(method, only)
        lost = absent if not fetch else {key: file for key, file in absent.items() if not file.is_remote}
        if lost:
            raise self._missing(lost, fetch)
        if absent:
            announce(self.name, absent, self.gigabytes(absent))
        for key, sources in self._wanted(method, only):
            source = next((source for source in sources if source.path()), None)
            if source is None and fetch:
                source = next((source for source in sources if source.fetch()), None)
            path = source.path() if source else None
            if source is None or path is None:
                raise self._missing({key: sources[0]}, fetch)
            located[key] = path
            for shard in source.shards():
                path = shard.fetch() if fetch else shard.path()
                if path is None:
                    raise self._missing({key: shard}, fetch)
                located[f"{key}/{shard.url.name}"] = path
        for key, path in self.files.items():
            if not path.is_file():
                raise UserError(f"pair {self.name}: the weights of {key} are missing at {path}")
        return located

    def _missing(self, absent: Mapping[str, WeightFile], fetch: bool) -> UserError:
        (key, source), *more = absent.items()
        part = key.partition("/")[0]
        if source.is_remote and not fetch:
            alone = f" --method {self.optional[part]}" if part in self.optional else ""
            way_out = f" on this machine; fetch them with: motionecho models pull {self.name}{alone}"
        else:
            published = self.parts[part]
            what = next(what for what, its in published.keys(part).items() if key.startswith(its))
            name = published.files[what][0]
            if key not in published.keys(part).values():  # one of those that an index names, beside it
                name = f"{name.rpartition('/')[0]}/{source.url.name}".lstrip("/")
            way_out = f"; copy hf://{published.hub}/{name} there, or name another place with --weights"
        too = f" (missing, too: {', '.join(key for key, _ in more)})" if more else ""
        return UserError(f"pair {self.name}: the weights of {key} are missing at {source.url}{way_out}{too}")

    def _places(self) -> dict[str, WeightPlace]:
        """Find a place for every part: its own where one is given, else the general one or the published."""
        general, own = "", dict[str, str]()
        for text in self.weights_at:
            named = OVERRIDE.fullmatch(opened(text))
            if opened(text).endswith("="):
                raise UserError(
                    f"--weights {text} names no place; write PART=PLACE, or a place for all parts"
                )
            if named is None:
                general = opened(text)
            elif named[1] not in self.parts:
                hint = nearest(named[1], self.parts)
                raise UserError(f'--weights {text}: pair {self.name} has no part "{named[1]}"{hint}; '
                                f"it has {', '.join(self.parts)}")  # fmt: skip
            else:
                own[named[1]] = named[2]
        if self.is_random and self.weights_at != (RANDOM,):
            raise UserError("--weights random stands for all weights: give no other with it")
        for part, text in ({"": general} | own).items():
            several = not part or len(self.parts[part].files) > 1
            if several and WeightPlace(text).is_file:
                raise UserError(f"--weights {Place(text)} is one file, where several are needed; "
                                "name a folder, or the part that it is: --weights PART=FILE")  # fmt: skip
        return {part: WeightPlace(own.get(part, general)) for part in self.parts}


def _named(place: str) -> Any:
    """Return a function by its "module:function"."""
    module, function = place.split(":")
    return getattr(importlib.import_module(module), function)
