"""Size and structure of the code, one column for each checkout.

    python -m benchmarks.metrics [PATH …] [--types]

Without a path, the checkout that this file is in. Needs the standard library alone: nothing is imported or run.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import statistics
import tokenize
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class File:
    """One Python file, parsed."""

    root: Path
    path: Path

    @cached_property
    def text(self) -> str:
        """What is in it."""
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @property
    def module(self) -> str:
        """The dotted name of the module; that of the package for `__init__.py`."""
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def num_lines(self) -> int:
        """All lines."""
        return len(self.text.splitlines())

    @cached_property
    def code(self) -> list[int]:
        """The numbers of the lines with code, ascending: no blank lines, comments or docstrings."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in BLANK:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if isinstance(node, Documented) and ast.get_docstring(node) is not None:
                lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        return sorted(lines)

    @cached_property
    def functions(self) -> list[Function]:
        """All functions and methods, inner ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    def code_lines(self, function: Function) -> int:
        """The number of lines of code of a function, with those of inner ones."""
        return bisect_right(self.code, function.end_lineno or 0) - bisect_left(self.code, function.lineno)


def python_files(root: Path, folder: str) -> list[File]:
    return [File(root, path) for path in sorted((root / folder).rglob("*.py"))]


def percentile_95(values: list[int]) -> int:
    return sorted(values)[round(0.95 * (len(values) - 1))] if values else 0


def spread(values: list[int]) -> str:
    return f"{statistics.median(values):g} / {percentile_95(values)} / {max(values)}" if values else "none"


def grid_types(files: list[File]) -> list[str]:
    """Types that carry what a grid says on its way to a `TrialSpec`.

    Every class of `orchestrator/grid` and `orchestrator/planning`, `Cell` and `TrialSpec`; but no exceptions, and no
    settings, which declare the keys of a block and are the same in every design.
    """
    places = ("bilin.orchestrator.grid", "bilin.orchestrator.planning", "bilin.spec")
    return [
        f"{file.module}.{node.name}"
        for file in files
        if file.module.startswith(places)
        for node in ast.walk(file.tree)
        if isinstance(node, ast.ClassDef) and not is_exception(node) and not is_settings(node)
        if file.module != "bilin.spec" or node.name in ("Cell", "TrialSpec")
    ]


def is_exception(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(("Error", "Exception", "Warning")) for base in node.bases)


def is_settings(node: ast.ClassDef) -> bool:
    """Whether the class declares keys of the grid: with `option(…)`, with pydantic's `Field(…)`, or as settings."""
    calls = (child.func for child in ast.walk(node) if isinstance(child, ast.Call))
    return node.name.endswith("Settings") or any(ast.unparse(call) in ("option", "Field") for call in calls)


def imports_at_load(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is loaded: none in functions, none for type checkers alone."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        elif not isinstance(node, Function | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def import_graph(files: list[File]) -> dict[str, set[str]]:
    modules = {file.module for file in files}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for file in files:
        for node in imports_at_load(file.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in modules else str(node.module) for name in full]
            graph[file.module].update(name for name in names if name in modules and name != file.module)
    return graph


def import_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules each of which imports, directly or not, all of the set."""
    reached = {module: reachable(graph, module) for module in graph}
    cycles = {frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return sorted(sorted(cycle) for cycle in cycles if len(cycle) > 1)


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(graph[module])
    return seen


def public(node: ast.Module | ast.ClassDef) -> Iterator[Documented]:
    """The node itself, and the public classes, functions and methods in it."""
    yield node
    for child in node.body:
        if isinstance(child, Documented) and not child.name.startswith("_"):
            if isinstance(child, ast.ClassDef):
                yield from public(child)
            elif not any(ast.unparse(decorator).endswith("overload") for decorator in child.decorator_list):
                yield child


def private_helpers(file: File) -> tuple[int, int]:
    """How many private functions and methods there are, and how many of them one function alone uses."""
    private = {node.name for node in file.functions if node.name.startswith("_") and not node.name.startswith("__")}
    users: dict[str, set[int]] = {name: set() for name in private}
    inner = {id(node): function.lineno for function in file.functions for node in ast.walk(function)}
    for node in ast.walk(file.tree):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name in private:
            users[name].add(inner.get(id(node), 0))
    return len(private), sum(len(places) == 1 for places in users.values())


def coverage(root: Path) -> str:
    """What the last `make coverage` in this checkout measured."""
    report = root / "coverage.json"
    return f"{json.loads(report.read_text())['totals']['percent_covered']:.1f} %" if report.exists() else "not measured"


def measure(root: Path) -> dict[str, str]:
    package, tests = python_files(root, "bilin"), python_files(root, "tests")
    code = sum(len(file.code) for file in package)
    grid = [file for file in package if file.module.startswith(("bilin.orchestrator.grid", "bilin.fields"))]
    documented = [ast.get_docstring(node) is not None for file in package for node in public(file.tree)]
    helpers = [private_helpers(file) for file in package]
    cycles = import_cycles(import_graph(package))
    return {
        "files": f"{len(package)}",
        "lines": f"{sum(file.num_lines for file in package):,}",
        "lines of code": f"{code:,}",
        "lines a file: median / 95 % / most": spread([file.num_lines for file in package]),
        "lines of code a file": spread([len(file.code) for file in package]),
        "lines of code a function": spread([file.code_lines(node) for file in package for node in file.functions]),
        "lines of orchestrator/grid and fields": f"{sum(file.num_lines for file in grid):,}",
        "types from YAML to TrialSpec (--types)": f"{len(grid_types(package))}",
        "import cycles (modules in them)": f"{len(cycles)} ({sum(map(len, cycles))})",
        "public names with a docstring": f"{100 * statistics.mean(documented):.1f} %",
        "private helpers": f"{sum(number for number, _ in helpers)}",
        "private helpers with one caller": f"{sum(single for _, single in helpers)}",
        "lines of tests": f"{sum(file.num_lines for file in tests):,}",
        "test lines per line of code": f"{sum(len(file.code) for file in tests) / code:.2f}",
        "branch coverage": coverage(root),
    }


def main() -> None:
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="checkouts to measure")
    parser.add_argument("--types", action="store_true", help="list the types from YAML to TrialSpec, and the cycles")
    arguments = parser.parse_args()
    roots: list[Path] = arguments.paths or [here]
    columns = [measure(root) for root in roots]
    for name in columns[0]:
        print(f"{name:40}", *(f"{column[name]:>20}" for column in columns))
    if arguments.types:
        for root in roots:
            files = python_files(root, "bilin")
            print(f"\n{root}", *grid_types(files), *map(" <-> ".join, import_cycles(import_graph(files))), sep="\n  ")


if __name__ == "__main__":
    main()
