"""Splits by reference: a hash of the clip's content says where it belongs, whatever else there is.

So no motion is in two splits, and a run that grows moves no reference from one to another.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from itertools import accumulate

from motionecho.errors import UserError

ALL = {"train": 1.0}  # where nobody asks for splits: what loaders call files without one


def read_shares(text: str) -> dict[str, float]:
    """Read NAME=SHARE between commas; UserError where the shares are not those of a whole."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([A-Za-z]\w*)\s*=\s*(\S+)\s*", part, re.ASCII)
        if found is None:
            raise UserError(f'--split "{text}": "{part.strip()}" is not NAME=SHARE, as in train=.9,val=.1')
        try:
            share = float(found[2])
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            raise UserError(f'--split "{text}": the share of "{found[1]}" has to be above 0, and 1 at most')
        if found[1].lower() in map(str.lower, shares):
            raise UserError(f'--split "{text}" names "{found[1]}" twice')
        shares[found[1]] = share
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f'--split "{text}": the shares are {sum(shares.values()):g} together, and not 1')
    return shares


def split_of(reference: str, shares: Mapping[str, float]) -> str:
    """Return the split of a reference, named by its content: each takes its share of all hashes."""
    place = int.from_bytes(hashlib.sha256(f"split {reference}".encode()).digest()[:6]) / 2**48
    names, ends = list(shares), list(accumulate(shares.values()))
    return next((name for name, end in zip(names, ends, strict=True) if place < end), names[-1])
