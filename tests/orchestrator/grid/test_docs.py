"""docs/grid.md, tiers.md and tasks.md say what the declarations say, and their errors are those that a user sees.

Write their tables again with ``python -m tests.orchestrator.grid.test_docs``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bilin.errors import GridError
from bilin.fields import Field, fields_of, format_value
from bilin.models import MODELS, tier_settings
from bilin.orchestrator.grid import Choices, ClusterSettings, LogUniform, grid_schema, parse_grid
from bilin.orchestrator.grid.settings import Keep, Pruner, Seeds
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec
from bilin.tasks import TASKS, task_settings

PAGES = [Path(__file__).parents[3] / "docs" / page for page in ("grid.md", "tiers.md", "tasks.md")]
TEXT = "".join(page.read_text() for page in PAGES)


def cells(field: Field) -> list[str]:
    default = "required" if field.required else f"`{format_value(field.default)}`"
    return [default, field.accepted, field.doc.replace("|", "\\|")]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def block_table(*blocks: type) -> str:
    rows = [[f"`{field.name}`", *cells(field)] for block in blocks for field in fields_of(block).values()]
    return table(["key", "default", "accepted", "meaning"], rows)


def entry_table(what: str, names: Mapping[str, str], settings: Callable[[str], type]) -> str:
    owners: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        for field in fields_of(settings(name)).values():
            owners.setdefault((f"`{field.name}`", *cells(field)), []).append(f"`{name}`")
    rows = [[row[0], "all" if len(who) == len(names) else ", ".join(who), *row[1:]] for row, who in owners.items()]
    return table(["field", what, "default", "accepted", "meaning"], rows)


TABLES = {
    "tasks": entry_table("tasks", TASKS, task_settings),
    "models": entry_table("tiers", MODELS, tier_settings),
    "train": block_table(TrainSpec),
    "validate": block_table(ValidateSpec),
    "test": block_table(TestSpec),
    "choices": block_table(Choices),
    "log_uniform": block_table(LogUniform),
    "pruner": block_table(Pruner),
    "seeds": block_table(Seeds),
    "keep_weights": block_table(Keep),
    "resources": block_table(Resources),
    "cluster": block_table(ClusterSettings),
}


@pytest.mark.parametrize("block", TABLES)
def test_the_table_of_a_block_is_that_of_its_declaration(block: str) -> None:
    assert TABLES[block] in TEXT


def test_every_key_is_named() -> None:
    assert all(f"`{key}`" in TEXT for key in grid_schema()["properties"])


def test_the_grids_in_the_text_are_read() -> None:
    grids = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if block.startswith("name:")]
    assert grids
    for grid in grids:
        assert parse_grid(grid).cells


def test_the_errors_in_the_text_are_real() -> None:
    ((grid, output),) = re.findall(r"```yaml\n# bad\.yaml\n(.*?)```.*?```text\n(.*?)```", TEXT, re.DOTALL)
    with pytest.raises(GridError) as caught:
        parse_grid("# bad.yaml\n" + grid, source="bad.yaml")
    assert f"bilin: {caught.value}\n" == output


def with_tables(text: str) -> str:
    """The page with each table in place of the one with the same head and the same first field."""
    for new in TABLES.values():
        head, line, first = (re.escape(part) for part in new.split("\n")[:3])
        first = first.split(r"\ \|")[0]
        old = re.search(rf"^{head}\n{line}\n{first}.*\n(\|.*\n)*", text, flags=re.MULTILINE)
        text = text.replace(old[0], f"{new}\n") if old else text
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
