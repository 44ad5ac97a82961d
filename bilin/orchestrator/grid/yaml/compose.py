"""Reads YAML text into nodes, without building any object that a text names.

ruamel.yaml splits the text into events; the nodes are put together here, so that depth, size,
aliases, tags and keys are checked while they come in, before any of them can cost time or memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from bilin.orchestrator.grid.yaml.nodes import ListNode, MappingNode, Node, ScalarNode, describe
from bilin.orchestrator.grid.yaml.scalars import resolve

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 50_000
"""Greatest number of values in a text, those behind aliases counted wherever they are used."""

_TAB = re.compile(r" *\t\s*\S")
_DIRECTIVE = re.compile(r"(?:\s*(?:#.*)?\n)*(%)")

Report = Callable[[int | None, str], None]
"""Takes a fault: its line and its message."""


class UnreadableError(Exception):
    """The text cannot be read further; carries the line and the reason."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def compose(text: str, report: Report, *, with_lines: bool = True) -> Node | None:
    """The text's one document, or None for an empty text.

    Args:
        text: YAML 1.2.
        report: Called for each fault after which reading goes on.
        with_lines: False leaves out the lines of the nodes.

    Raises:
        UnreadableError: A fault after which reading cannot go on.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(None, f"has {len(text):,} characters; a grid has at most {MAX_CHARACTERS:,}")
    _check_lines(text)
    composer = _Composer(report, with_lines)
    for event in _events(text):
        composer.take(event)
    return composer.document


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    line: int
    anchor: str | None
    is_mapping: bool
    children: list[Node] = field(default_factory=list)
    size: int = 1


class _Composer:
    def __init__(self, report: Report, with_lines: bool) -> None:
        self.document: Node | None = None
        self._report = report
        self._with_lines = with_lines
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._num_documents = 0

    def take(self, event: Event) -> None:
        line: int = event.start_mark.line + 1
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag:
            self._report(line, f"found the tag {event.tag}; a grid is plain data: write the value without it")
        match event:
            case DocumentStartEvent():
                self._num_documents += 1
                if self._num_documents > 1:
                    raise UnreadableError(line, "a second document begins here: list several grids under grids:")
            case AliasEvent():
                self._add(*self._resolve_alias(event.anchor, line))
            case ScalarEvent():
                node = self._scalar(event, line)
                self._name(event.anchor, node, 1)
                self._add(node, 1)
            case SequenceStartEvent() | MappingStartEvent():
                self._begin(event, line)
            case SequenceEndEvent() | MappingEndEvent():
                self._end()

    def _begin(self, event: CollectionStartEvent, line: int) -> None:
        if len(self._open) == MAX_DEPTH:
            raise UnreadableError(line, f"nested more than {MAX_DEPTH} levels deep; a grid needs no more than 6")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open(line, event.anchor, isinstance(event, MappingStartEvent)))

    def _end(self) -> None:
        done = self._open.pop()
        line = done.line if self._with_lines else None
        node: Node = self._mapping(done, line) if done.is_mapping else ListNode(line, tuple(done.children))
        self._name(done.anchor, node, done.size)
        self._add(node, done.size)

    def _add(self, node: Node, size: int) -> None:
        if not self._open:
            self.document = node
            return
        parent = self._open[-1]
        parent.children.append(node)
        parent.size += size
        if parent.size > MAX_VALUES:
            raise UnreadableError(parent.line, f"more than {MAX_VALUES} values, counting each use of an alias")

    def _name(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor:
            self._anchors[anchor] = (node, size)

    def _resolve_alias(self, anchor: str, line: int) -> tuple[Node, int]:
        if anchor not in self._anchors:
            raise UnreadableError(line, f"found the alias *{anchor}, but no anchor &{anchor} before it")
        named = self._anchors[anchor]
        if named is None:
            raise UnreadableError(line, f"found the alias *{anchor} inside of what it stands for")
        return named

    def _scalar(self, event: ScalarEvent, line: int) -> ScalarNode:
        text: str = event.value
        node_line = line if self._with_lines else None
        if event.style is not None:
            return ScalarNode(node_line, text, text)
        try:
            return ScalarNode(node_line, resolve(text), text)
        except ValueError as error:
            self._report(line, f"found {text[:40]}; accepted: {error}")
            return ScalarNode(node_line, 0, text)

    def _mapping(self, done: _Open, line: int | None) -> MappingNode:
        entries: dict[str, Node] = {}
        key_lines: dict[str, int | None] = {}
        for key, value in zip(done.children[::2], done.children[1::2], strict=True):
            at = key.line or done.line
            if not isinstance(key, ScalarNode) or not isinstance(key.value, str):
                self._report(at, f"found {describe(key)} as a key; accepted: a name")
            elif key.value == "<<":
                raise UnreadableError(at, "found the merge key <<, which YAML 1.2 does not have: write the keys out")
            elif key.value in entries:
                first = key_lines[key.value]
                self._report(
                    at, f"the key {describe(key)} stands here again" + (f", first on line {first}" if first else "")
                )
            else:
                entries[key.value] = value
                key_lines[key.value] = key.line
        return MappingNode(line, entries, key_lines)


def _check_lines(text: str) -> None:
    if tabs := [number for number, line in enumerate(text.split("\n"), 1) if _TAB.match(line)]:
        more = f" (and {len(tabs) - 1} more lines)" if len(tabs) > 1 else ""
        raise UnreadableError(tabs[0], f"found a tab in the indentation{more}; YAML indents with spaces")
    if directive := _DIRECTIVE.match(text):
        line = text.count("\n", 0, directive.start(1)) + 1
        raise UnreadableError(line, "found a directive (a line that begins with %); a grid is YAML 1.2 without any")


def _events(text: str) -> Iterator[Event]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableError(mark.line + 1 if mark else None, _advise(error)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(
            line, f"found a character that YAML does not allow ({_code_point(text, error)})"
        ) from error
    except Exception as error:  # the library lets errors of all kinds through on malformed escapes and directives
        raise UnreadableError(None, f"not YAML: {error}") from error


def _code_point(text: str, error: ReaderError) -> str:
    return f"U+{ord(text[error.position]):04X}"


_ADVICE = (
    (
        r"mapping values are not allowed",
        "a second ':' on the line, or a line indented too far: check the indentation, or quote the text",
    ),
    (r"found character '\\t'", "a tab: indent with spaces"),
    (r"found character '(.)'", "a text cannot begin with this character: quote it"),
    (r"unexpected end of stream", "a quote or bracket that is opened here is never closed"),
    (r"expected ',' or '[\]}]'", "a bracket that is never closed, or a missing ','"),
    (r"could not find expected ':'", "a key without ':', or a line indented too little"),
    (
        r"expected <block end>",
        "a line indented unlike its neighbours: keys of one mapping, and items of one list, begin in one column",
    ),
)


def _advise(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context or "cannot be read").split())
    for pattern, advice in _ADVICE:
        if re.search(pattern, problem):
            return f"not YAML: {problem}: {advice}"
    return f"not YAML: {problem}"
