"""Manifests: a table to samples and bad rows."""

from motionecho.manifest.rows import (
    BadRow,
    Sample,
    TakenId,
    check_rows,
    notes,
    read_manifest,
    resolve_reference,
)

__all__ = ["BadRow", "Sample", "TakenId", "check_rows", "notes", "read_manifest", "resolve_reference"]
