"""Sentences in the width of a terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import TextIO

_COMMAND = re.compile(r"`[^`\n]*`")
_SPACE = "\N{NO-BREAK SPACE}"


def wrap(text: str, width: int) -> list[str]:
    """Return a text in lines, broken between words; what belongs to an indented line is indented further.

    What is in backticks, and an indented line with a command of bilin, stays whole.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        kept = _COMMAND.sub(lambda command: command[0].replace(" ", _SPACE), line)
        indent = line[: len(line) - len(line.lstrip())]
        further = f"{indent}  " if indent else ""
        parts = textwrap.wrap(kept, width, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)
        is_whole = not parts or (indent and "bilin " in line)
        lines += [line] if is_whole else [part.replace(_SPACE, " ") for part in parts]
    return lines


def for_terminal(text: str, stream: TextIO, *, indent: int = 0) -> str:
    """Return a text as it is written to a stream: in lines if that is a terminal, else as it is."""
    return "\n".join(wrap(text, shutil.get_terminal_size().columns - indent)) if stream.isatty() else text
