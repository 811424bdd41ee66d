"""The looks of `motionecho doctor`, one a function: what is found, and what mends it where it is not well."""

import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motionecho.errors import MotionEchoError
from motionecho.plugins import distributions
from motionecho.runs.places import Place
from motionecho.runs.provenance import versions

if TYPE_CHECKING:
    from motionecho.models.spec import PairSpec

DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "https": "aiohttp"}  # what opens URLs, by protocol
EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "https": "web"}
DECODERS = ("h264", "hevc", "vp9", "av1")
LITTLE = 2 * 2**30  # bytes of a disk that a run may fill
OURS = ("MOTIONECHO_", "RAY_", "HF_", "CUDA_VISIBLE", "TMPDIR", "XDG_CACHE_HOME")


@dataclass(frozen=True)
class Remark:
    """A finding about one thing, and what mends it where it is not well."""

    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


def guarded(look: Callable[[], Remark]) -> Remark:
    """Return what a look finds; what it runs into is a finding, too."""
    try:
        return look()
    except MotionEchoError as problem:
        return Remark("fail", str(problem))
    except Exception as problem:  # packages that are broken raise anything
        return Remark("fail", f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0]}")


def python() -> Remark:
    known = versions()
    return Remark(
        "ok",
        f"{known['python']} at {sys.executable}, motionecho {known['motionecho']}, {platform.platform()}, "
        f"{os.cpu_count()} cores",
    )


def torch() -> Remark:
    try:
        import torch as package
    except (ImportError, OSError) as problem:  # OSError: a library that does not load
        return Remark("fail", f"torch cannot be imported: {problem}", "pip install --force-reinstall torch")
    built = f"CUDA {package.version.cuda}" if package.version.cuda else "the CPU"
    return Remark("ok", f"{package.__version__}, built for {built}, {package.get_num_threads()} threads")


def gpu() -> Remark:
    import torch as package

    driver = _driver()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        there = package.cuda.is_available()
    if there:
        cards = []
        for number in range(package.cuda.device_count()):
            its = package.cuda.get_device_properties(number)
            cards.append(f"{its.name}, {its.total_memory / 2**30:.0f} GiB")
            one = package.ones(8, 8, device=f"cuda:{number}")
            assert float((one @ one)[0, 0]) == 8  # torch has code for this kind of card
        return Remark("ok", f"{'; '.join(cards)}; driver {driver or 'unknown'}")
    if driver is None:
        return Remark("ok", "none: the CPU computes, which is enough for toy and toy-dit")
    found, built = f"there is one (driver {driver}), and torch", package.version.cuda
    if built is None:
        mend = "install torch for CUDA, as https://pytorch.org/get-started says"
        return Remark("warn", f"{found} is built for the CPU alone", mend)
    why = " ".join(str(said[0].message).split()) if said else "it sees none"
    mend = "update the driver, or install a torch for an older CUDA; start a container with --gpus all"
    return Remark("warn", f"{found} for CUDA {built} cannot use it: {why}", mend)


def _driver() -> str | None:
    """Return the version of NVIDIA's driver, None where there is none."""
    with suppress(OSError, StopIteration):
        words = Path("/proc/driver/nvidia/version").read_text().split()
        return next(word for word in words if word[0].isdigit() and "." in word)
    return "unknown" if shutil.which("nvidia-smi") else None


def codecs() -> Remark:
    import av
    import numpy as np

    from motionecho.video import read_clip, write_video
    from motionecho.video.write import ENCODERS

    there = [name for name in ENCODERS if name in av.codecs_available]
    lost = [name for name in DECODERS if name not in av.codecs_available]
    mend = "pip install --force-reinstall av, whose own wheel has them"
    if not there:
        return Remark("fail", f"PyAV {av.__version__} has none of the encoders {', '.join(ENCODERS)}", mend)
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
        path = os.path.join(folder, "video.mp4")
        write_video(path, frames, 8.0)
        read_clip(path, 4, 64, 64)
    found = f"PyAV {av.__version__} writes {there[0]} and reads it back"
    if there[0] != ENCODERS[0]:
        return Remark("warn", f"{found}; {ENCODERS[0]} is missing, so videos are no H.264", mend)
    if lost:
        return Remark("warn", f"{found}; it cannot read {', '.join(lost)}", mend)
    return Remark("ok", f"{found}; decodes {', '.join(DECODERS)}")


def decord() -> Remark:
    if find_spec("decord") is None:
        return Remark("ok", "not installed (no wheel for every machine): PyAV decodes the same frames")
    import decord as package

    return Remark("ok", f"{package.__version__} decodes H.264")


def weights(spec: "PairSpec") -> Remark:
    if spec.is_random:
        return Remark("warn", f"{spec.name}: random weights make noise", "leave --weights random out")
    absent = spec.absent()
    if absent:
        first = next(iter(absent.values()))
        return Remark(
            "fail",
            f"{spec.name}: not on this machine are {', '.join(absent)}, {spec.gigabytes(absent):.1f} GB at "
            f"most ({first.url})",
            f"motionecho models pull {spec.name}, or --weights PLACE",
        )
    known = spec.known_weights()
    named = ", ".join(f"{key} {(sha256 or 'not hashed yet')[:14]}" for key, sha256 in known.items())
    return Remark("ok", f"{spec.name}: sha256 of {named}; `models check {spec.name}` compares every tensor")


def pairs() -> Remark:
    from motionecho.models.registry import PAIRS

    there = [name for name, spec in PAIRS.items() if not spec.at().absent()]
    return Remark("ok", f"weights are here of {', '.join(there)}; not of {len(PAIRS) - len(there)} others")


