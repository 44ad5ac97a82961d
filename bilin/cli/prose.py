"""Texts at the width of a terminal."""

from __future__ import annotations

import re
import textwrap

_GLUE = "\0"  # stands for a space at which no line ends


def wrap(line: str, width: int, *, indent: str = "") -> list[str]:
    """Return a text of one line as several, the later ones indented. Commands in backquotes are not broken."""
    glued = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _GLUE), line)
    lines = textwrap.wrap(glued, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [text.replace(_GLUE, " ") for text in lines] or [""]
