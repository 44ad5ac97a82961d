"""YAML text as nodes.

ruamel.yaml splits the text into events, and the nodes are composed here. So depth, size, aliases, tags and keys are
checked as they come in, before any of them can cost time or memory, and no object that a text names is built.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
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
from bilin.orchestrator.grid.node import LARGEST, MAX_DEPTH, MAX_DIGITS, TOO_DEEP, WHOLE_NUMBERS, Faults, YamlNode

MAX_SIZE = 1_000_000
"""Greatest size of a file in bytes, and of a text in characters."""
MAX_VALUES = 50_000
"""Greatest number of values in a text, with each use of an alias counted."""

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


def parse_yaml(text: str, *, with_lines: bool = True) -> tuple[YamlNode | None, Faults]:
    """Return the one document of a YAML 1.2 text, and the faults of the text.

    Args:
        text: The text. An empty one has no document and no fault.
        with_lines: Whether nodes have their lines; False for a value from the command line.
    """
    composer = _Composer(text, with_lines)
    try:
        return composer.document(), composer.faults
    except _UnreadableError as error:
        composer.faults.add(str(error), line=error.line)
        return None, composer.faults


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
        value = int(text, base) if len(text) <= MAX_DIGITS else LARGEST + 1
        if abs(value) > LARGEST:
            raise ValueError(WHOLE_NUMBERS)
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
        self.line = line


class _Composer:
    """Composes the nodes of a text from its events, and collects its faults as long as reading can go on."""

    def __init__(self, text: str, with_lines: bool) -> None:
        self.faults = Faults()
        self._events = _events(text)
        self._with_lines = with_lines
        self._num_values = 0
        self._anchors: dict[str, tuple[YamlNode, int] | None] = {}

    def document(self) -> YamlNode | None:
        root = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent) and root:
                message = "a second document begins here: list several grids under grids:"
                raise _UnreadableError(event.start_mark.line + 1, message)
            if isinstance(event, NodeEvent):
                root = self._node(event, "", 0)
        return root

    def _node(self, event: Any, path: str, depth: int, key_line: int | None = None) -> YamlNode:
        """Return the node that begins with an event, the value of a key on a line if there is one."""
        line = event.start_mark.line + 1
        if key_line and isinstance(event, ScalarEvent) and event.style is None and not event.value:
            line = key_line  # the mark of an empty value is where the next key begins
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, path, line)
        if event.tag:
            self.faults.add(f"found the tag {event.tag}; a grid is plain data: write the value without it", line=line)
        num_before = self._num_values
        self._count(1, line)
        self._anchors[event.anchor] = None
        node = YamlNode(None, path, self.faults, line if self._with_lines else None)
        if isinstance(event, ScalarEvent):
            node.text, node.value = event.value, self._scalar(event, line)
        elif depth == MAX_DEPTH:
            raise _UnreadableError(line, TOO_DEEP)
        elif isinstance(event, MappingStartEvent):
            node.value = self._entries(node, depth, line)
        else:
            children = enumerate(self._children())
            node.value = [self._node(child, node.child_path(index), depth + 1) for index, child in children]
        self._anchors[event.anchor] = node, self._num_values - num_before
        return node

    def _children(self) -> Iterator[Any]:
        """Yield the first event of each value of a collection."""
        while not isinstance(event := next(self._events), CollectionEndEvent):
            yield event

    def _alias(self, anchor: str, path: str, line: int) -> YamlNode:
        if built := self._anchors.get(anchor):
            node, num_values = built
            self._count(num_values, line)
            return node.copy(path, self.faults)
        is_inside = anchor in self._anchors
        where = " inside the value of its own anchor" if is_inside else f", but no anchor &{anchor} before it"
        raise _UnreadableError(line, f"found the alias *{anchor}{where}")

    def _count(self, num_values: int, line: int) -> None:
        self._num_values += num_values
        if self._num_values > MAX_VALUES:
            raise _UnreadableError(line, f"more than {MAX_VALUES} values, with each use of an alias counted")

    def _scalar(self, event: Any, line: int) -> Scalar | None:
        text: str = event.value
        if event.style is not None:
            return text
        try:
            return resolve(text)
        except ValueError as error:
            self.faults.add(f"found {text[:40]}; accepted: {error}", line=line)
            return 1  # which nearly every field accepts: one fault is enough

    def _entries(self, mapping: YamlNode, depth: int, line: int) -> dict[str, YamlNode]:
        entries: dict[str, YamlNode] = {}
        pairs: list[tuple[YamlNode, YamlNode]] = []
        for event in self._children():
            key, key_line = self._node(event, "", depth + 1), event.start_mark.line + 1
            value = self._node(next(self._events), mapping.child_path(key.value), depth + 1, key_line)
            pairs.append((key, value))
        for key, node in pairs:
            if not isinstance(key.value, str):
                self.faults.add(f"found {key} as a key; accepted: a name", line=key.line or line)
            elif key.value == "<<":
                message = "found the merge key <<, which YAML 1.2 does not have: write out the keys"
                raise _UnreadableError(key.line or line, message)
            elif key.value in entries:
                first = mapping.key_lines[key.value]
                where = f", first on line {first}" if first else ""
                self.faults.add(f"duplicate key {key}{where}", line=key.line or line)
            else:
                entries[key.value] = node
                mapping.key_lines[key.value] = key.line
        return entries


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
