"""What commands that carry out a run share: the banner, the display, the verdict, the last words."""

from dataclasses import asdict
from typing import Any

from motionecho.cli.exits import Exit
from motionecho.cli.printing import count, put, put_json, say, stderr
from motionecho.cli.progress import Display, outcome
from motionecho.config import RunSettings


def execute(
    work: Any, manifest: str, settings: RunSettings, url: str, engine: Any, allow_failures: bool, json: bool
) -> Exit:
    """Carry out planned work, say how it goes and how it went, and return the exit code."""
    from pipelines import generate as pipeline

    with Display(stderr(), manifest, url) as display:
        summary = pipeline.run(manifest, settings, url, engine, display.update, work)
    conclude(summary, url)
    code = verdict(summary, allow_failures)
    if json:
        put_json(run=url, exit_code=int(code), **asdict(summary))
    else:
        put(url)
    return code


def verdict(summary: Any, allow_failures: bool) -> Exit:
    """The exit code of a finished, stopped or interrupted run."""
    if summary.interrupted:
        return Exit.INTERRUPTED
    if summary.stopped:
        return Exit.GUARD
    return Exit.FAILED_SAMPLES if summary.failed and not allow_failures else Exit.OK


def banner(plan: Any, manifest: str, url: str, pair: str) -> None:
    """What is about to happen, in at most eight lines of talk."""
    before = f", {plan.failed_before} failed before" if plan.failed_before else ""
    say(
        f"manifest   {manifest}: {count(plan.rows, 'row')}, {count(plan.references, 'reference')}"
        + (f" ({plan.motions_cached} already inverted)" if plan.motions_cached else ""),
        f"work left  {plan.todo} of {plan.rows} ({plan.done} done{before})",
        f"pair       {pair}",
        f"out        {url}",
    )
    if plan.bad:
        say(f"bad rows   {len(plan.bad)}; the first: {plan.bad[0].reason}")
    say("resume     the same command again")


def conclude(summary: Any, url: str) -> None:
    """How a run ended and what to do next, in a few lines of talk."""
    done = summary.committed + summary.already_done
    say(outcome(done, summary.failed, summary.already_done, summary.total, summary.seconds))
    if summary.stopped:
        say(f"stopped early: {summary.stopped}")
    if summary.sheet:
        say(f"look at    {summary.sheet}")
    if summary.failed:
        say(f"failures   motionecho batch failures {url}")
    if summary.interrupted:
        say("interrupted: what is finished is kept; the same command again continues")