def plugins() -> Remark:
    from motionecho.guidance.strategy import broken
    from motionecho.metrics import METRICS

    if found := [*METRICS.broken().values(), *broken().values()]:
        return Remark("warn", "; ".join(found), "uninstall what is named, or install its newest release")
    others = ", ".join(f"{name} {release}" for name, release in distributions().items())
    return Remark("ok", f"strategies and metrics are added by {others or 'no other package'}")


def drivers() -> Remark:
    lost = [protocol for protocol, package in DRIVERS.items() if find_spec(package) is None]
    there = ", ".join(protocol for protocol in DRIVERS if protocol not in lost) or "no URLs, files alone"
    found = f"opens {there}"
    if not lost:
        return Remark("ok", found)
    extras = ",".join(EXTRAS[protocol] for protocol in lost)
    return Remark("ok", f"{found}; not {', '.join(lost)} (pip install 'motionecho[{extras}]')")


def tmpdir() -> Remark:
    from pipelines.machines.surroundings import LEAST_FREE

    mend = "set TMPDIR to a folder with room that may be written to"
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile() as file:
            file.write(b"0" * 2**20)
            file.flush()
    except OSError as problem:
        return Remark("fail", f"nothing can be written there: {problem}", mend)
    return _room(folder, LEAST_FREE, mend)


def cache() -> Remark:
    from huggingface_hub import constants

    from motionecho.models.weights.sources import cache_folder

    folders = [str(constants.HF_HUB_CACHE), str(cache_folder("weights"))]
    mend = "HF_HOME and XDG_CACHE_HOME name other folders"
    for folder in folders:
        there = _existing(folder)
        if not os.access(there, os.W_OK):
            return Remark("warn", f"weights cannot be kept in {folder}: no permission to write {there}", mend)
    return _room(folders[0], 0, mend)


def shared_memory() -> Remark:
    from pipelines.machines.embedded import OBJECT_STORE_BYTES

    if not os.path.isdir("/dev/shm"):
        return Remark("ok", "this system has none; Ray uses a file")
    free = shutil.disk_usage("/dev/shm").free
    if free < OBJECT_STORE_BYTES:
        wanted = f"Ray wants {OBJECT_STORE_BYTES / 2**20:.0f}: it will be slow"
        mend = "in a container: docker run --shm-size=1g"
        return Remark("warn", f"/dev/shm has {free / 2**20:.0f} MiB, and {wanted}", mend)
    return Remark("ok", f"/dev/shm has {free / 2**30:.1f} GiB")


def variables() -> Remark:
    named = sorted(name for name in os.environ if name.startswith(OURS))
    return Remark("ok", f"set here: {', '.join(named) or 'none that matters'}")


def store(url: str) -> Remark:
    """Write, read, list, create on condition and delete one small object, which is gone afterwards."""
    import secrets

    from motionecho.runs.files import HURRIED_S
    from motionecho.runs.folder import Folder

    folder = Folder.at(url, HURRIED_S)
    if folder.is_local:  # which may have to be made yet, and not by us
        folder = Folder.at(str(_existing(os.path.abspath(folder.url))), HURRIED_S)
    name, step = f".doctor-{secrets.token_hex(6)}", "written to"
    try:
        folder.overwrite(name, b"one")
        step = "read"
        assert folder.read(name) == b"one", "other bytes came back"
        step = "listed"
        assert name in folder.listed(deep=False), "what was written is not in its list"
        step = "written on condition"
        once = folder.refuses_twice(name)
        step = "deleted from"
        folder.remove_all([name])
        assert folder.look(name) is None, "what was deleted is still there"
    except Exception as problem:
        with suppress(Exception):
            folder.remove_all([name])
        mend = "is the address right? Credentials come from the environment; they have to allow all of this"
        return Remark("fail", f"{folder.url} cannot be {step}: {problem or type(problem).__name__}", mend)
    if not once:
        return Remark(
            "warn", f"{folder.url}: write, read, list and delete work; it knows no conditional writes",
            "have one driver at a time work in a run there, since the last write wins",
        )  # fmt: skip
    return Remark("ok", f"{folder.url}: write, read, list, conditional write and delete work")


def ray(address: str | None) -> Remark:
    from pipelines.execution import is_job_server

    try:
        from pipelines.machines.examined import started
    except ImportError as problem:
        return Remark("fail", f"Ray cannot be imported: {problem}", "pip install --force-reinstall ray")
    known = versions()
    try:
        if address and is_job_server(address):
            from pipelines.machines.jobs import connect

            connect(address)
            return Remark("ok", f"{Place(address)} takes jobs; Ray here is {known.get('ray')}")
        its = started(address)
    except MotionEchoError as problem:
        mend = f"a cluster has the same Ray and Python ({known.get('ray')} and {known['python']} here)"
        return Remark("fail", str(problem), mend if address else "see the lines tmpdir and shm")
    how = f"joined in {its['seconds']} s" if address else f"started in {its['seconds']} s and stopped"
    cores = sum(its["cores"])
    found = f"{its['version']} {how}: {len(its['cores'])} node, {cores:g} cores, {its['gpus']:g} GPUs"
    elsewhere = [place for place in its["listens"] if not place.startswith(("127.", "::1"))]
    if elsewhere:
        return Remark(
            "warn", f"{found}; listens on {', '.join(elsewhere)}", "RAY_ADDRESS=local listens here alone"
        )
    return Remark("ok", found + (f"; listens on {', '.join(its['listens'])} alone" if its["listens"] else ""))


def _existing(folder: str) -> Path:
    return next(each for each in (Path(folder), *Path(folder).parents) if each.exists())


def _room(folder: str, least: int, mend: str) -> Remark:
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{folder} has {free / 2**30:.1f} GiB left"
    return Remark(
        "fail" if free < least else "warn" if free < LITTLE else "ok", found, mend if free < LITTLE else ""
    )
