"""The contact sheet that moves: reference above result in step, since a motion cannot be seen in stills."""

import io
import os
from collections.abc import Sequence

from PIL import Image, ImageDraw

from motionecho.report.preview import spread
from motionecho.report.sheet import GREY, INK, PAPER, SheetRow, cell_of, fit_text, font, scaled
from motionecho.runs.local import replacing
from motionecho.runs.provenance import beside_reference, xmp

LIMIT = 10  # samples: beyond that nobody follows
COLUMNS = 5
MARGIN, GAP, GUTTER, BETWEEN = 16, 3, 70, 14
CAPTION, LABEL, LEADING, LINES = 12, 12, 4, 3
QUALITY = 80


def moving_sheet(rows: Sequence[SheetRow], path: str | os.PathLike[str], fps: float) -> None:
    """Write an animated WebP of the first rows, at `fps` frames per second; all begin and end together.

    Raises ValueError where there is no row, UserError where the folder cannot be written to; the file appears
    whole or not at all.
    """
    if not rows:
        raise ValueError("a moving picture needs at least one row")
    shown = rows[:LIMIT]
    length = max(len(row.result) for row in shown)
    page, places, cell = _page(shown)
    clips = [(spread(row.reference, length), spread(row.result, length)) for row in shown]
    frames = []
    for number in range(length):
        frame = page.copy()
        for (x, y), pair in zip(places, clips, strict=True):
            for part, clip in enumerate(pair):
                image = scaled(clip[number], cell)
                left, top = (cell[0] - image.width) // 2, (cell[1] - image.height) // 2
                frame.paste(image, (x + left, y + part * (cell[1] + GAP) + top))
        frames.append(frame)
    encoded = io.BytesIO()
    duration = max(1, round(1000 / fps))
    frames[0].save(encoded, "webp", save_all=True, append_images=frames[1:], duration=duration, loop=0,
                   quality=QUALITY, method=2, xmp=xmp(beside_reference({})))  # fmt: skip
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(encoded.getvalue())


def _page(rows: Sequence[SheetRow]) -> tuple[Image.Image, list[tuple[int, int]], tuple[int, int]]:
    """Draw what does not move; return it with the places of the videos and their size, (width, height)."""
    cell = cell_of(*rows[0].reference.shape[1:3])
    columns, lines = min(COLUMNS, len(rows)), -(-len(rows) // COLUMNS)
    caption, label = font(CAPTION), font(LABEL)
    texts = [fit_text(row.caption, caption, cell[0], LINES) for row in rows]
    head = max(map(len, texts)) * (CAPTION + LEADING) + LEADING
    height = head + 2 * cell[1] + GAP
    size = (
        2 * MARGIN + GUTTER + columns * (cell[0] + BETWEEN) - BETWEEN,
        2 * MARGIN + lines * (height + BETWEEN) - BETWEEN,
    )
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    places = []
    for number, text in enumerate(texts):
        line, column = divmod(number, columns)
        x, top = MARGIN + GUTTER + column * (cell[0] + BETWEEN), MARGIN + line * (height + BETWEEN)
        y = top + head
        for at, words in enumerate(reversed(text)):
            draw.text((x, y - LEADING - (at + 1) * (CAPTION + LEADING)), words, INK, caption)
        if column == 0:
            for part, words in enumerate(("reference", "result")):
                middle = y + part * (cell[1] + GAP) + cell[1] // 2
                draw.text((MARGIN, middle), words, GREY, label, anchor="lm")
        places.append((x, y))
    return page, places, cell
