"""Build the demo: procedural reference clips, demo.parquet, and demo.csv with the same content.

    python manifests/make_demo.py [FOLDER]

The same code draws the same frames on every machine; the files' bytes may differ between releases of
the H.264 encoder and of pyarrow, so what is committed is what everyone runs.
"""

import csv
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.sprites.motions import FPS
from motionecho.sprites.render import reference_clip
from motionecho.video import write_video

# clip name -> (kind of motion, seed of the procedural scene)
CLIPS = {
    "bounce": ("bounce", 2),
    "figure_eight": ("figure_eight", 4),  # a motion that the embedded pair was never trained on
    "arc": ("arc", 0),
    "linear": ("linear", 3),
    "scale": ("scale", 1),
    "zoom": ("zoom", 0),
    "pan": ("pan", 4),
}
# id, clip, prompt, seed, what moves: the last is a free column, carried through to the results
ROWS = [
    ("bounce-star", "bounce", "a red star on a blue background", 1, "object"),
    ("bounce-star-again", "bounce", "a red star on a blue background", 2, "object"),
    ("bounce-heart", "bounce", "a white heart on a striped purple background", 1, "object"),
    ("eight-moon", "figure_eight", "a yellow moon on a blue background", 1, "object"),
    ("eight-cross", "figure_eight", "a purple cross on a cloudy gray background", 1, "object"),
    ("arc-circle", "arc", "a cyan circle on a checkered orange background", 1, "object"),
    ("linear-square", "linear", "a white square on a green background", 1, "object"),
    ("scale-heart", "scale", "a red heart on a gray background", 2, "object"),
    ("zoom-star", "zoom", "a yellow star on a checkered purple background", 1, "camera"),
    ("pan-square", "pan", "an orange square on a dotted cyan background", 1, "camera"),
]
COLUMNS = ("id", "reference", "prompt", "seed", "moves")


def table() -> list[dict[str, str | int]]:
    """Return the demo's rows as dicts; references are relative to the manifest."""
    rows = [(name, f"clips/{clip}.mp4", prompt, seed, moves) for name, clip, prompt, seed, moves in ROWS]
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def build(folder: Path) -> None:
    """Write clips/*.mp4, demo.parquet and demo.csv into `folder`."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for name, (motion, seed) in CLIPS.items():
        frames, _ = reference_clip(seed, motion)
        write_video(folder / "clips" / f"{name}.mp4", frames, FPS, None)
    pq.write_table(pa.Table.from_pylist(table()), folder / "demo.parquet")
    with (folder / "demo.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table())


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
