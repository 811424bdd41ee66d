"""`motionecho metrics`: the figures that videos can be given, and what each asks for."""

from typing import Any

import typer

from motionecho.cli.options import JsonOption
from motionecho.cli.printing import put, put_json, say, table

app = typer.Typer(help="What says how good a video is.", no_args_is_help=True)
OF_SETS = {
    "kid": "how far are all videos from all references, by Inception's features?",
    "cmmd": "the same by CLIP's features",
    "fid": "the same by Inception's, biased where videos are few",
}
FEATURES = "torch-fidelity, and its Inception file in MOTIONECHO_INCEPTION_WEIGHTS"


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the metrics for --metric, one a line: those of a video, then those of a whole set of videos."""
    from motionecho.metrics import METRICS
    from motionecho.metrics.registry import CLIP
    from motionecho.metrics.sets import SETS

    rows: list[dict[str, Any]] = [
        {"metric": spec.name, "of": "a video", "usual": spec.usual, "figures": ", ".join(spec.headlines),
         "says": spec.summary, "needs": spec.needs, "from": METRICS.giver(spec.name) or "motionecho"}
        for spec in METRICS.values()
    ]  # fmt: skip
    rows += [
        {"metric": name, "of": "a set", "usual": False, "figures": name,
         "says": OF_SETS[name], "needs": CLIP if features == "clip" else FEATURES, "from": "motionecho"}
        for name, features in SETS.items()
    ]  # fmt: skip
    broken = METRICS.broken()
    if json:
        put_json(metrics=rows, broken=broken)
        return
    told = [row | {"says": f"{row['says']} (needs {row['needs']})"} for row in rows]
    others = ["from"] if any(row["from"] != "motionecho" for row in rows) else []
    put(table(told, ["metric", "of", "usual", "figures", *others, "says"]))
    for sentence in broken.values():
        say(f"warning: {sentence}")
