"""Amounts as people read them. Standard library only."""

from __future__ import annotations


def plural(count: float, what: str) -> str:
    """Return a number of things, such as ``1 trial`` or ``3 trials``."""
    return f"{count if isinstance(count, int) else f'{count:g}'} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return seconds in a unit that fits, such as ``3 min`` or ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours / 24:.1f} days"
