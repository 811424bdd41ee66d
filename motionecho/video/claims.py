"""What a video says of itself: our note, what other tools read, and what is signed in it."""

import re
from dataclasses import dataclass, field
from typing import Any

from motionecho.runs.provenance import is_generated
from motionecho.video.boxes import XMP, read_box
from motionecho.video.credentials import Signature, read_signature
from motionecho.video.write import read_provenance

SOURCE_TYPE = re.compile(r'DigitalSourceType(?:="|>|\s+rdf:resource=")([^<"]+)')


@dataclass(frozen=True)
class Claims:
    """The words of a video on itself. Anybody can write `note` and `source`; `signature` is what proves them.

    source: IPTC's digital source type, as an XMP packet or the signed action has it.
    """

    note: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    signature: Signature = field(default_factory=lambda: Signature("none"))

    @property
    def ours(self) -> bool:
        """Tell whether it says that motionecho made it."""
        return "motionecho" in self.note

    @property
    def generated(self) -> bool:
        """Tell whether it says that a model made it, or a part of it; older notes of ours say so by being."""
        return self.ours or is_generated(self.note) or "AlgorithmicMedia" in (self.source or "")

    @property
    def silent(self) -> bool:
        """Tell whether it says nothing of what made it."""
        return not (self.ours or self.source or self.signature.state != "none")


def read_claims(path: str, roots: str | None = None) -> Claims:
    """Read what a local video says of itself; `roots` are certificates in PEM that one trusts.

    Raises BadSample where it is not a readable video.
    """
    note = read_provenance(path)
    packet = (read_box(path, XMP) or b"").decode(errors="replace")
    named, signature = SOURCE_TYPE.search(packet), read_signature(path, roots)
    return Claims(note, named[1].strip() if named else signature.source, signature)
