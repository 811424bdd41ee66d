"""The pairs by name. Importing this loads no model and no torch."""

import importlib
from typing import TYPE_CHECKING

from motionecho.config import Placement
from motionecho.errors import UserError, nearest
from motionecho.models.animatediff.settings import PAIRS as ANIMATEDIFF
from motionecho.models.cogvideox.settings import PAIRS as COGVIDEOX
from motionecho.models.spec import PairSpec
from motionecho.models.toy.settings import PAIRS as TOY
from motionecho.models.toy_dit.settings import PAIRS as TOY_DIT
from motionecho.models.videocrafter.settings import PAIRS as VIDEOCRAFTER
from motionecho.models.wan.settings import PAIRS as WAN

if TYPE_CHECKING:
    from motionecho.models.pair import ModelPair
    from motionecho.models.weights.checkpoint import Mismatch

__all__ = ["PAIRS", "PairSpec", "check_pair", "load_pair", "pair_spec"]

FAMILIES = (*TOY, *TOY_DIT, *VIDEOCRAFTER, *ANIMATEDIFF, *WAN, *COGVIDEOX)
PAIRS: dict[str, PairSpec] = {spec.name: spec for spec in FAMILIES}


def pair_spec(name: str, weights: tuple[str, ...] = ()) -> PairSpec:
    """Return the spec of a pair with its weights at the places named (see PairSpec.at).

    `name` may say a size, as wan2.1-1.3b@33x320x512 does. Raises UserError naming the nearest where there is
    no such pair, and the nearest sizes where it has none of that size.
    """
    plain, sized, size = name.partition("@")
    if plain not in PAIRS:
        raise UserError(f'unknown pair "{plain}"{nearest(plain, PAIRS)}; known: {", ".join(PAIRS)}')
    spec = PAIRS[plain].sized(size) if sized else PAIRS[plain]
    return spec.at(weights)


def load_pair(name: str, placement: Placement | str = "auto", dtype: str = "auto") -> "ModelPair":
    """Load a pair where the placement says (a text names a device), fetching weights that are not here.

    dtype: "float32", "float16", "bfloat16", or "auto" for the pair's own choice on that device. Raises
    UserError on an unknown pair, device or dtype, and where weights are missing or do not fit.
    """
    place = Placement(device=placement) if isinstance(placement, str) else placement
    spec = pair_spec(name, place.weights)
    return importlib.import_module(spec.module).load(spec, place, dtype)


def check_pair(spec: PairSpec, method: str = "") -> "dict[str, list[Mismatch]]":
    """Load every network of a pair on the CPU, its weights only mapped; all that does not fit, by network.

    Those that one method alone needs are left out of it but for `method`. Raises UserError where a file is
    missing or not readable.
    """
    from motionecho.models.weights.checkpoint import Misfit

    if spec.is_random:
        raise UserError("random weights are made to fit: there is nothing to check")
    found: dict[str, list[Mismatch]] = {}
    for network, load in importlib.import_module(spec.module).networks(spec.paths(method)).items():
        try:
            load()
            found[network] = []
        except Misfit as problem:
            found[network] = list(problem.mismatches)
    return found
