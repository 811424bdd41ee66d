"""A student that is a LoRA: low-rank factors beside the layers of the teacher's own network, one in memory.

    y += (alpha / rank) up (down x)     at every linear layer that has factors, while a pass is the student's

Nothing is merged: in bfloat16 that would not come off again. Small tensors that such files change as a whole
(biases, norms, tables) take the place of the network's own meanwhile.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from motionecho.errors import UserError
from motionecho.models.weights.checkpoint import LISTED, Misfit, Mismatch, State, read_part

N = TypeVar("N", bound=nn.Module)
Rename = Callable[[str], str]  # from diffusers' names to the original ones
Using = Callable[[], AbstractContextManager[Any]]
PREFIX = re.compile(r"^(model\.diffusion_model|diffusion_model|transformer|base_model\.model)\.")
OF_FACTORS = ("up", "down", "alpha")
ENDS = {
    "lora_A.weight": "down", "lora_A.default.weight": "down", "lora_down.weight": "down",
    "lora_B.weight": "up", "lora_B.default.weight": "up", "lora_up.weight": "up", "alpha": "alpha",
    # what is added to a tensor as a whole, by the tensor's last name
    "diff": "weight", "diff_b": "bias", "lora_B.bias": "bias", "diff_m": "modulation",
}  # fmt: skip
HEADER = "lora_adapter_metadata"
KEY = re.compile(rf"(?P<module>.+?)\.(?P<end>{'|'.join(map(re.escape, ENDS))})")


@dataclass(frozen=True)
class Factors:
    """The factors of one layer: up [out, rank], down [rank, in]; `scale` is alpha / rank."""

    up: Tensor
    down: Tensor
    scale: float

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        """Add to what a linear layer has made of its inputs, as a hook behind it."""
        x = inputs[0]
        low, flat = x.flatten(0, -2) @ self.down.to(x).mT, out.flatten(0, -2)
        return torch.addmm(flat, low, self.up.to(x).mT, alpha=self.scale).view_as(out)


@dataclass
class SideBranch:
    """All that a LoRA adds to a network, which is the student's within `on`, and else the teacher's."""

    network: nn.Module
    factors: dict[str, Factors]  # by module
    others: dict[str, nn.Parameter]  # that take the place of the network's own, by name
    depth: int = field(default=0, init=False)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Have the passes in here be the student's; entering once more within changes nothing."""
        with ExitStack() as stack:
            self.depth += 1
            stack.callback(self._leave)
            if self.depth == 1:
                for name, factors in self.factors.items():
                    layer = self.network.get_submodule(name)
                    stack.callback(layer.register_forward_hook(factors).remove)
                for name, other in self.others.items():
                    stack.callback(self._put(name, other))
            yield

    def _leave(self) -> None:
        self.depth -= 1

    def _put(self, name: str, parameter: nn.Parameter) -> Callable[[], object]:
        """Put another parameter in one's place; what is returned puts the old one back."""
        # the object, not its data: a backward pass to come needs those of its own forward pass
        path, _, last = name.rpartition(".")
        module, own = self.network.get_submodule(path), self.network.get_parameter(name)
        setattr(module, last, nn.Parameter(parameter.to(own.device), requires_grad=False))
        return lambda: setattr(module, last, own)


def read_student(files: Mapping[str, Path]) -> State:
    """Read the tensors of a student's file, with all that it says of a LoRA.

    Raises UserError where it is the teacher's own.
    """
    path = files["student"]
    if path == files["teacher"]:
        raise UserError(
            f"{path} would be both teacher and student; name the student's weights: --weights student=PLACE"
        )
    state = read_part(files, "student")
    return read_lora(path, state) if is_lora(state) else state


def student_of(
    state: State, teacher: N, what: str, whole: Callable[[State], N], original_name: Rename = str
) -> tuple[N, Using]:
    """Return a student: its network, or the teacher's, and what turns a pass of it into the student's.

    `whole` loads a network of its own; the rest as `beside`, and raises as these do.
    """
    if is_lora(state):
        return teacher, beside(teacher, state, what, original_name).on
    return whole(state), nullcontext


def is_lora(state: State) -> bool:
    """Tell the file of a LoRA from that of a whole network."""
    return any(".lora_" in name for name in state)


def read_lora(path: Path, state: State) -> State:
    """Return a LoRA's tensors with the alphas that diffusers writes into the header of their file.

    Raises UserError on a header that cannot be read, and a scaling that is not alpha / rank.
    """
    if path.suffix != ".safetensors":
        return state
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(HEADER, "{}")
    try:
        header = {key.removeprefix("transformer."): value for key, value in json.loads(text).items()}
        alpha, others = header.get("lora_alpha"), dict(header.get("alpha_pattern") or {})
    except (ValueError, TypeError, AttributeError) as problem:
        raise UserError(
            f"{path} has a header that cannot be read: {HEADER} is no JSON of settings"
        ) from problem
    if header.get("use_rslora") or header.get("use_dora"):
        raise UserError(f"{path} is a LoRA whose factors are scaled in another way than by alpha / rank")
    alphas: dict[str, Tensor] = {}
    for module in {key.rsplit(".lora_", 1)[0] for key in state if ".lora_" in key}:
        own = (value for name, value in others.items() if f".{module}".endswith(f".{name}"))
        if (its := next(own, alpha)) is not None:
            alphas[f"{module}.alpha"] = torch.tensor(float(its))
    return alphas | dict(state)


