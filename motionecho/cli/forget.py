"""`motionecho forget`: a reference clip and all that came of it, out of a run."""

from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.options import JsonOption, RunArgument
from motionecho.cli.printing import count, put, put_json, say, size, table
from motionecho.cli.status import open_run
from motionecho.errors import UserError
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.runs.forget import Traced
    from motionecho.runs.store import RunStore


def forget(
    run: RunArgument,
    reference: Annotated[
        str,
        typer.Argument(
            parser=Place,
            metavar="REFERENCE",
            help="Path or URL of a clip, or its sha256.",
            show_default=False,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Remove it, rather than list it.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove a reference and all that came of it from RUN, and let it in no more.

    Records, videos, motions, previews, figures, attempts, rows of tables. Refused while a driver is at work.
    A removal that was killed is finished by the same command.
    """
    from motionecho.runs import forget as library
    from motionecho.runs.cleanup import sweeping

    store = open_run(run)
    places = [place for place in (_scores(store), store) if place]
    removed, left, problem = 0, list[str](), None
    with ExitStack() as held:  # what is removed is what was traced while nobody else was at work
        leases = [held.enter_context(sweeping(place)) for place in places] if yes else []
        traced = _trace(places, library.names_of(reference))
        names = {name for each in traced for name in each.names}
        before, found = traced[-1].before, any(each.found for each in traced)
        if not found and not before:
            raise UserError(
                f'nothing in "{store.url}" came of "{reference}": name it as its rows do, or by its sha256 '
                "(result_reference_sha256)"
            )
        for place, lease, each in zip(places, leases, traced, strict=False):
            if each.found or (found and place is store):
                removed += library.forget(place, lease, each)
    if yes and found:
        left = [place.absolute(uri) for place in places for uri in library.still_named(place, names)]
        problem = _report_again(store, traced[-1])
    files = {place.absolute(uri): n for place, each in zip(places, traced, strict=True)
             for uri, n in each.files.items()}  # fmt: skip
    beyond = [*_out_of_reach(names, traced), *(f"{uri} names it still" for uri in left)]
    if json:
        put_json(
            run=store.url, reference=reference, removed=removed, samples=traced[-1].samples,
            files=sorted(files), bytes=sum(files.values()), out_of_reach=beyond, problem=problem,
        )  # fmt: skip
    else:
        put(table(_by_folder(places, traced)))
    say(*(f"not reached  {sentence}" for sentence in beyond), *([problem] if problem else []))
    what = f"{count(len(files), 'file')}, {size(sum(files.values()))}, of "
    what += count(len(traced[-1].keys), "sample")
    if before and not found:
        say(f"it was forgotten on {before['at'][:10]}: nothing of it is left in {store.url}")
    elif yes:
        say(f"{what} removed; rows of it are left out from now on")
    else:
        say(f"{what}; --yes removes them")


def _trace(places: "list[RunStore]", asked: set[str]) -> "list[Traced]":
    """Trace a reference in all places, once more where one of them knows a digest that was not asked for."""
    from motionecho.runs.forget import is_sha256, trace

    while True:
        traced = [trace(place, asked) for place in places]
        more = {name for each in traced for name in each.names if is_sha256(name)} - asked
        if not more:
            return traced
        asked = asked | more


def _scores(store: "RunStore") -> "RunStore | None":
    """Open the place of later figures beside a run, where there is one."""
    from motionecho.runs.store import RunStore

    beside = RunStore(store.scores_url)
    return beside if beside.run() else None


def _report_again(store: "RunStore", traced: "Traced") -> str | None:
    """Write the report anew that went with its pages of the samples; say why not where that fails."""
    if not any(uri.startswith("report/") for uri in traced.files):
        return None
    from pipelines.reporting.write import write_report

    try:
        write_report([store])
    except Exception as problem:  # it is made of what is there, at any time
        return f"the report was removed and not written again: {problem}; motionecho batch report {store.url}"
    return None


def _by_folder(places: "list[RunStore]", traced: "list[Traced]") -> list[dict[str, Any]]:
    sizes: dict[str, list[int]] = defaultdict(list)
    for place, each in zip(places, traced, strict=True):
        for uri, n in each.files.items():
            sizes[place.absolute(uri.split("/")[0])].append(n)
    return [{"place": name, "files": len(found), "bytes": sum(found)} for name, found in sizes.items()]


def _out_of_reach(names: set[str], traced: "list[Traced]") -> list[str]:
    clips = sorted(name for name in names if "/" in name)
    shared = sorted({uri for each in traced for uri in each.shared})
    return [
        *(f"the clip itself: {clip}" for clip in clips),
        *(f"a motion that other runs may use: {uri}" for uri in shared),
        "what was taken elsewhere: collections, exports, reports with --out, other runs, scores, manifests",
    ]
