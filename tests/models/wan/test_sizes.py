"""A size in a pair's name is part of what it is; a wrong one is refused, and the nearest right ones named."""

import pytest

from motionecho.config import RunSettings
from motionecho.errors import UserError
from motionecho.models.registry import pair_spec


def test_a_name_with_a_size_is_a_spec_of_that_name_and_size() -> None:
    spec = pair_spec("wan2.1-1.3b@33x320x512", ("/somewhere",))
    assert (spec.name, spec.frames, spec.height, spec.width) == ("wan2.1-1.3b@33x320x512", 33, 320, 512)
    assert spec.weights_at == ("/somewhere",)
    plain = pair_spec("wan2.1-1.3b")
    assert (plain.name, plain.frames, plain.height, plain.width) == ("wan2.1-1.3b", 49, 480, 832)
    settings = [RunSettings(pair=each.name, echo=each.defaults) for each in (spec, plain)]
    assert settings[0].decides() != settings[1].decides()


def test_its_own_size_is_the_pair_itself_and_zeros_in_front_are_none() -> None:
    assert pair_spec("wan2.1-14b@49x480x832") == pair_spec("wan2.1-14b")
    assert pair_spec("wan2.1-14b@033x320x512").name == "wan2.1-14b@33x320x512"


@pytest.mark.parametrize(("name", "sentence"), [
    ("wan2.1-1.3b@50x480x832", r"pair wan2.1-1.3b cannot make 50 frames \(.* 4 and one more: 49 or 53\)"),
    ("wan2.1-1.3b@49x481x832", r"cannot make 481 pixels of height \(a multiple of 16: 480 or 496\)"),
    ("wan2.1-1.3b@49x480x840", r"cannot make 840 pixels of width \(a multiple of 16: 832 or 848\)"),
    ("wan2.1-1.3b@48x0x17", r"48 frames \(.*: 45 or 49\), nor 0 pixels .*: 16\), nor 17 .* 16 or 32\)"),
    ("wan2.1-1.3b@1x480x832", r"cannot make 1 frames \(a multiple of 4 and one more: 5\)"),
    ("wan2.1-1.3b@999999999x480x832", r"\(a multiple of 4 and one more: 4093\)"),
    ("wan2.2-5b@49x496x832", r"wan2.2-5b cannot make 496 pixels of height \(a multiple of 32: 480 or 512\)"),
    ("wan2.1-1.3b@480x832", r'"wan2.1-1.3b@480x832" has to end in FRAMESxHEIGHTxWIDTH, for instance'),
    ("wan2.1-1.3b@", r'"wan2.1-1.3b@" has to end in FRAMESxHEIGHTxWIDTH'),
    ("wan2.1-1.3b@-49x480x832", "has to end in FRAMESxHEIGHTxWIDTH"),
    ("toy@49x480x832", r"^pair toy makes clips of 16x64x64 alone: leave out @49x480x832$"),
    ("turbo-v2@16x320x512", r"^pair turbo-v2 makes clips of 16x320x512 alone"),
    ("wan2.1-13b@49x480x832", r'^unknown pair "wan2.1-13b" \(did you mean "wan2.1-1'),
])  # fmt: skip
def test_what_is_not_right_is_one_sentence_with_the_nearest_that_is(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        pair_spec(name)
