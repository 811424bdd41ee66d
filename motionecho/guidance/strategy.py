"""A strategy: what of a motion is compared, and what is kept of a reference. Settings choose it by a word."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from motionecho.config import STRATEGIES, TRAINED, ReferenceSettings
from motionecho.denoiser import Denoiser, Energy, Kind, Tap, Target, observe
from motionecho.errors import Transient, UserError
from motionecho.guidance.carrier import Adapter
from motionecho.guidance.training import Recipe
from motionecho.noise import noise
from motionecho.schedules import Schedule, renoise


@dataclass(frozen=True)
class Carried:
    """The share of one network in a motion: targets by the time they are for, and trained tensors by name.

    Of a batch, tensors lead with [b].
    """

    targets: dict[float, Target]
    adapter: Adapter = field(default_factory=dict)


@dataclass(frozen=True)
class AtOneTime:
    """The part of an energy that looks at what `layers` show of some kinds, of the reference at one time."""

    layers: tuple[str, ...]
    time: float
    kinds: ClassVar[tuple[Kind, ...]] = ("features",)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return tuple(Tap(layer, kind) for layer in self.layers for kind in self.kinds)

    @property
    def times(self) -> tuple[float, ...]:
        return (self.time,)

    def time_for(self, t: float) -> float:
        return self.time


@dataclass(frozen=True)
class Strategy:
    """A way to follow a motion: an energy to compare by and, where it trains on each reference, its recipe.

    One that keeps something else of a reference has a `prepare` of its own.
    """

    energy: Energy
    recipe: Recipe | None = None

    def prepare(self, denoiser: Denoiser, schedule: Schedule, z0: Tensor, null: Tensor) -> Carried:
        """Look at clean latents z0 [1, c, f, h, w] under the empty prompt, at every time the energy names.

        Each is one noised pass, ended behind the last tap. The noise is the same for every reference, so
        that targets depend on the clip alone.
        """
        targets = {}
        for t in self.energy.times:
            at, eps = schedule.at(t), noise(0, "reference", round(t), z0.shape[1:]).to(z0)[None]
            probe = observe(denoiser, renoise(z0, eps, at), at, null, self.energy.taps)
            targets[t] = self.energy.target(probe)
        return Carried(targets)


def strategy_of(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """The strategy that settings name, for one network; UserError where this process does not know it."""
    if reference.strategy not in STRATEGIES:
        raise UserError(f'no strategy "{reference.strategy}" here; known: {", ".join(STRATEGIES)}')
    made = maker_of(reference.strategy)(denoiser, reference)
    if made.recipe and not reference.trains:
        raise UserError(
            f'strategy "{reference.strategy}" of {STRATEGIES.giver(reference.strategy)} has a recipe: '
            f"those that train on a reference are part of motionecho ({', '.join(TRAINED)})"
        )
    return made


def maker_of(word: str) -> Callable[[Denoiser, ReferenceSettings], Strategy]:
    """Return the function that makes a strategy; UserError where a package of others is broken."""
    return STRATEGIES.using(word, lambda: pkgutil.resolve_name(STRATEGIES[word]))


def broken() -> dict[str, str]:
    """Return the strategies that packages add and that cannot be had, each with why; imports them all."""
    found = STRATEGIES.broken()
    for word in STRATEGIES:
        try:
            if word not in found and STRATEGIES.giver(word):
                maker_of(word)
        except UserError as problem:
            found[word] = str(problem)
    return found


def as_planned(word: str, giver: str) -> None:
    """Make sure that this process has a strategy of the package it was planned with; Transient where not."""
    if (here := STRATEGIES.giver(word)) != giver:
        said = f'strategy "{word}" was planned with that of {giver or "motionecho"}, and this node has'
        raise Transient(f"{said} {here or 'no such package'}: every node needs the same")
    if giver:
        try:
            maker_of(word)
        except UserError as problem:  # it could be used where the run was planned
            raise Transient(str(problem)) from problem


def layers_of(denoiser: Denoiser, reference: ReferenceSettings) -> tuple[str, ...]:
    """Return the layers that settings name, else the pair's own for the strategy; UserError on none."""
    own = denoiser.layers.get(reference.strategy, ())
    if not (reference.layers or own):
        raise UserError(
            f'strategy "{reference.strategy}" has no layers of its own on this pair: name `layers`'
        )
    return reference.layers or own
