"""Reads YAML text into nodes, without building any object that a text names.

ruamel.yaml splits the text into events; the nodes are put together here, so that depth, size,
aliases, tags and keys are checked while they come in, before any of them can cost time or memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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

from bilin.orchestrator.grid.yaml.events import UnreadableError, events
from bilin.orchestrator.grid.yaml.nodes import ListNode, MappingNode, Node, ScalarNode, describe
from bilin.orchestrator.grid.yaml.scalars import resolve

MAX_DEPTH = 20
MAX_VALUES = 50_000
"""Greatest number of values in a text, those behind aliases counted wherever they are used."""

Report = Callable[[int | None, str], None]
"""Takes a fault: its line and its message."""


def compose(text: str, report: Report, *, with_lines: bool = True) -> Node | None:
    """The text's one document, or None for an empty text.

    Args:
        text: YAML 1.2.
        report: Called for each fault after which reading goes on.
        with_lines: False leaves out the lines of the nodes.

    Raises:
        UnreadableError: A fault after which reading cannot go on.
    """
    composer = _Composer(report, with_lines)
    for event in events(text):
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
            return ScalarNode(node_line, 1, text)  # which nearly every field accepts: one fault is enough

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
