"""The adapters of motions on the networks of a pair, for as long as a batch is sampled."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from motionecho.config import EchoConfig
from motionecho.denoiser import Denoiser
from motionecho.guidance.carrier import Adapter, SidePath, mergeable, merged
from motionecho.guidance.motion_inversion import in_mode
from motionecho.inversion import Motion
from motionecho.models.pair import ModelPair, Role


@dataclass(frozen=True)
class Carrier:
    """The networks of a batch by their role, and whose turn it is of what they carry."""

    student: Denoiser
    teacher: Denoiser
    beside: tuple[SidePath, ...] = ()

    @contextmanager
    def of(self, rows: Tensor) -> Iterator[None]:
        """Take the samples `rows` for those of the teacher's passes in here."""
        with ExitStack() as stack:
            for each in self.beside:
                stack.enter_context(each.of(rows))
            yield


@contextmanager
def carrying(pair: ModelPair, motion: Motion, config: EchoConfig) -> Iterator[Carrier]:
    """Put the adapters of a batch of motions on both networks, or on those that settings name."""
    guidance, networks, beside = config.guidance, dict[Role, Denoiser](), list[SidePath]()
    scale = guidance.carried
    with ExitStack() as stack:
        for role in ("student", "teacher"):
            networks[role] = getattr(pair, role)
            adapter = adapter_of(motion, role) if guidance.adapter_on in (role, "both") else {}
            if not adapter or scale == 0:
                continue
            if mergeable(adapter):
                one = {name: tensor[0] for name, tensor in adapter.items()}
                stack.enter_context(merged(networks[role], one, scale))
                continue
            networks[role] = pair.plain(role)
            each = SidePath(adapter, scale, values=partial(in_mode, mode=guidance.embedding_mode))
            stack.enter_context(each.on(networks[role].network))
            beside += [each] if role == "teacher" else []
        yield Carrier(networks["student"], networks["teacher"], tuple(beside))


def adapter_of(motion: Motion, role: Role) -> Adapter:
    """Return what a network carries: what was trained on it, else on the other one."""
    own, other = (motion.student, motion.teacher) if role == "student" else (motion.teacher, motion.student)
    return own.adapter or other.adapter
