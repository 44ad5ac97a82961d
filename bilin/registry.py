"""Names to where their settings live: what can be swept, without importing any of it.

A registry is one literal dict in a room's ``__init__``; a name there is the name in grid.yaml, in the
results, and of the file. Standard library only.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any


@functools.cache
def load(place: str) -> Any:
    """The object at a place such as ``bilin.models.bilinear.full:Full``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
