"""The columns of a table and their meaning: our names, those that other tools use, and misspellings."""

from collections.abc import Sequence

from motionecho.config import EchoConfig
from motionecho.errors import UserError, misspelt
from motionecho.runs.records import OUTCOME_PREFIX

REQUIRED = ("reference", "prompt")
OPTIONAL = ("id", "seed", "negative_prompt", "start", "duration", "fps", "video")
ALIASES = {
    "video_path": "reference", "video": "reference", "ref_video": "reference", "reference_video": "reference",
    "new_prompt": "prompt", "caption": "prompt", "text": "prompt", "text_prompt": "prompt",
    "random_seed": "seed", "noise_seed": "seed",
    "neg_prompt": "negative_prompt", "n_prompt": "negative_prompt",
}  # fmt: skip


def column_names(path: str, columns: Sequence[str], required: Sequence[str] = REQUIRED) -> dict[str, str]:
    """Map each column of the table at `path` to its canonical name, outcome columns left out.

    `video` is one that exists, to be scored, where that is required or another column names the reference;
    otherwise it is the reference, as for other tools.

    Raises UserError where two columns mean the same, one is misspelt, or one of `required` is missing.
    """
    known = [*REQUIRED, *OPTIONAL, *ALIASES, *EchoConfig.names()]
    names: dict[str, str] = {}
    for column in columns:
        if column.startswith(OUTCOME_PREFIX):
            continue
        close = None if column in known else misspelt(column, known)
        if close:
            raise UserError(
                f'manifest "{path}": column "{column}" is probably meant to be "{close}"; '
                "rename it, or name it less alike to have it carried through"
            )
        names[column] = ALIASES.get(column, column)
    references = [column for column, name in names.items() if name == "reference"]
    if "video" in references and ("video" in required or len(references) > 1):
        names["video"] = "video"
    for name in dict.fromkeys(names.values()):
        same = [f'"{column}"' for column in names if names[column] == name]
        if len(same) > 1:
            listed = f"{', '.join(same[:-1])} and {same[-1]}"
            raise UserError(f'manifest "{path}" has {listed}, which all mean "{name}"; keep one of them')
    missing = [name for name in required if name not in names.values()]
    if missing:
        listed = ", ".join(f'"{name}"' for name in missing)
        raise UserError(f'manifest "{path}" lacks {listed}; its columns are: {", ".join(columns)}')
    return names
