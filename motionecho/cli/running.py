"""The parts shared by commands that carry out a run: banner, display, verdict, last words."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from motionecho.cli.exits import Exit
from motionecho.cli.headline import command, commands, export_command, lines
from motionecho.cli.options import ClusterOptions, GuardOptions
from motionecho.cli.printing import count, put, put_json, say, stderr
from motionecho.cli.progress import Display, result_of

if TYPE_CHECKING:
    from motionecho.config import RunSettings
    from motionecho.metrics.headline import Headline
    from pipelines.execution import Execution, Summary
    from pipelines.plan import Plan, Work

USUAL = GuardOptions()


def read_cluster(cluster: ClusterOptions, guards: GuardOptions = USUAL, **more: Any) -> "Execution":
    """Make an Execution of the options, the engine file that they name, and `more` of its fields."""
    from pipelines.execution import Execution
    from pipelines.machines.resources import read_execution

    pools = read_execution(cluster.engine) if cluster.engine else {}
    return Execution(
        **pools,
        address=cluster.address,
        workers=cluster.workers,
        motions=cluster.motions,
        deadline_s=guards.deadline,
        max_failure_rate=guards.max_failure_rate,
        canary=guards.canary,
        **more,
    )


def execute(
    work: "Work",
    manifest: str,
    settings: "RunSettings",
    url: str,
    execution: "Execution",
    allow_failures: bool,
    json: bool,
) -> Exit:
    """Carry out planned work, say how it goes and how it went, and return the exit code."""
    from pipelines import generate as pipeline

    with Display(stderr(), manifest, url) as display:
        summary = pipeline.run(manifest, settings, url, execution, display.update, work)
    head = read_headline(url)
    conclude(summary, url, head)
    say(*commands("next", steps(summary, url)))
    code = verdict(summary, allow_failures)
    if json:
        facts = asdict(head) if head else None
        put_json(run=url, exit_code=int(code), **asdict(summary), headline=facts)
    else:
        put(url)
    return code


def verdict(summary: "Summary", allow_failures: bool) -> Exit:
    """Return the exit code of a finished, stopped or interrupted run."""
    if summary.interrupted:
        return Exit.INTERRUPTED
    if summary.stopped:
        return Exit.GUARD
    short = summary.failed or summary.unread or summary.put_off
    return Exit.FAILED_SAMPLES if short and not allow_failures else Exit.OK


def banner(plan: "Plan", manifest: str, url: str, pair: str) -> None:
    """Say what is about to happen, in at most eight lines."""
    before = f", {plan.failed_before} failed before" if plan.failed_before else ""
    texts = plan.texts - plan.texts_cached
    say(
        f"manifest   {manifest}: {count(plan.rows, 'row')}, {count(plan.references, 'reference')}"
        + (f" ({plan.motions_cached} already inverted)" if plan.motions_cached else ""),
        f"work left  {plan.todo} of {plan.rows} ({plan.done} done{before})",
        f"pair       {pair}" + (f"; stage text encodes {count(texts, 'text')} before" if texts else ""),
        f"out        {url}",
    )
    if plan.bad:
        say(f"bad rows   {len(plan.bad)}; the first: {plan.bad[0].reason}")
    if plan.unread:
        say(f"not read   {len(plan.unread)}; the first: {plan.unread[0].reason}")
    say(*(f"note       {note}" for note in plan.notes), "resume     the same command again")


def read_headline(url: str, later: str | None = None) -> "Headline | None":
    """Sum up what a run's place holds; None, and a word, where it cannot be read: no fault of its."""
    from motionecho.metrics.headline import headline_of
    from motionecho.runs.store import RunStore

    try:
        store = RunStore(url)
        return headline_of(store, RunStore(later) if later else None)[1] if store.run() else None
    except Exception as problem:
        say(f"what the run has come to cannot be read: {problem}")
        return None


def steps(summary: "Summary", url: str) -> list[str]:
    """Name the commands that come next."""
    if summary.left:
        return [
            f"the same command again, for the {summary.left} that {'is' if summary.left == 1 else 'are'} left"
        ]
    if summary.failed:
        return [command("failures", url), command("retry", url)]
    return [export_command(url)]


def conclude(summary: "Summary", url: str, head: "Headline | None") -> None:
    """Say how a run ended and what it has come to."""
    done = summary.committed + summary.already_done
    say(result_of(done, summary.failed, summary.already_done, summary.total, summary.seconds))
    if summary.stopped:
        say(f"stopped early: {summary.stopped}")
    say(*(lines(head, url) if head else []))
    if summary.sheet:
        say(f"look at    {summary.sheet}")
    if summary.report:
        say(f"report     {summary.report}")
    if summary.warned:
        say(f"warned     {count(summary.warned, 'sample')}; the first: {summary.warned_of}")
    if summary.unread:
        rows = count(summary.unread, "row")
        say(f"not read   {rows} whose files could not be had now; the same command again tries them")
    if summary.put_off:
        samples = count(summary.put_off, "sample")
        say(f"put off    {samples} that could not be made now; the same command again tries them")
        say(f"           sample {summary.put_off_for}")
    if summary.interrupted:
        say("interrupted: what is finished is kept; the same command again continues")
