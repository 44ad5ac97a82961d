"""What tells the trials of a sweep apart, in words."""

from __future__ import annotations

from collections.abc import Iterable

from bilin.fields import Value, fields_of, values_of
from bilin.spec import Cell


class Labels:
    """Short names for the cells of one grid: task and tier, with the fields that vary between the cells."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        first: dict[str, Value] = {}
        self._varying: set[str] = set()
        for block in {block for cell in cells for block in (cell.task, cell.model, cell.train)}:
            for name, value in values_of(block).items():
                if first.setdefault(name, value) != value:
                    self._varying.add(name)

    def cell(self, cell: Cell) -> str:
        """Such as ``modular_addition m=5 · cp rank=64``."""
        task = " ".join([cell.task.name, *self._fields(cell.task)])
        model = " ".join([cell.model.tier, *self._fields(cell.model, required=True)])
        return " · ".join([task, model, *self._fields(cell.train)])

    def _fields(self, block: object, *, required: bool = False) -> list[str]:
        fields = fields_of(type(block))
        shown = [name for name in fields if name in self._varying or (required and fields[name].required)]
        return [f"{name}={getattr(block, name)}" for name in shown]
