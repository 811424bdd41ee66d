"""The contact sheet, looked at by its pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from motionecho.errors import UserError
from motionecho.report.moving import moving_sheet
from motionecho.report.sheet import SheetRow, contact_sheet, fit_text


def flat(color: tuple[int, int, int], frames: int = 16, height: int = 64, width: int = 64) -> np.ndarray:
    return np.broadcast_to(np.array(color, np.uint8), (frames, height, width, 3))


def row(caption: str = "a red star", note: str = "", **size: int) -> SheetRow:
    return SheetRow(flat((200, 0, 0), **size), flat((0, 0, 200), **size), caption, note)


def drawn(path: Path, rows: list[SheetRow], **how: int) -> np.ndarray:
    contact_sheet(rows, path, **how)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image).astype(int)


def area(sheet: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns [n, 2] where the sheet has exactly this colour."""
    return np.argwhere((sheet == color).all(-1))


def test_reference_stands_above_result_and_small_frames_are_enlarged(tmp_path: Path) -> None:
    sheet = drawn(tmp_path / "sheet.png", [row()])
    reference, result = area(sheet, (200, 0, 0)), area(sheet, (0, 0, 200))
    assert len(reference) == len(result) == 6 * 128 * 128
    assert reference[:, 0].max() < result[:, 0].min()
    assert reference[:, 1].min() == result[:, 1].min()


def test_enlarged_pixels_stay_hard(tmp_path: Path) -> None:
    board = np.zeros((6, 64, 64, 3), np.uint8)
    board[:, ::2, ::2] = (255, 0, 255)
    sheet = drawn(tmp_path / "sheet.png", [SheetRow(board, board, "")])
    assert len(area(sheet, (255, 0, 255))) == 2 * 6 * 64 * 64 // 4 * 4


def test_frames_are_spread_from_first_to_last(tmp_path: Path) -> None:
    levels = np.empty((16, 64, 64, 3), np.uint8)
    levels[:] = (100 + np.arange(16, dtype=np.uint8))[:, None, None, None] * np.array([1, 0, 1], np.uint8)
    sheet = drawn(tmp_path / "sheet.png", [SheetRow(levels, levels, "")])
    seen = sorted({int(value) - 100 for value in sheet[(sheet[..., 1] == 0) & (sheet[..., 0] >= 100)][:, 0]})
    assert seen == [0, 3, 6, 9, 12, 15]


def test_large_frames_shrink_with_their_shape(tmp_path: Path) -> None:
    reference = area(drawn(tmp_path / "sheet.png", [row(height=320, width=512)]), (200, 0, 0))
    assert reference[:, 0].max() - reference[:, 0].min() + 1 == 80
    assert len(reference) == 6 * 80 * 128


def test_two_samples_a_line_and_no_more_than_the_limit(tmp_path: Path) -> None:
    one, two, three = (drawn(tmp_path / "s.png", [row()] * count).shape for count in (1, 2, 3))
    assert two[0] == one[0]
    assert two[1] > 1.9 * one[1]
    assert three[1] == two[1]
    assert three[0] > 1.8 * one[0]
    capped = drawn(tmp_path / "s.png", [row()] * 9, limit=2)
    assert len(area(capped, (200, 0, 0))) == 2 * 6 * 128 * 128
    assert capped.shape[0] > two[0]  # a footer says that there are more
    assert drawn(tmp_path / "s.png", [row()] * 2, total=500).shape == capped.shape


@pytest.mark.parametrize("caption", ["word " * 4000, "x" * 50_000, "", "line\nbreak\ttab", "海辺を走る馬",
                                     "\x1b]0;x\x07\u202e\ud83d\x00\u2028\ufeff 👩\u200d🚀"])  # fmt: skip
def test_captions_never_leave_the_page(tmp_path: Path, caption: str) -> None:
    sheet = drawn(tmp_path / "sheet.png", [row(caption, note=caption)] * 3)
    margin = 20
    for edge in (sheet[:margin], sheet[-margin:], sheet[:, :margin], sheet[:, -margin:]):
        assert edge.min() == 255
    middle = sheet.shape[1] // 2  # the aisle between the two columns; thin rules may cross it
    assert sheet[:, middle - 10 : middle + 10].min() > 200


def test_text_is_broken_at_blanks_and_shortened() -> None:
    font = ImageFont.load_default(17)
    assert fit_text("a red star", font, 400, 2) == ["a red star"]
    lines = fit_text("one two three four five six seven eight nine ten " * 4, font, 200, 2)
    assert len(lines) == 2
    assert lines[1].endswith("...")
    assert all(font.getlength(line) <= 200 for line in lines)
    assert fit_text("", font, 200, 2) == []


def test_mixed_shapes_and_lengths(tmp_path: Path) -> None:
    mixed = SheetRow(flat((200, 0, 0), 1, 100, 30), flat((0, 0, 200), 3, 700, 300), "mixed")
    sheet = drawn(tmp_path / "sheet.png", [row(), mixed])
    assert len(area(sheet, (200, 0, 0))) == 6 * 128 * 128 + 100 * 30


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], tmp_path / "s.png")
    with pytest.raises(UserError, match="no folder"):
        contact_sheet([row()], tmp_path / "no" / "s.png")
    assert list(tmp_path.iterdir()) == []


def test_pictures_say_to_other_tools_that_a_model_made_part_of_them(tmp_path: Path) -> None:
    contact_sheet([row()], tmp_path / "sheet.png")
    moving_sheet([row()], tmp_path / "moving.webp", 8)
    for name in ("sheet.png", "moving.webp"):
        with Image.open(tmp_path / name) as image:
            image.load()
            said = image.info["xmp"]
        assert b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia<" in said
