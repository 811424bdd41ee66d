"""Boxes of an mp4 that tools put beside the video: an XMP packet, a C2PA manifest."""

import os
import struct
import uuid
from collections.abc import Iterator

XMP = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")  # by XMP Specification Part 3
C2PA = uuid.UUID("d8fec3d6-1b0e-483c-9297-5828877ec481")  # by the C2PA Specification, Appendix A
LARGEST = 1 << 20  # bytes of a packet that is read
MOST = 1000  # boxes that are looked at


def append_box(path: str, kind: uuid.UUID, body: bytes) -> None:
    """Put a box behind all others, where it moves none of them."""
    with open(path, "ab") as stream:
        stream.write(struct.pack(">I4s", 8 + 16 + len(body), b"uuid") + kind.bytes + body)


def read_box(path: str, kind: uuid.UUID) -> bytes | None:
    """Return the body of the first such box, its first MiB at most; None where there is none."""
    return next((body for found, body in _boxes(path) if found == kind), None)


def _boxes(path: str) -> Iterator[tuple[uuid.UUID, bytes]]:
    """Yield the boxes that a UUID names, of those that are not within others; nothing where it is no mp4."""
    end = os.path.getsize(path)
    with open(path, "rb") as stream:
        at = 0
        for _ in range(MOST):
            stream.seek(at)
            head = stream.read(32)
            if len(head) < 8:
                return
            size, kind = struct.unpack(">I4s", head[:8])
            start = 8
            if size == 1 and len(head) >= 16:  # a box of more than 4 GiB
                (size,), start = struct.unpack(">Q", head[8:16]), 16
            size = size or end - at  # 0: up to the end
            if size < start or at + size > end:
                return
            if kind == b"uuid" and size >= start + 16:
                stream.seek(at + start)
                yield uuid.UUID(bytes=stream.read(16)), stream.read(min(size - start - 16, LARGEST))
            at += size
