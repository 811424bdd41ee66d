"""The names of what is in a run's folder; outside this package, `RunStore` has them.

run.json                           settings, weights, versions; written once, checked on resume
progress/<life>.json               the lease of one driver or sweeper, with its last word
progress/<digest>.keys             the rows that a driver is to make, a key a line
job.json                           the Ray job that drives it, if one does; inputs/: what it was sent
canary.json                        what the first worker made of a fixed tiny task
motions/<ab>/<key>.safetensors     inverted references, by content; may be a place shared between runs
videos/<ab>/<key>-<attempt>.mp4    stats/<ab>/<key>-<attempt>.parquet; an attempt is <number>-<life>
features/<ab>/<name>.npz           what set metrics compare (places of scores only), by content
attempts/<ab>/<key>-<attempt>.json failed attempts of samples that are not finished yet
records/<ab>/<key>.json            the commit: written last, names the blobs with their sha256; a sample made
                                   again has <key>-2.json, -3, ... beside it, and the highest counts
results/part-*.parquet             compacted records, a cache of them: the manifest of outputs
report/                            what people look at: contact_sheet.png; sets.json of a place of scores
scores/                            figures taken later, a place of the same layout
"""

import secrets
from datetime import UTC, datetime

RUN, JOB, CANARY = "run.json", "job.json", "canary.json"
OLD_PROGRESS = "progress.json"  # the one word that all drivers of version 0.1 shared
SHEET, SETS = "report/contact_sheet.png", "report/sets.json"
MOTIONS, VIDEOS, STATS, FEATURES = "motions", "videos", "stats", "features"
ATTEMPTS, RECORDS, RESULTS, REPORT, SCORES = "attempts", "records", "results", "report", "scores"
PROGRESS = "progress"

BLOBS = (VIDEOS, STATS)  # named by an attempt, so that one that died leaves some behind
FOLDERS = (*BLOBS, ATTEMPTS, RECORDS, RESULTS, MOTIONS, REPORT)  # where leftovers may be
OUTCOMES = (RESULTS, ATTEMPTS, RECORDS, *BLOBS, REPORT, SCORES)  # what a run has made, in order of deletion


def record(key: str, generation: int = 1) -> str:
    return f"{records_of(key)}/{key}{f'-{generation}' if generation > 1 else ''}.json"


def records_of(key: str) -> str:
    """Name the folder with a sample's records; it may hold those of others."""
    return f"{RECORDS}/{key[:2]}"


def generation_of(path: str) -> int:
    """Return the generation of a record by its path; 0 where it is no name of a record."""
    _, dash, number = stem(path).partition("-")
    return (int(number) if number.isdecimal() else 0) if dash else 1


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


def video(key: str, attempt: str) -> str:
    return f"{VIDEOS}/{key[:2]}/{key}-{attempt}.mp4"


def stats(key: str, attempt: str) -> str:
    return f"{STATS}/{key[:2]}/{key}-{attempt}.parquet"


def features(name: str) -> str:
    return f"{FEATURES}/{name[:2]}/{name}.npz"


def sent(name: str) -> str:
    """Name a file that a job was sent."""
    return f"inputs/{name}"


def new_part() -> str:
    """Name one more results part, after all there are."""
    return f"{RESULTS}/part-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}.parquet"


def stem(path: str) -> str:
    """Return a file's name without folders and suffix: its key, or its key and attempt."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def life_of(path: str) -> str:
    """Return the life of the driver whose blob, attempt note or lease that is."""
    return stem(path).rpartition("-")[2]


def key_of(path: str) -> str:
    """Return the key of the sample that a record, blob or attempt note is of."""
    return stem(path).split("-")[0]
