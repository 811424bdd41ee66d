"""The packages of the extra `export`, imported where they are used."""

import importlib
from typing import Any

from motionecho.errors import UserError


def needed(package: str, what: str) -> Any:
    """Import a package; UserError that says for what it is needed, where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as problem:
        raise UserError(f"{what} needs {package}: pip install 'motionecho[export]'") from problem
