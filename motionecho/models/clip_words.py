"""What CLIP's text encoders read of a prompt: so many tokens, and nothing of what comes after them."""

from functools import cache
from typing import Any

TOKENS = 75  # of a prompt; two more of the 77 that the encoders were trained with mark its ends


def lost(prompt: str, spec: object = None) -> str:
    """Return the end of a prompt that is not read; "" where all of it is. Needs open_clip, and no weights."""
    if len(prompt.encode(errors="replace")) <= TOKENS:  # no token is shorter than a byte
        return ""
    tokenizer = _tokenizer()
    tokens = tokenizer.encode(prompt)
    return str(tokenizer.decode(tokens[TOKENS:])).strip() if len(tokens) > TOKENS else ""


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