def beside(network: nn.Module, state: State, what: str, original_name: Rename = str) -> SideBranch:
    """Make the side branch of a LoRA's file, in diffusers' names or the original ones.

    `what` is the network in a user's words. Without an alpha, it is the rank. Raises Misfit naming keys that
    have no place in the network, factors without their other half, and tensors of another width.
    """
    layers, parameters = _by_all_names(network, original_name)
    found: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    biases: dict[str, str] = {}  # of factors, which are scaled as they are, by layer
    homeless = []
    for key, tensor in state.items():
        match = KEY.fullmatch(PREFIX.sub("", key))
        module, kind = (match["module"], ENDS[match["end"]]) if match else (key, "")
        if kind in OF_FACTORS and module in layers:
            found.setdefault(layers[module], {})[kind] = tensor
        elif kind not in OF_FACTORS and (name := parameters.get(f"{module}.{kind}")):
            whole[name] = tensor
            if match and match["end"] == "lora_B.bias" and module in layers:
                biases[layers[module]] = name
        else:
            homeless.append(key)
    _require_homes(state, homeless, what)
    _require_shapes(network, found, whole, what)
    factors = {n: _factors(parts, network.get_parameter(f"{n}.weight")) for n, parts in found.items()}
    for layer, name in biases.items():
        whole[name] = whole[name] * (factors[layer].scale if layer in factors else 1.0)
    return SideBranch(
        network,
        factors,
        {name: _added(network.get_parameter(name), tensor) for name, tensor in whole.items()},
    )


def _by_all_names(network: nn.Module, original_name: Rename) -> tuple[dict[str, str], dict[str, str]]:
    """Map what linear layers and parameters are called, by diffusers or originally, to their own names."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    layers = {name: name for name in linear} | {original_name(name): name for name in linear}
    parameters = {}
    for name, _ in network.named_parameters():
        for called in (name, original_name(name)):
            parameters[called] = name
            if not name.endswith(("weight", "bias")):  # a table, whose name ends in no kind of its own
                parameters[f"{called}.weight"] = name
    return layers, parameters


def _require_homes(state: State, homeless: list[str], what: str) -> None:
    if not homeless:
        return
    more = len(homeless) - LISTED
    some = ", ".join(homeless[:LISTED]) + (f" and {more} more" if more > 0 else "")
    pictured = any("_img" in key or "img_emb" in key for key in homeless)
    why = "it is of a model that makes videos of a picture" if pictured else "it is of another base"
    raise Misfit(
        f"{len(homeless)} of the LoRA's {len(state)} keys have no place in {what}; {why}: {some}",
        [Mismatch(key, "unexpected", None, [*state[key].shape]) for key in homeless],
    )


def _require_shapes(
    network: nn.Module, found: dict[str, dict[str, Tensor]], whole: dict[str, Tensor], what: str
) -> None:
    """Raise Misfit where a half of factors is missing, or a tensor is not as wide as the network."""
    problems = []
    for name, parts in found.items():
        out, width = network.get_parameter(f"{name}.weight").shape
        rank = parts["down"].shape[:1] if "down" in parts else parts.get("up", torch.empty(0)).shape[1:]
        for half, wanted in (("up", [out, *rank]), ("down", [*rank, width])):
            if half not in parts:
                problems.append(Mismatch(f"{name}.{half}", "missing", wanted))
            elif [*parts[half].shape] != wanted:
                problems.append(Mismatch(f"{name}.{half}", "wrong shape", wanted, [*parts[half].shape]))
    for name, tensor in whole.items():
        if (own := network.get_parameter(name)).shape != tensor.shape:
            problems.append(Mismatch(name, "wrong shape", [*own.shape], [*tensor.shape]))
    if problems:
        first = problems[0]
        how = f"is {first.found}, not {first.expected}" if first.found else "is missing"
        raise Misfit(
            f"{len(problems)} of the LoRA's tensors do not fit {what}, it may be made for one of "
            f"another size: {first.tensor} {how}",
            problems,
        )


def _factors(parts: dict[str, Tensor], weight: Tensor) -> Factors:
    """Place factors where the layer is that they belong to, and as precise."""
    up, down = (parts[half].to(weight.device, weight.dtype) for half in ("up", "down"))
    return Factors(up, down, float(parts["alpha"]) / len(down) if "alpha" in parts else 1.0)


def _added(own: nn.Parameter, tensor: Tensor) -> nn.Parameter:
    """Add to a tensor as a whole, summed in float32 and rounded once."""
    changed = own.float() + tensor.to(own.device).float()
    return nn.Parameter(changed.to(own.dtype), requires_grad=False)
