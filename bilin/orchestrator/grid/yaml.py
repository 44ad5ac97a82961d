"""YAML text as nodes: plain values, each with its line.

ruamel.yaml splits the text into events, and the nodes are composed here. So depth, size, aliases, tags and keys are
checked as they come in, before any of them can cost time or memory, and no object that a text names is built.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.reader import ReaderError

from bilin.errors import Fault, GridError
from bilin.fields import Scalar

MAX_SIZE = 1_000_000
"""Greatest size of a file in bytes, and of a text in characters."""
MAX_DEPTH = 20
MAX_VALUES = 50_000
"""Greatest number of values in a text, with each use of an alias counted."""
LARGEST = 2**63 - 1
"""The greatest whole number that a column of the results can hold."""

_LONGEST_TEXT = 40
_MOST_DIGITS = 30
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAB = re.compile(r" *\t\s*\S")
_DIRECTIVE = re.compile(r"(?:[ \t\r]*(?:#[^\n]*)?\n)*(%)")
_ADVICE = {
    r"mapping values are not allowed": "a second ':' on the line, or a line indented too far: check the indentation, "
    "or quote the text",
    r"found character '\\t'": "a tab: indent with spaces",
    r"found character '(.)'": "a text cannot begin with this character: quote it",
    r"end of stream|stream end": "a quote or bracket that is opened here is never closed",
    r"expected ',' or '[\]}]'": "a ',' is missing, or a bracket is never closed",
    r"could not find expected ':'": "a key without ':', or a line indented too little",
    r"expected <block end>, but found '<scalar>'": "text after a closed quote or bracket, or indented too little",
    r"expected <block end>": "inconsistent indentation: the keys of one mapping, and the items of one list, must begin "
    "in one column",
}


@dataclass(frozen=True, slots=True, eq=False)
class YamlNode:
    """A value of a YAML text; as a string, the value as a message names it.

    Attributes:
        line: From 1; None for a value from the command line.
        value: A scalar in Python's types, a list as a tuple of nodes, or a mapping with text keys.
        text: A scalar as it is written, without quotes.
        key_lines: The line of each key of a mapping.
    """

    line: int | None
    value: Scalar | tuple[YamlNode, ...] | dict[str, YamlNode] | None
    text: str = ""
    key_lines: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.value, tuple)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.value, dict)

    @property
    def items(self) -> tuple[YamlNode, ...]:
        """The items of a list; none for any other value."""
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def entries(self) -> Mapping[str, YamlNode]:
        """The values of a mapping by key; none for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def with_entry(self, key: str, node: YamlNode) -> YamlNode:
        """Return a mapping with this one's entries and another."""
        return YamlNode(self.line, {**self.entries, key: node}, key_lines={**self.key_lines, key: node.line})

    def to_plain(self) -> object:
        """Return the value in Python's own lists and dicts."""
        if isinstance(self.value, tuple):
            return [item.to_plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: node.to_plain() for key, node in self.value.items()}
        return self.value

    def __str__(self) -> str:
        match self.value:
            case None:
                return "null" if self.text else "nothing"
            case tuple():
                return f"a list of {len(self.items)}" if self.items else "an empty list"
            case dict():
                return "a mapping" if self.entries else "an empty mapping"
            case str(text):
                return f'"{shorten(text, _LONGEST_TEXT)}"'
            case _:
                return shorten(self.text, _LONGEST_TEXT)


def shorten(text: str, longest: int = 60) -> str:
    """Return the text on one line, cut if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a regular file of at most `MAX_SIZE` bytes.

    Raises:
        GridError: There is no such file, or it is something else.
    """
    line = None
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            message = "is a directory; give the path of a grid.yaml"
        elif not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            message = "is not a regular file; give the path of a grid.yaml"
        elif status.st_size > MAX_SIZE:
            message = f"has {status.st_size:,} bytes; a grid has at most {MAX_SIZE:,}"
        else:
            with Path(path).open("rb") as file:
                return file.read(MAX_SIZE + 1).decode("utf-8-sig")
    except FileNotFoundError:
        grids = sorted(file.name for file in Path(path).parent.glob("*") if file.suffix in (".yaml", ".yml"))
        message = "there is no such file" + (f"; in the same folder: {', '.join(grids[:5])}" if grids else "")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"found the byte 0x{error.object[error.start]:02x}; a grid is text in UTF-8"
    except OSError as error:
        message = f"cannot be read: {os.strerror(error.errno or 0)}"
    except ValueError as error:
        message = f"is not a path: {error}"
    raise GridError(os.fspath(path), [Fault(line=line, path="", message=message)])


def parse_yaml(text: str, *, with_lines: bool = True) -> tuple[YamlNode | None, list[Fault]]:
    """Return the one document of a YAML 1.2 text, and the faults of the text.

    Args:
        text: The text. An empty one has no document and no fault.
        with_lines: Whether nodes have their lines; False for a value from the command line.
    """
    composer = _Composer(text, with_lines)
    try:
        return composer.document(), composer.faults
    except _UnreadableError as error:
        return None, [*composer.faults, error.fault]


