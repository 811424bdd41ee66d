"""The vocabulary of the embedded pair: its looks, its words, and prompts as word ids. Needs no torch."""

from motionecho.errors import BadSample, nearest

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")
COLORS = {
    "red": (0.90, 0.12, 0.12), "orange": (0.98, 0.55, 0.06), "yellow": (0.97, 0.92, 0.15),
    "green": (0.15, 0.76, 0.20), "cyan": (0.15, 0.86, 0.90), "blue": (0.15, 0.28, 0.94),
    "purple": (0.62, 0.18, 0.84), "white": (0.97, 0.97, 0.97),
}  # fmt: skip
BACKGROUNDS = {
    "red": (0.50, 0.09, 0.10), "orange": (0.55, 0.32, 0.08), "yellow": (0.58, 0.54, 0.14),
    "green": (0.09, 0.38, 0.14), "cyan": (0.09, 0.45, 0.49), "blue": (0.10, 0.15, 0.50),
    "purple": (0.33, 0.12, 0.45), "gray": (0.45, 0.45, 0.45), "black": (0.06, 0.06, 0.06),
}  # fmt: skip
TEXTURES = ("plain", "gradient", "striped", "checkered", "dotted", "cloudy")

MAX_WORDS = 16
MOTION_WORDS = (
    "moving", "left", "right", "up", "down", "circling", "bouncing", "zigzagging", "waving", "growing",
    "shrinking", "spinning", "camera", "panning", "zooming", "in", "out", "rotating",
)  # fmt: skip
LOOK_WORDS = tuple(dict.fromkeys((*SHAPES, *COLORS, *BACKGROUNDS, *TEXTURES)))
WORDS = ("<pad>", "<start>", "<end>", "a", "on", "background", *LOOK_WORDS, *MOTION_WORDS)


def tokenize(prompt: str) -> list[int]:
    """Turn a prompt into word ids padded to MAX_WORDS; raises BadSample on a word never taught."""
    plain = prompt.lower().replace(",", " ").replace(".", " ")
    words = ["a" if word in ("an", "the") else word for word in plain.split()]
    for word in words:
        if word not in WORDS[3:]:
            raise BadSample(
                f'the embedded pair does not know the word "{word}" of prompt "{prompt}"'
                f"{nearest(word, WORDS[3:])}; it draws {', '.join(SHAPES)} in {', '.join(COLORS)}, "
                'as in "a red star on a striped blue background"'
            )
    if len(words) > MAX_WORDS - 2:
        raise BadSample(
            f'the prompt "{prompt}" has {len(words)} words; the embedded pair reads {MAX_WORDS - 2}'
        )
    ids = [1, *(WORDS.index(word) for word in words), 2]
    return ids + [0] * (MAX_WORDS - len(ids))


def check_prompt(prompt: str) -> None:
    """Raise BadSample where the pair cannot read the prompt."""
    tokenize(prompt)
