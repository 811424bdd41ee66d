"""A run as a job of a Ray cluster: submitted over HTTP, followed or left alone, stopped.

The job is the same `motionecho batch submit`, run on the cluster with `--address auto`. Nothing here decides
anything about samples: those are in the run's place, wherever the driver is.
"""

import os
import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from motionecho.errors import UserError
from motionecho.runs.keys import digest
from motionecho.runs.leases import IN_JOB
from motionecho.runs.places import Place

# What finds the store's credentials and our own settings; the job's processes look for the same names.
PASSED = ("AWS_", "AZURE_", "FSSPEC_", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT",
          "MOTIONECHO_")  # fmt: skip
# What means another thing inside the cluster, is sent as an option, or opens what only stays here.
KEPT = ("MOTIONECHO_RAY_ADDRESS", "MOTIONECHO_DENY", "MOTIONECHO_C2PA_CERT", "MOTIONECHO_C2PA_KEY")
DRAIN_S = 60  # how long a stopped driver may take to finish what is under way
LOST_FOR_S = 300.0  # a head that does not answer for so long is given up on


def run_id(url: str) -> str:
    """Name a run's job after its place: the same place, the same name."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", url.rstrip("/").rsplit("/", 1)[-1]).strip("-")[:40]
    return f"motionecho-{name or 'run'}-{digest(url)[:8]}"


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick what a job needs of an environment. It ends in the job's description, never in the store."""
    found = {k: v for k, v in environment.items() if k.startswith(PASSED) and k not in KEPT}
    return found | {"RAY_JOB_STOP_WAIT_TIME_S": str(DRAIN_S)}


def connect(address: str) -> JobSubmissionClient:
    """Return a client of the job server; UserError in one sentence where that is not to be had."""
    shown = Place(address)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as problem:
        raise UserError(
            f"{shown} wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN=<the cluster's token> "
            "and submit again"
        ) from problem
    except ConnectionError as problem:
        raise UserError(
            f"cannot reach a Ray job server at {shown}: is the head running with its dashboard, and is the "
            "port forwarded to this machine?"
        ) from problem
    except (RuntimeError, ImportError) as problem:
        if "ray[default]" in str(problem):
            raise UserError("jobs need more of Ray: pip install 'ray[default]'") from problem
        first = " ".join(shown.told(str(problem)).split())[:200]
        raise UserError(
            f'{shown} does not take jobs: {first} (a head needs pip install "ray[default]")'
        ) from problem
    except ValueError as problem:
        why = shown.told(str(problem))
        raise UserError(f'"{shown}" is no address of a job server: {why}') from problem


def submit(
    client: JobSubmissionClient, run: str, command: list[str], runtime_env: Mapping[str, Any] | None = None
) -> str:
    """Start the command as the run's job and return the job's id; a job that does just that is kept.

    Ids that have ended are followed by -2, -3, ... Raises UserError where another job is at work on the run.
    """
    entrypoint, name = shlex.join(command), run_id(run)
    known = {job.submission_id: job for job in client.list_jobs()}
    mine = [
        job for id, job in known.items() if id == name or re.fullmatch(rf"{re.escape(name)}-\d+", id or "")
    ]
    for job in mine:
        if not job.status.is_terminal():
            if job.entrypoint == entrypoint:
                return str(job.submission_id)
            raise UserError(
                f"job {job.submission_id} is at work on this run with another command: wait for it, or stop "
                f"it with: motionecho batch cancel {run}"
            )
    id = name if name not in known else next(
        f"{name}-{n}" for n in range(2, len(known) + 3) if f"{name}-{n}" not in known
    )  # fmt: skip
    env = dict(runtime_env or {})
    env["env_vars"] = passed_on(os.environ) | env.get("env_vars", {}) | {IN_JOB: id}
    try:
        client.submit_job(entrypoint=entrypoint, submission_id=id, runtime_env=env)
    except (RuntimeError, ValueError, OSError) as problem:
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[-1]
        raise UserError(f"the cluster refused the job: {first[:300]}") from problem
    return id


def details(client: JobSubmissionClient, id: str) -> JobDetails:
    """Return what the cluster says of a job; UserError where it knows none of that id."""
    try:
        return client.get_job_info(id)
    except RuntimeError as problem:
        if "404" not in str(problem) and "does not exist" not in str(problem):
            raise
        raise UserError(f"the cluster knows no job {id}: its head has been restarted since") from problem


def follow(client: JobSubmissionClient, id: str, tell: Callable[[str], None]) -> JobDetails:
    """Pass a job's log on as it grows, until the job ends. A head that is away for a moment is waited for."""
    told, heard = 0, time.monotonic()
    while True:
        try:
            job = details(client, id)
            log = client.get_job_logs(id)
            heard = time.monotonic()
        except (OSError, RuntimeError) as problem:  # requests' own errors are OSErrors
            if time.monotonic() - heard > LOST_FOR_S:
                raise UserError(
                    f"lost job {id}: nobody answers; its samples are in the run's place"
                ) from problem
            time.sleep(5)
            continue
        if len(log) > told:
            tell(log[told:])
            told = len(log)
        if job.status.is_terminal():
            return job
        time.sleep(1 + len(log) / 1e6)  # every look fetches the whole log


def stop(client: JobSubmissionClient, id: str) -> JobDetails:
    """Ask a job to stop, wait until it has, and say how it ended."""
    job = details(client, id)
    if job.status.is_terminal():
        return job
    client.stop_job(id)
    return follow(client, id, lambda text: None)


def exit_code(job: JobDetails) -> int:
    """Return the driver's own exit code; 130 for a stopped job, 1 for one that never got so far."""
    if job.status == JobStatus.STOPPED:
        return 130
    code = job.driver_exit_code
    if code is None:
        return 0 if job.status == JobStatus.SUCCEEDED else 1
    return code if 0 <= code <= 130 else 1
