"""Splits YAML text into events, and says in a user's words why that may fail."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import Event
from ruamel.yaml.reader import ReaderError

MAX_CHARACTERS = 1_000_000

_TAB = re.compile(r" *\t\s*\S")
_DIRECTIVE = re.compile(r"(?:[ \t\r]*(?:#[^\n]*)?\n)*(%)")
_ADVICE = (
    (
        r"mapping values are not allowed",
        "a second ':' on the line, or a line indented too far: check the indentation, or quote the text",
    ),
    (r"found character '\\t'", "a tab: indent with spaces"),
    (r"found character '(.)'", "a text cannot begin with this character: quote it"),
    (r"end of stream|stream end", "a quote or bracket that is opened here is never closed"),
    (r"expected ',' or '[\]}]'", "a ',' is missing, or a bracket is never closed"),
    (r"could not find expected ':'", "a key without ':', or a line indented too little"),
    (r"expected <block end>, but found '<scalar>'", "text after a closed quote or bracket, or indented too little"),
    (
        r"expected <block end>",
        "a line indented unlike its neighbours: keys of one mapping, and items of one list, begin in one column",
    ),
)


class UnreadableError(Exception):
    """The text cannot be read further; carries the line and the reason."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def events(text: str) -> Iterator[Event]:
    """The events of a text.

    Raises:
        UnreadableError: It is no YAML, or has what a grid has no use for.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(None, f"has {len(text):,} characters; a grid has at most {MAX_CHARACTERS:,}")
    _check_lines(text)
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        unclosed = "end" in str(error.problem) and "stream" in str(error.problem)
        mark = (error.context_mark if unclosed else None) or error.problem_mark
        raise UnreadableError(mark.line + 1 if mark else None, _advise(error)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"found the character U+{ord(text[error.position]):04X}"
        raise UnreadableError(line, f"{found}, which YAML does not allow") from error
    except Exception as error:  # the library lets errors of all kinds through on malformed escapes and directives
        raise UnreadableError(None, f"not YAML: {error}") from error


def _check_lines(text: str) -> None:
    if tabs := [number for number, line in enumerate(text.split("\n"), 1) if _TAB.match(line)]:
        more = f" (and {len(tabs) - 1} more lines)" if len(tabs) > 1 else ""
        raise UnreadableError(tabs[0], f"found a tab in the indentation{more}; YAML indents with spaces")
    if directive := _DIRECTIVE.match(text):
        line = text.count("\n", 0, directive.start(1)) + 1
        raise UnreadableError(line, "found a directive (a line that begins with %); a grid is YAML 1.2 without any")


def _advise(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context or "cannot be read").split())
    for pattern, advice in _ADVICE:
        if re.search(pattern, problem):
            return f"not YAML: {problem}: {advice}"
    return f"not YAML: {problem}"
