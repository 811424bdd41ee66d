"""File names out of ids: what every file system and every loader takes."""

import re
from collections import Counter
from collections.abc import Iterable

LONGEST = 200  # bytes of a name before its ending, and before what tells it from others


def readable_names(samples: Iterable[tuple[str, str]]) -> list[str]:
    """Name each sample (id, key) by its id, with a piece of its key where ids would collide.

    Without an ending, and without dots: WebDataset takes for an ending what follows the first.
    """
    pairs = [(_file_name(id), key) for id, key in samples]
    taken = Counter(name.lower() for name, _ in pairs)
    names, used = list[str](), set[str]()
    for plain, key in pairs:
        name = own = plain if taken[plain.lower()] == 1 else f"{plain}-{key[:8]}"
        number = 1
        while name.lower() in used:
            number += 1
            name = f"{own}-{number}"
        used.add(name.lower())
        names.append(name)
    return names


def _file_name(text: str) -> str:
    name = re.sub(r"[^\w=+-]+", "_", text).strip("_").encode()[:LONGEST].decode(errors="ignore")
    return name or "sample"
