"""Names out of ids: no two alike, and files as every file system and every loader takes them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

LONGEST = 200  # bytes of a name before its ending, and before what tells it from others


def readable_names(samples: Iterable[tuple[str, str]]) -> list[str]:
    """Name each sample (id, key) by its id, as a file without an ending, and no two alike.

    Without dots: WebDataset takes for an ending what follows the first. Capitals tell no files apart.
    """
    return told_apart([(_file_name(id), key) for id, key in samples], str.lower)


def told_apart(samples: Sequence[tuple[str, str]], alike: Callable[[str], str] = str) -> list[str]:
    """Name each sample (name, key) by its name, with a piece of its key where several have it.

    `alike` gives what no two may have in common; a number is added where a piece of the key is not enough.
    """
    taken = Counter(alike(name) for name, _ in samples)
    names, used = list[str](), set[str]()
    for plain, key in samples:
        name = own = plain if taken[alike(plain)] == 1 else f"{plain}-{key[:8]}"
        number = 1
        while alike(name) in used:
            number += 1
            name = f"{own}-{number}"
        used.add(alike(name))
        names.append(name)
    return names


def _file_name(text: str) -> str:
    name = re.sub(r"[^\w=+-]+", "_", text).strip("_").encode()[:LONGEST].decode(errors="ignore")
    return name or "sample"
