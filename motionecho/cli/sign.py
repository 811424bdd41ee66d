"""`motionecho sign`: Content Credentials for videos that leave the house."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.flatten import flattened
from motionecho.cli.options import JsonOption, SigningOptions
from motionecho.cli.printing import count, put, put_json, say
from motionecho.errors import BadSample, UserError


@flattened
def sign(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO", help="Videos, or folders of them.", show_default=False)
    ],
    signing: SigningOptions,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="A folder for signed copies.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Sign videos that motionecho made, in place or as copies: C2PA says in your name that a model made them.

    What is signed already is left as it is, or copied; a copy of what the video was before is made anew.
    Exit code 3 where one cannot be signed.
    """
    from motionecho.runs.local import replacing
    from motionecho.video.boxes import C2PA, read_box
    from motionecho.video.credentials import read_signing
    from motionecho.video.credentials import sign as sign_one

    asked = read_signing(signing.c2pa, signing.c2pa_key, signing.timestamps)
    if asked is None:
        raise UserError("name what to sign with: --c2pa CERT.pem --c2pa-key KEY.pem")
    found = _found(videos, out)
    targets = {path: os.path.join(out, name) if out else path for path, name in found.items()}
    twice = len(targets) - len(set(targets.values()))
    if twice:
        raise UserError(
            f"{count(twice, 'video')} would have the name of another in {out}: sign fewer at once"
        )
    signed, before, left_out = list[str](), 0, dict[str, str]()
    for path, target in targets.items():
        try:
            if _is_done(path, target):
                before += 1
                continue
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            if read_box(path, C2PA) is not None:
                with replacing(target) as temporary:
                    shutil.copyfile(path, temporary)
                before += 1
                continue
            sign_one(path, asked, target)
            signed.append(target)
            if not json:
                put(target)
        except (BadSample, UserError, OSError) as problem:
            left_out[path] = str(problem)
    say(f"{count(len(signed), 'video')} signed, {before} signed already")
    say(*(f"left out   {problem}" for problem in left_out.values()))
    if json:
        put_json(signed=signed, already_signed=before, left_out=left_out)
    if left_out:
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _is_done(path: str, target: str) -> bool:
    """Tell whether the target is signed; a copy whole, and of what the video notes now."""
    from motionecho.video import read_provenance
    from motionecho.video.boxes import C2PA, read_box
    from motionecho.video.credentials import read_signature

    if not os.path.exists(target):
        return False
    if os.path.samefile(path, target):
        return read_box(target, C2PA) is not None
    return read_signature(target).state == "holds" and read_provenance(target) == read_provenance(path)


def _found(names: list[str], out: str | None) -> dict[str, str]:
    """Map the files that are meant to their names below the folder that was named, in order.

    Signed copies in a folder `out` within that are not meant. Raises UserError where one is not there.
    """
    files: dict[str, str] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            copies = Path(out).resolve() if out else None
            apart = copies is None or path.resolve() not in copies.parents
            inside = sorted(
                each
                for each in path.rglob("*.mp4")
                if not each.name.startswith(".") and (apart or copies not in each.resolve().parents)
            )
            if not inside:
                raise UserError(f'there is no .mp4 in "{name}"')
            files |= {str(each): str(each.relative_to(path)) for each in inside}
        elif path.is_file():
            files[name] = path.name
        else:
            raise UserError(f'"{name}" is not there; what is elsewhere has to be copied here first')
    return files
