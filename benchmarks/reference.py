"""The reference in docs/python.md, from the signatures and docstrings in the code.

    python -m benchmarks.reference

Replaces what is below its mark. `tests/test_python_page.py` fails if the page is not what the code says.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "python.md"
MARK = "<!-- what follows is written by `make tables` -->\n"

NAMES = {
    "bilin": [
        *("read_grid", "plan", "launch", "query", "table", "plot", "load_model"),
        *("LaunchRequest", "LaunchRequest.read", "ClusterSpec", "Plan"),
    ],
    "bilin.orchestrator": [
        *(
            "Grid",
            "Summary",
            "Snapshot",
            "status",
            "statuses",
            "watch",
            "find_trial",
            "why",
            "output",
            "submit",
            "script",
        ),
        *("spectrum", "write_grid_template"),
    ],
    "bilin.results": [
        *("Rows", "compare", "explain", "ResultTable", "encode", "figure_data", "save_figure"),
        *("draw_spectrum", "export_optuna", "export_tensorboard"),
        *("report", "delete", "copy_weights", "compact", "verify"),
    ],
    "bilin.errors": [
        *("BilinError", "InputError", "GridError", "Fault", "QueryError", "StoreError", "SweepRunningError"),
        *("InterruptedSweepError", "ClusterError"),
    ],
}
"""What the reference describes; `bilin.BilinError` is with the other errors."""

_SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns")


def reference() -> str:
    """Return the whole reference."""
    parts: list[str] = []
    for module, names in NAMES.items():
        parts.append(f"### {module}\n")
        for name in names:
            parts += entry(f"{module}.{name}", attrgetter(name)(importlib.import_module(module)))
    return "\n".join(parts)


def entry(path: str, value: Any) -> Iterator[str]:
    """Yield the parts of the entry of a function or class."""
    yield f"#### `{path}`\n"
    if not inspect.isclass(value):
        yield from [code(path.rpartition(".")[2], value), markdown(value.__doc__ or "")]
        return
    if issubclass(value, BaseException):
        yield markdown(value.__doc__ or "")
        return
    if dataclasses.is_dataclass(value):
        own = [name for name in inspect.get_annotations(value) if not name.startswith("_")]
        lines = [
            f"    {field.name}: {field.type}{default(field)}"
            for field in dataclasses.fields(value)
            if field.name in own
        ]
        bases = ", ".join(base.__name__ for base in value.__bases__ if dataclasses.is_dataclass(base))
        yield "\n".join(["```python", f"class {value.__name__}{f'({bases})' if bases else ''}:", *lines, "```\n"])
    yield markdown(value.__doc__ or "")
    found = list(members(value))
    if found:
        yield "Properties and methods:\n"
    for name, member in found:
        if isinstance(member, property):
            yield f"- `{name}`: {text(first(member.__doc__))}"
        else:
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            yield f"- `{signature(name, function)}`: {text(first(function.__doc__))}"
    yield ""


def members(value: type) -> Iterator[tuple[str, Any]]:
    """Yield the public properties and methods of a class that have a docstring, in their order."""
    for name, member in vars(value).items():
        is_member = isinstance(member, property | classmethod | staticmethod) or inspect.isfunction(member)
        if is_member and not name.startswith("_") and member.__doc__:
            yield name, member


def default(field: dataclasses.Field[Any]) -> str:
    """Return the default of a field as it is written."""
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    return "" if field.default_factory is dataclasses.MISSING else " = …"


class Source:
    """A piece of a signature that is shown as it is written in the code."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __repr__(self) -> str:
        return self._source


def signature(name: str, function: Callable[..., Any]) -> str:
    """Return the signature of a function on one line, without ``self`` and ``cls``."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=Source(shown(parameter.annotation)), default=written(parameter.default))
        for parameter in found.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    returns = Source(shown(found.return_annotation))
    return f"{name}{found.replace(parameters=parameters, return_annotation=returns)}"


def shown(annotation: Any) -> str:
    """Return an annotation, which the modules keep as text."""
    return re.sub(r"Unpack\[(\w+)\]", r"\1", str(annotation))


def written(value: Any) -> Any:
    """Return a default value so that its representation is what one would write."""
    if isinstance(value, Path):
        return str(value)
    return Source(value.__name__) if inspect.isfunction(value) else value


def code(name: str, function: Callable[..., Any]) -> str:
    """Return the signature of a function as code, on several lines if it is long."""
    line = signature(name, function)
    if len(line) > 100:
        found = re.fullmatch(r"(\w+)\((.*)\)( -> .*)?", line)
        assert found, line
        inner = re.split(r", (?=(?:\*|\w+:|\w+ ?=))", found[2])
        line = "\n".join([f"{found[1]}(", *(f"    {part}," for part in inner), f"){found[3] or ''}"])
    return f"```python\n{line}\n```\n"


def markdown(docstring: str) -> str:
    """Return a docstring in Google style as Markdown."""
    blocks: list[str] = []
    for block in re.split(r"\n\n+", inspect.cleandoc(docstring)):
        title, _, rest = block.partition("\n")
        if title.removesuffix(":") in _SECTIONS and title.endswith(":"):
            blocks.append(f"{title.removesuffix(':')}:\n\n{items(rest)}")
        elif block.startswith("    "):
            blocks.append(f"```text\n{inspect.cleandoc(block)}\n```")
        else:
            blocks.append(text(" ".join(block.split())))
    return "\n\n".join(blocks) + "\n"


def items(block: str) -> str:
    """Return the items of a section as a list; a section of plain text as one item."""
    lines: list[str] = []
    for line in inspect.cleandoc(block).splitlines():
        if line.startswith(" ") and lines:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join("- " + text(re.sub(r"^([\w*]+): ", r"`\1`: ", line)) for line in lines)


def first(docstring: str | None) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split())


def text(line: str) -> str:
    """Return a line of a docstring as Markdown."""
    return line.replace("``", "`").replace("<", "&lt;") if "`" not in line else line.replace("``", "`")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    before, mark, _ = PAGE.read_text().partition(MARK)
    assert mark, f"{PAGE} has no mark"
    PAGE.write_text(f"{before}{MARK}\n{reference()}".rstrip() + "\n")


if __name__ == "__main__":
    main()