def resolve(text: str) -> Scalar | None:
    """Return the value of a plain scalar by the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3.2).

    So ``1e-3`` is a number, ``0o17`` is 15, ``yes`` and ``on`` are texts, and ``017`` is 17. The rules of the YAML
    library still read parts of YAML 1.1.

    Raises:
        ValueError: It is a whole number beyond `LARGEST`.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        value = int(text, base) if len(text) <= _MOST_DIGITS else LARGEST + 1
        if abs(value) > LARGEST:
            raise ValueError(f"whole numbers from -{LARGEST} to {LARGEST}")
        return value
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


class _UnreadableError(Exception):
    """Reading cannot go on."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(line=line, path="", message=message)


class _Composer:
    """Composes the nodes of a text from its events, and collects the faults after which reading goes on."""

    def __init__(self, text: str, with_lines: bool) -> None:
        self.faults: list[Fault] = []
        self._events = _events(text)
        self._with_lines = with_lines
        self._anchors: dict[str, tuple[YamlNode, int] | None] = {}

    def document(self) -> YamlNode | None:
        root = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent) and root:
                message = "a second document begins here: list several grids under grids:"
                raise _UnreadableError(event.start_mark.line + 1, message)
            if isinstance(event, NodeEvent):
                root, _ = self._node(event, 0)
        return root

    def _fault(self, line: int, message: str) -> None:
        self.faults.append(Fault(line=line, path="", message=message))

    def _node(self, event: Any, depth: int) -> tuple[YamlNode, int]:
        """Return the node that begins with an event, and its number of values."""
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            if built := self._anchors.get(event.anchor):
                return built
            is_inside = event.anchor in self._anchors
            where = " inside the value of its own anchor" if is_inside else f", but no anchor &{event.anchor} before it"
            raise _UnreadableError(line, f"found the alias *{event.anchor}{where}")
        if event.tag:
            self._fault(line, f"found the tag {event.tag}; a grid is plain data: write the value without it")
        is_scalar = isinstance(event, ScalarEvent)
        built = (self._scalar(event, line), 1) if is_scalar else self._collection(event, depth, line)
        if event.anchor:
            self._anchors[event.anchor] = built
        return built

    def _scalar(self, event: Any, line: int) -> YamlNode:
        text: str = event.value
        value: Scalar | None = text
        if event.style is None:
            try:
                value = resolve(text)
            except ValueError as error:
                self._fault(line, f"found {text[:_LONGEST_TEXT]}; accepted: {error}")
                value = 1  # which nearly every field accepts: one fault is enough
        return YamlNode(line if self._with_lines else None, value, text)

    def _collection(self, event: Any, depth: int, line: int) -> tuple[YamlNode, int]:
        if depth == MAX_DEPTH:
            raise _UnreadableError(line, f"nested more than {MAX_DEPTH} levels deep; a grid needs no more than 6")
        if event.anchor:
            self._anchors[event.anchor] = None
        children: list[YamlNode] = []
        size = 1
        while not isinstance(child := next(self._events), CollectionEndEvent):
            node, count = self._node(child, depth + 1)
            children.append(node)
            size += count
            if size > MAX_VALUES:
                raise _UnreadableError(line, f"more than {MAX_VALUES} values, with each use of an alias counted")
        if isinstance(event, MappingStartEvent):
            return self._mapping(children, line), size
        return YamlNode(line if self._with_lines else None, tuple(children)), size

    def _mapping(self, children: list[YamlNode], line: int) -> YamlNode:
        entries: dict[str, YamlNode] = {}
        key_lines: dict[str, int | None] = {}
        for key, node in zip(children[::2], children[1::2], strict=True):
            at = key.line or line
            if not isinstance(key.value, str):
                self._fault(at, f"found {key} as a key; accepted: a name")
            elif key.value == "<<":
                raise _UnreadableError(at, "found the merge key <<, which YAML 1.2 does not have: write out the keys")
            elif key.value in entries:
                first = key_lines[key.value]
                self._fault(at, f"duplicate key {key}{f', first on line {first}' if first else ''}")
            else:
                entries[key.value] = node
                key_lines[key.value] = key.line
        return YamlNode(line if self._with_lines else None, entries, key_lines=key_lines)


def _events(text: str) -> Iterator[Any]:
    if len(text) > MAX_SIZE:
        raise _UnreadableError(None, f"has {len(text):,} characters; a grid has at most {MAX_SIZE:,}")
    if tabs := [number for number, line in enumerate(text.split("\n"), 1) if _TAB.match(line)]:
        others = f" (and in {len(tabs) - 1} more lines)" if len(tabs) > 1 else ""
        raise _UnreadableError(tabs[0], f"found a tab in the indentation{others}; YAML indents with spaces")
    if directive := _DIRECTIVE.match(text):
        line = text.count("\n", 0, directive.start(1)) + 1
        raise _UnreadableError(line, "found a directive (a line that begins with %); a grid is YAML 1.2 without any")
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        problem = " ".join(str(error.problem or error.context or "cannot be read").split())
        advice = next((f": {advice}" for pattern, advice in _ADVICE.items() if re.search(pattern, problem)), "")
        unclosed = "end" in problem and "stream" in problem
        mark = (error.context_mark if unclosed else None) or error.problem_mark
        raise _UnreadableError(mark.line + 1 if mark else None, f"not YAML: {problem}{advice}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"found the character U+{ord(text[error.position]):04X}"
        raise _UnreadableError(line, f"{found}, which YAML does not allow") from error
    except Exception as error:  # the library lets errors of all kinds through on malformed escapes and directives
        raise _UnreadableError(None, f"not YAML: {error}") from error
