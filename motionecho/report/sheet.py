"""The contact sheet: reference above result for some samples on one PNG, the first thing to look at."""

import io
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from motionecho.report.visible import visible
from motionecho.runs.local import replacing
from motionecho.runs.provenance import beside_reference, xmp

LIMIT = 24  # samples on one sheet: beyond that nobody looks, and the image outgrows viewers
COLUMNS = 2
CELL = 112  # pixels: small frames are enlarged to about this, large ones reduced to CELL_MAX
CELL_MAX = 128
STRIP = 800  # pixels a strip of frames may be wide: six to eight cells
MARGIN, GAP, GUTTER = 28, 2, 78  # page margin, between frames, labels at the left of the strips
BETWEEN = 40  # between samples
PAPER, INK, GREY, RULE = (255, 255, 255), (28, 28, 30), (110, 110, 115), (225, 225, 228)
CAPTION_SIZE, SMALL_SIZE = 17, 14
CAPTION_LINES = 2
LONGEST = 400  # characters measured at all
LEADING = 6

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class SheetRow:
    """A sample: reference and result frames uint8 [f, h, w, 3] RGB, its prompt, a short remark (scores)."""

    reference: np.ndarray
    result: np.ndarray
    caption: str
    note: str = ""


@dataclass(frozen=True)
class _Layout:
    """The sizes in pixels as (width, height), equal for all samples of a sheet; `frames` a strip has."""

    cell: tuple[int, int]
    frames: int
    block: tuple[int, int]  # one sample: caption, note, both strips


def contact_sheet(
    rows: Sequence[SheetRow], path: str | os.PathLike[str], *, limit: int = LIMIT, total: int | None = None
) -> None:
    """Write a PNG with the first `limit` rows, two a line; a footer tells how many of `total` they are.

    Every strip holds six to eight frames spread evenly over its video. Raises ValueError where there is no
    row, UserError where the folder cannot be written to; the file appears whole or not at all.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    shown, count = rows[:limit], len(rows) if total is None else total
    layout = _layout(shown)
    columns, lines = min(COLUMNS, len(shown)), -(-len(shown) // COLUMNS)
    width = 2 * MARGIN + columns * layout.block[0] + (columns - 1) * BETWEEN
    height = 2 * MARGIN + lines * layout.block[1] + (lines - 1) * BETWEEN
    partial = count > len(shown)
    sheet = Image.new("RGB", (width, height + (SMALL_SIZE + MARGIN) * partial), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(shown):
        line, column = divmod(number, COLUMNS)
        x, y = MARGIN + column * (layout.block[0] + BETWEEN), MARGIN + line * (layout.block[1] + BETWEEN)
        if line and column == 0:
            draw.line((MARGIN, y - BETWEEN // 2, width - MARGIN, y - BETWEEN // 2), fill=RULE)
        _sample(sheet, draw, row, layout, x, y)
    if partial:
        draw.text((MARGIN, height), f"{len(shown)} of {count} samples", INK, font(SMALL_SIZE))
    encoded = io.BytesIO()
    said = PngInfo()
    said.add_itxt("XML:com.adobe.xmp", xmp(beside_reference({})).decode())
    sheet.save(encoded, "png", optimize=True, pnginfo=said)
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(encoded.getvalue())


def fit_text(text: str, font: Font, width: int, lines: int) -> list[str]:
    """Break `text` at blanks into at most `lines` lines of `width` pixels; the rest becomes three dots."""
    words, done = visible(text[:LONGEST], keep="\n\t")[:LONGEST].split(), list[str]()
    while words and len(done) < lines:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        last = len(done) == lines - 1
        line, words = " ".join(words) if last else " ".join(words[:taken]), words[taken:]
        done.append(_shorten(line, font, width))
    return done


def _shorten(line: str, font: Font, width: int) -> str:
    line = line[:LONGEST]
    if font.getlength(line) <= width:
        return line
    fitting = bisect_left(
        range(len(line)), True, key=lambda end: font.getlength(line[: end + 1] + "...") > width
    )
    return line[:fitting].rstrip() + "..."


def font(size: int) -> Font:
    """Return Pillow's own font, so that sheets are the same everywhere."""
    return ImageFont.load_default(size)


def _layout(rows: Sequence[SheetRow]) -> _Layout:
    """Lay cells out in the first reference's shape; other shapes are centred in them."""
    cell = cell_of(*rows[0].reference.shape[1:3])
    longest = max(max(len(row.reference), len(row.result)) for row in rows)
    frames = min(longest, max(6, min(8, STRIP // (cell[0] + GAP))))
    width = max(GUTTER + frames * (cell[0] + GAP) - GAP, 360)
    caption = font(CAPTION_SIZE)
    lines = max(len(fit_text(row.caption, caption, width, CAPTION_LINES)) for row in rows)
    noted = any(row.note for row in rows)
    header = lines * (CAPTION_SIZE + LEADING) + (SMALL_SIZE + LEADING) * noted + LEADING
    return _Layout(cell, frames, (width, header + 2 * cell[1] + 2 * GAP))


def cell_of(height: int, width: int) -> tuple[int, int]:
    """Return the size, (width, height), that frames are shown at."""
    longer = max(height, width)
    if longer > CELL_MAX:
        return max(1, round(width * CELL_MAX / longer)), max(1, round(height * CELL_MAX / longer))
    factor = max(1, round(CELL / longer))
    return width * factor, height * factor


def _sample(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow, layout: _Layout, x: int, y: int
) -> None:
    """Draw a block, caption at the top, strips at the bottom, so that strips of one line stand level."""
    width, height = layout.block
    caption, small = font(CAPTION_SIZE), font(SMALL_SIZE)
    at = y
    for line in fit_text(row.caption, caption, width, CAPTION_LINES):
        draw.text((x, at), line, INK, caption)
        at += CAPTION_SIZE + LEADING
    draw.text((x, at), _shorten(visible(row.note), small, width), GREY, small)
    top = y + height - 2 * layout.cell[1] - 2 * GAP
    for label, video, place in (
        ("reference", row.reference, top),
        ("result", row.result, top + layout.cell[1] + 2 * GAP),
    ):
        draw.text((x, place + layout.cell[1] // 2), label, GREY, small, anchor="lm")
        for column, frame in enumerate(_spread(video, layout.frames)):
            image = scaled(frame, layout.cell)
            left = x + GUTTER + column * (layout.cell[0] + GAP) + (layout.cell[0] - image.width) // 2
            sheet.paste(image, (left, place + (layout.cell[1] - image.height) // 2))


def _spread(video: np.ndarray, frames: int) -> list[np.ndarray]:
    count = min(frames, len(video))
    return [video[k * (len(video) - 1) // max(1, count - 1)] for k in range(count)]


def scaled(frame: np.ndarray, cell: tuple[int, int]) -> Image.Image:
    """Enlarge by a whole factor, unsmoothed so that every pixel made is seen, or reduce smoothly."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    factor = min(cell[0] // image.width, cell[1] // image.height)
    if factor >= 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail(cell, Image.Resampling.BICUBIC)
    return image
