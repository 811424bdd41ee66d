"""References that a run was told to forget, by marks that do not tell them; see `forget.py`."""

from dataclasses import dataclass
from typing import Any

from motionecho.errors import Damaged, UserError
from motionecho.runs import layout
from motionecho.runs.keys import KEY_LENGTH, digest
from motionecho.runs.places import local_path
from motionecho.runs.sealed import read_object
from motionecho.runs.store import RunStore
from motionecho.runs.urls import protocol_of

LISTS = ("marks", "keys", "files")  # of a note; files of a removal that has not ended, as marks as well


@dataclass(frozen=True)
class Forgotten:
    """What a run was told to forget: marks of references, and the keys of samples that count no more."""

    marks: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Tell whether a reference is forgotten, by its place or by the sha256 of its bytes."""
        return bool(self.marks) and mark_of(name) in self.marks


def mark_of(name: str) -> str:
    """Return the mark that stands for a place or a sha256 of a reference, and does not tell it."""
    return digest(["forgotten", named(name)])[:KEY_LENGTH]


def forgotten(store: RunStore) -> Forgotten:
    """Read what the run was told to forget."""
    found = [note for _, note in notes_of(store)]
    marks = frozenset(mark for note in found for mark in note.get("marks", ()))
    return Forgotten(marks, frozenset(key for note in found for key in note.get("keys", ())))


def notes_of(store: RunStore) -> list[tuple[str, dict[str, Any]]]:
    """Return the notes of all that was to be forgotten, by URI; UserError where one is damaged."""
    found = []
    for uri in store.folder.find(layout.FORGOTTEN):
        try:
            note = read_object(store.folder.read(uri))
            odd = [name for name in LISTS if not _are_texts(note.get(name, []))]
            if odd:
                raise Damaged(f'its "{odd[0]}" makes no sense')
            found.append((uri, note))
        except Damaged as problem:
            raise UserError(
                f"{store.absolute(uri)} is damaged, so that nothing tells which references are forgotten "
                f"({problem}): delete it, and have them forgotten again"
            ) from problem
        except FileNotFoundError:
            continue
    return found


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def named(place: str) -> str:
    """Write a place in one way: a local one as its absolute path."""
    local = protocol_of(place) == "file" and place.startswith(("/", "~", "file:"))
    return local_path(place) if local else place
