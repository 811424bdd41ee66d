"""`motionecho inspect`: what a video says of itself, and what a record says of a video."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.headline import labelled
from motionecho.cli.options import JsonOption
from motionecho.cli.printing import put, put_json, table
from motionecho.errors import UserError
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.runs.inspected import Looked
    from motionecho.runs.records import Record
    from motionecho.video.claims import Claims


def inspect(
    what: Annotated[
        str,
        typer.Argument(parser=Place, metavar="VIDEO|RECORD|RUN", help="Path or URL.", show_default=False),
    ],
    sample: Annotated[
        str | None, typer.Argument(metavar="SAMPLE", help="Of a run: its id or key.", show_default=False)
    ] = None,
    trust: Annotated[
        str | None, typer.Option("--trust", metavar="ROOTS.pem", help="Certificates that one trusts to sign.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what made a video: by the video itself, by a record, or by a sample's record in a run.

    Exit code 3 where a video says nothing of it, a signature does not hold, or files are not as recorded.
    """
    if sample is not None or what.endswith(".json"):
        from motionecho.runs.inspected import look, record_at, record_of

        looked = look(*(record_of(what, sample) if sample is not None else record_at(what)))
        _put_looked(looked, json)
        raise typer.Exit(Exit.OK if looked.whole else Exit.FAILED_SAMPLES)
    claims = _claims_of(what, trust)
    if json:
        put_json(
            video=what, generated=claims.generated, note=claims.note, source=claims.source,
            signature=asdict(claims.signature),
        )  # fmt: skip
    elif claims.silent:
        put(f"{what} says nothing of what made it: no note of motionecho, no source type, no C2PA signature")
    else:
        put(*_lines_of(claims))
    doubtful = claims.silent or claims.signature.state == "broken"
    raise typer.Exit(Exit.FAILED_SAMPLES if doubtful else Exit.OK)


def _claims_of(video: str, trust: str | None) -> "Claims":
    from motionecho.errors import BadSample, Unreachable
    from motionecho.runs.files import HURRIED_S, fetch
    from motionecho.video.claims import read_claims

    roots = None
    if trust:
        try:
            with open(trust, encoding="utf-8") as stream:
                roots = stream.read()
        except (OSError, UnicodeDecodeError) as problem:
            raise UserError(f'cannot read --trust "{trust}": {problem}') from problem
    try:
        with fetch(video, HURRIED_S) as path:
            return read_claims(path, roots)
    except (BadSample, Unreachable) as problem:
        more = "; of a run name a SAMPLE as well" if "is a folder" in str(problem) else ""
        raise UserError(f"{problem}{more}") from problem


def _lines_of(claims: "Claims") -> list[str]:
    note, signature = claims.note, claims.signature
    by = f"motionecho {note['motionecho']}" if claims.ours else "not said"
    how = "AI-generated" if claims.generated else "not said to be AI-generated"
    kind = f" ({claims.source.rsplit('/', 1)[-1]})" if claims.source else ""
    facts = {
        "made by": f"{by}; {how}{kind}",
        "sample": " ".join(filter(None, (str(note.get("sample") or ""), _in_brackets(note.get("key"))))),
        "prompt": note.get("prompt"),
        "seed": note.get("seed"),
        "pair": _pair(note),
        "settings": note.get("settings"),
        "encoding": _encoding(note.get("encoding")),
        "signature": _signed(claims),
    }
    lines = [
        line for name, fact in facts.items() if fact not in (None, "") for line in labelled(name, str(fact))
    ]
    if signature.state == "none":
        lines += labelled("note", "unsigned: anybody can write these words into a file")
    return lines


def _pair(note: dict[str, Any]) -> str | None:
    pair = note.get("pair")
    return f"{pair}, RANDOM WEIGHTS" if pair and note.get("weights") == "random" else pair


def _encoding(encoding: Any) -> str | None:
    return encoding.get("codec") if isinstance(encoding, dict) else None


def _in_brackets(text: Any) -> str:
    return f"({text})" if text else ""


def _signed(claims: "Claims") -> str:
    signature = claims.signature
    trusted = {None: "", True: ", by a root that you trust", False: ", by no root that you trust"}
    words = {
        "none": "none",
        "unread": f"there is one that was not looked at: {signature.problem}",
        "holds": f"holds, by {signature.by}{trusted[signature.trusted]}",
        "broken": f"DOES NOT HOLD: {signature.problem}",
    }
    at = f", at {signature.at}" if signature.at and signature.state == "holds" else ""
    return words[signature.state] + at


def _put_looked(looked: "Looked", json: bool) -> None:
    files = [asdict(file) for file in looked.files]
    if json:
        put_json(run=looked.root, record=looked.record.to_dict(), files=files, as_recorded=looked.whole)
        return
    for name, fact in _facts_of(looked.record).items():
        if fact:
            put(*labelled(name, str(fact)))
    if looked.root is None:
        put(*labelled("files", "not looked at: the record is not in its run"))
    elif files:
        put(table([file | {"sha256": str(file["sha256"] or "-")[:16]} for file in files]))


def _facts_of(record: "Record") -> dict[str, Any]:
    """Tell a record in words, by label."""
    from motionecho.config import EchoConfig
    from motionecho.metrics import headlines

    usual, inputs, trace = EchoConfig().to_dict(), record.inputs, record.trace
    figures = {name: value for row in record.scores.values() for name, value in row.items()}
    told = [f"{n} {figures[n]:.3f}" for n in headlines() if isinstance(figures.get(n), float)]
    changed = [f"{n}={v}" for n, v in record.echo.items() if n in usual and usual[n] != v]
    versions, error = record.versions, record.error
    window = {n: inputs[n] for n in ("start", "duration", "fps") if inputs.get(n) is not None}
    weights = "RANDOM WEIGHTS" if "random" in record.weights.values() else ""
    return {
        "sample": f"{record.id} ({record.key}), {record.status}",
        "recorded": f"{record.committed_at}, generation {record.generation}, attempts: {record.attempts}",
        "reference": record.reference.get("uri") or inputs.get("reference"),
        "sha256": record.reference.get("sha256"),
        "window": ", ".join(f"{name} {value}" for name, value in window.items()),
        "prompt": inputs.get("prompt"),
        "not shown": inputs.get("negative_prompt"),
        "seed": str(inputs.get("seed", "")),
        "pair": ", ".join(filter(None, (record.facts.get("pair"), record.facts.get("dtype"), weights))),
        "settings": ", ".join(changed) or ("as by default" if record.echo else ""),
        "made on": " on ".join(filter(None, (record.made_on, record.where.name if record.where else ""))),
        "versions": ", ".join(
            f"{n} {versions[n]}" for n in ("motionecho", "torch", "python") if n in versions
        ),
        "cost": _cost(trace, record.seconds),
        "figures": ", ".join(told),
        "failed": f"{error.name} in {error.stage}: {error.message}" if error else "",
        "filters": ", ".join(
            f"{name} {value}" for name, value in (record.facts.get("filters") or {}).items()
        ),
        "warnings": "; ".join(record.warnings),
    }


def _cost(trace: dict[str, Any], seconds: dict[str, float]) -> str:
    if not trace:
        return ""
    passes = f"{trace.get('forward_equivalents')} forward equivalents"
    active = f"teacher in {trace.get('activated_steps')} of {trace.get('steps')} steps"
    return f"{passes}, {active}, {seconds.get('generate', 0.0):.1f} s"
