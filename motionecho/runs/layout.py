"""The names of what is in a run's folder; outside this package, `RunStore` has them.

run.json                           settings, weights, versions; written once, checked on resume
progress/<life>.json               the lease of one driver or sweeper, with its last word
progress/<digest>.keys             the rows that a driver is to make, a key a line
job.json                           the Ray job that drives it, if one does; inputs/: what it was sent
canary.json                        what the first worker made of a fixed tiny task
motions/<ab>/<key>.safetensors     inverted references, by content; may be a place shared between runs
texts/<ab>/<key>.safetensors       encoded texts, by content, of pairs that have a stage for them
videos/<ab>/<key>-<attempt>.mp4    stats/<ab>/<key>-<attempt>.parquet; an attempt is <number>-<life>
previews/<ab>/<key>-<attempt>.mp4  reference and result side by side, small
features/<ab>/<name>.npz           what set metrics compare (places of scores only), by content
attempts/<ab>/<key>-<attempt>.json failed attempts of samples that are not finished yet
records/<ab>/<key>.json            the commit: written last, names the blobs with their sha256; a sample made
                                   again has <key>-2.json, -3, ... beside it, and the highest counts
results/part-<time>-<digest>.parquet   compacted records, a cache of them: the manifest of outputs; the digest
                                   is of its bytes
report/                            what people look at: index.html and what it loads, contact_sheet.png,
                                   preview.webp; sets.json of a place of scores
forgotten/<digest>.json            that a reference is not to be used here again, by marks that do not tell it
scores/                            figures taken later, a place of the same layout
"""

import hashlib
import re
from datetime import UTC, datetime

RUN, JOB, CANARY = "run.json", "job.json", "canary.json"
OLD_PROGRESS = "progress.json"  # the one word that all drivers of version 0.1 shared
SHEET, MOVING, SETS = "report/contact_sheet.png", "report/preview.webp", "report/sets.json"
MOTIONS, TEXTS, VIDEOS, STATS, FEATURES = "motions", "texts", "videos", "stats", "features"
PREVIEWS = "previews"
ATTEMPTS, RECORDS, RESULTS, REPORT, SCORES = "attempts", "records", "results", "report", "scores"
PROGRESS, INPUTS = "progress", "inputs"
FORGOTTEN = "forgotten"  # outlasts --fresh: who asked for a clip back has asked for more than this run

BLOBS = (VIDEOS, STATS, PREVIEWS)  # named by an attempt, so that one that died leaves some behind
FOLDERS = (*BLOBS, ATTEMPTS, RECORDS, RESULTS, MOTIONS, TEXTS, REPORT)  # where leftovers may be
OUTCOMES = (RESULTS, ATTEMPTS, RECORDS, *BLOBS, REPORT, SCORES)  # what a run has made, in order of deletion
YOUNG_S = 3600.0  # younger leftovers are left alone: whoever wrote them may not have a lease yet

VIDEO = re.compile(r"(?:.*/)?(videos/.+)")  # in version 0.1 without folders by key
OWN = re.compile(
    rf"({'|'.join((*BLOBS, MOTIONS, TEXTS, FEATURES, RECORDS))})"
    r"/([0-9a-z]{2}/)?[0-9a-z][0-9a-z-]*\.[0-9a-z]+"
)
RECORD = re.compile(r"([0-9a-f]{32})(?:-([1-9]\d{0,8}))?")  # the name of one, without its ending
PART = re.compile(r"part-(\d{8}T\d{6})-([0-9a-f]{16})")  # in version 0.1 there are six digits, of nothing


def record(key: str, generation: int = 1) -> str:
    return f"{records_of(key)}/{key}{f'-{generation}' if generation > 1 else ''}.json"


def records_of(key: str) -> str:
    """Name the folder with a sample's records; it may hold those of others."""
    return f"{RECORDS}/{key[:2]}"


def sample_of(path: str) -> tuple[str, int] | None:
    """Return the key and the generation of a record by its path; None where that is no record's."""
    found = RECORD.fullmatch(stem(path))
    if found is None:
        return None
    key, generation = found[1], int(found[2] or 1)
    return (key, generation) if path == record(key, generation) else None


def lease(life: str) -> str:
    return f"{PROGRESS}/{life}.json"


def rows(digest: str) -> str:
    return f"{PROGRESS}/{digest}.keys"


def attempt_notes(key: str) -> str:
    """Name the folder with a sample's attempt notes; it may hold those of others."""
    return f"{ATTEMPTS}/{key[:2]}"


def attempt_note(key: str, attempt: str) -> str:
    return f"{attempt_notes(key)}/{key}-{attempt}.json"


def motion(key: str, folder: str = MOTIONS) -> str:
    return f"{folder}/{key[:2]}/{key}.safetensors"


def text(key: str) -> str:
    return f"{TEXTS}/{key[:2]}/{key}.safetensors"


def video(key: str, attempt: str) -> str:
    return f"{VIDEOS}/{key[:2]}/{key}-{attempt}.mp4"


def stats(key: str, attempt: str) -> str:
    return f"{STATS}/{key[:2]}/{key}-{attempt}.parquet"


def preview(key: str, attempt: str) -> str:
    return f"{PREVIEWS}/{key[:2]}/{key}-{attempt}.mp4"


def features(name: str) -> str:
    return f"{FEATURES}/{name[:2]}/{name}.npz"


def is_own(uri: str | None) -> bool:
    """Tell whether a path is of a run's own files: a stranger's record may name any file of this machine."""
    return uri is not None and OWN.fullmatch(uri) is not None


def sent(name: str) -> str:
    """Name a file that a job was sent."""
    return f"{INPUTS}/{name}"


def forgotten(name: str) -> str:
    return f"{FORGOTTEN}/{name}.json"


def part(data: bytes, of: str = "") -> str:
    """Name a results part by its bytes, after all there are; `of` is one that it takes the place of."""
    old = PART.fullmatch(stem(of))
    moment = old[1] if old else f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return f"{RESULTS}/part-{moment}-{_digest(data)}.parquet"


def is_whole(part: str, data: bytes) -> bool:
    """Tell whether these are the bytes that a part was named by; one of version 0.1 cannot tell."""
    named = PART.fullmatch(stem(part))
    return named is None or named[2] == _digest(data)


def stem(path: str) -> str:
    """Return a file's name without folders and suffix: its key, or its key and attempt."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def life_of(path: str) -> str:
    """Return the life of the driver whose blob, attempt note or lease that is."""
    return stem(path).rpartition("-")[2]


def key_of(path: str) -> str:
    """Return the key of the sample that a record, blob or attempt note is of."""
    return stem(path).split("-")[0]


def video_of(place: str) -> str:
    """Return the path of a run's video within its run, wherever that is now; of another, its place."""
    found = VIDEO.fullmatch(place)
    return found[1] if found else place


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
