"""A run's headline as lines: what failed and why, what the figures say, what it cost, what to do next."""

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from motionecho.cli.printing import count, width
from motionecho.cli.resume import resume_command
from motionecho.report.visible import visible

if TYPE_CHECKING:
    from motionecho.metrics.headline import Cause, GateResult, Headline, Spending
    from motionecho.metrics.stats import Estimate
    from motionecho.runs.state import State
    from motionecho.runs.store import RunStore

LABEL = 11  # columns before what a line says
CAUSES = 5  # causes of failure that are told apart


def lines(head: "Headline", url: str) -> list[str]:
    """Write a headline as labelled lines, within the width that there is."""
    found = failures(head, url)
    if head.figures:
        found += labelled("figures", *figures(head))
    elif head.done and not (head.unmeasured or head.statuses):
        found += commands("figures", [f"none: motionecho score {shlex.quote(url)} takes some"])
    for reason, metrics in by_reason(head.unmeasured).items():
        found += labelled("no figure", f"{', '.join(metrics)}: {reason}")
    if head.statuses:
        found += labelled("not ok", statuses(head.statuses))
    if head.gate:
        found += labelled("gate", gate(head.gate))
    return found + (labelled("cost", cost(head.cost)) if head.cost else [])


def labelled(label: str, *paragraphs: str) -> list[str]:
    """Lay paragraphs out beside a label, broken at blanks alone: a path or an address stays whole."""
    wrapper = textwrap.TextWrapper(width() - LABEL, break_long_words=False, break_on_hyphens=False)
    broken = [line for text in paragraphs for line in wrapper.wrap(visible(text))]
    return [f"{'' if n else label:{LABEL}}{line}" for n, line in enumerate(broken)]


def commands(label: str, steps: Sequence[str]) -> list[str]:
    """Lay commands out beside a label, each on one line however long it is, so that it may be pasted."""
    return [f"{'' if n else label:{LABEL}}{step}" for n, step in enumerate(steps)]


def failures(head: "Headline", url: str) -> list[str]:
    """Say of what samples failed, the most frequent cause first, each with all that the first one said."""
    found = labelled("failed", *map(cause, head.causes[:CAUSES]))
    rest = head.causes[CAUSES:]
    if rest:
        more = f"{sum(each.count for each in rest)} of {count(len(rest), 'other cause')}"
        found += labelled("", f"{more}: {command('failures', url)}")
    return found


def cause(cause: "Cause") -> str:
    """Write how many failed alike: class, stage, and what the first one said."""
    stage = f" in {cause.stage}" if cause.stage else ""
    return f"{cause.count} {cause.error or 'unknown'}{stage}: {cause.message or 'no message'}"


def put_off(causes: Mapping[str, int]) -> str:
    """Say what of their surroundings failed samples that stay to be done."""
    named = ", ".join(f"{number} {name}" for name, number in causes.items())
    return f"{count(sum(causes.values()), 'sample')} that could not be made and stay to be done: {named}"


def figures(head: "Headline") -> list[str]:
    """Write figures beneath each other, each beside its floor, and last what they are means of."""
    longest = max(map(len, head.figures))
    ranges = {name: interval(found) for name, found in head.figures.items()}
    widest = max(map(len, ranges.values()))
    found = []
    for name, estimate in head.figures.items():
        over = f"  floor {head.floors[name]:.3f}" if name in head.floors else ""
        short = f"  of {estimate.n} videos alone" if estimate.n < head.done else ""
        found.append(f"{name:{longest}}  {ranges[name]:{widest}}{over}{short}".rstrip())
    of = f"means over {count(head.done, 'video')} of {count(head.references, 'reference')}"
    spread = any(each.low is not None for each in head.figures.values())
    return [*found, f"{of}; in brackets 95 % intervals" if spread else of]


def interval(estimate: "Estimate", digits: int = 3, unit: str = "") -> str:
    """Write a mean with its interval, where there is one."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}{unit}"
    return f"{estimate.mean:.{digits}f}{unit} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def by_reason(metrics: Mapping[str, str]) -> dict[str, list[str]]:
    """Gather metrics by the reason why they cannot run, so that each reason is given once."""
    found: dict[str, list[str]] = {}
    for name, reason in metrics.items():
        found.setdefault(reason, []).append(name)
    return found


def statuses(found: Mapping[str, Mapping[str, int]]) -> str:
    """Say of how many videos metrics had something else to say than a figure that is fine."""
    return "; ".join(
        f"{name}: {', '.join(f'{number} {status}' for status, number in counts.items())}"
        for name, counts in found.items()
    )


def gate(result: "GateResult") -> str:
    """Say how many videos missed a gate after their last try."""
    of = f"{count(result.videos, 'video')}"
    if not result.missed:
        return f"{result.gate}: none of {of} missed it, in {result.tries} tries"
    missed = f"{result.missed} of {of} missed it after their last try"
    return f"{result.gate}: {missed}; the best was kept ({result.tries} tries in all)"


def cost(cost: "Spending") -> str:
    """Say what the videos cost altogether, and what one costs."""
    hours = f"{cost.hours:.3g} {cost.unit} hours" if cost.hours is not None else ""
    passes = f"{cost.forward_equivalents.mean:.3g} forward equivalents" if cost.forward_equivalents else ""
    seconds = interval(cost.seconds, 1, " s") if cost.seconds else ""
    a_video = ", ".join(filter(None, (seconds, passes)))
    return "; ".join(filter(None, (hours, a_video and f"a video {a_video}")))


def next_steps(store: "RunStore", state: "State", head: "Headline") -> list[str]:
    """Name the commands that come next, by what a run's place says."""
    if state.drivers and not (state.finished or state.ended):
        return [f"{command('status', state.run)} --watch"]
    if head.left:
        return [resume_command(store, state.manifests) or "the command that began it, once more"]
    if head.failed:
        return [command("failures", state.run), command("retry", state.run)]
    return [export_command(state.run)] if head.done else []


def export_command(url: str) -> str:
    """Write the command that hands a run's videos on."""
    return f"motionecho export {shlex.quote(url)} --out videos/"


def command(word: str, url: str) -> str:
    """Write a command about a run as it may be pasted."""
    return f"motionecho batch {word} {shlex.quote(url)}"
