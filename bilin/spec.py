"""What to run, and its identity.

A `Cell` is one point of the outer grid: a task, a model, how it is trained and validated. A `TrialSpec` is a cell, a
learning rate and a seed. Their ids are hashes of what is measured, with every default written out, so they do not
depend on today's defaults. What cannot change a result is left out: workers, threads, tested lengths, the name of the
sweep. The digest of another package's task or tier includes the name of that package, since two packages may use one
name for two things. An id is composed from the digests of its blocks, each computed once, so that a million ids are
cheap. Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from bilin.fields import Amounts, Form, Value, fields_of, list_problems, option, values_of
from bilin.registry import OWN, origin

RESULTS_VERSION = 2
"""Increase it when every spec gives other numbers, so that older results are not taken for new ones.

If only some tiers or tasks do, increase their own `version`.
"""


class TaskSettings(Hashable, Protocol):
    """A task's settings: a frozen dataclass whose fields are declared with `bilin.fields.option`."""

    name: ClassVar[str]
    own_supervision: ClassVar[str | None]

    @property
    def vocab_size(self) -> int:
        """See `bilin.tasks.Task.vocab_size`."""

    @property
    def num_classes(self) -> int:
        """See `bilin.tasks.Task.num_classes`."""

    @property
    def version(self) -> int:
        """See `bilin.tasks.Task.version`."""


class ModelSettings(Hashable, Protocol):
    """A tier's settings: a frozen dataclass whose fields are declared with `bilin.fields.option`."""

    tier: ClassVar[str]

    @property
    def scale_invariant(self) -> bool:
        """See `bilin.models.Tier.scale_invariant`."""

    @property
    def version(self) -> int:
        """See `bilin.models.Tier.version`."""

    def unfit(self, vocab_size: int) -> str:
        """See `bilin.models.Tier.unfit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """How a trial is trained."""

    steps: int = option(100_000, at_least=1, doc="maximum number of training steps")
    batch_size: int = option(64, at_least=1, doc="sequences per batch")
    lengths: tuple[int, ...] = option(
        (2, 10), at_least=1, length=2, doc="shortest and longest training length; a batch mixes all lengths between"
    )
    examples: int | None = option(
        None, at_least=1, before=None, doc="size of a fixed training set; null: fresh sequences at every step"
    )
    supervision: str = option(
        "final", choices=("final", "every_token"), doc="labels in the loss; a task may decide this itself"
    )
    optimizer: str = option("adam", choices=("adam", "adamw"), doc="optimizer")
    weight_decay: float = option(0.0, at_least=0, doc="weight decay: L2 for adam, decoupled for adamw")
    weight_decay_on: str = option(
        "weights",
        choices=("weights", "recurrent", "all"),
        before="all",
        doc="what decays; weights: all but norms, biases, initial states and decay rates; recurrent: those in the "
        "recurrence; all: every parameter",
    )
    clip_norm: float | None = option(None, above=0, doc="maximum norm of the gradient; null: no clipping")
    schedule: str = option("cosine", choices=("constant", "cosine", "linear"), doc="learning rate over the steps")
    warmup_steps: int = option(0, at_least=0, doc="steps over which the learning rate rises from 0")
    normalize: str = option(
        "readout",
        choices=("readout", "state", "none"),
        doc="what a scale-invariant tier divides by its norm in training",
    )
    stop_when_solved: bool = option(True, doc="stop after two perfect evaluations in a row")

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        found = {}
        if self.lengths[0] > self.lengths[1]:
            found["lengths"] = "the shortest length, then the longest"
        if self.warmup_steps >= self.steps:
            found["warmup_steps"] = f"fewer than steps ({self.steps})"
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateSpec:
    """What a trial is validated on, in addition to the training lengths. Tests draw sequences of their own."""

    every: int = option(250, at_least=1, doc="steps between evaluations")
    lengths: tuple[int, ...] = option(
        (53, 101, 211, 401, 797), at_least=1, doc="validation lengths, beyond the training lengths"
    )
    num_sequences: int = option(512, at_least=1, doc="sequences per length; the training lengths count as one length")
    mixed_lengths: bool = option(
        True,
        before=False,
        doc="validate last on sequences of random lengths, above those of the training, up to the longest of `lengths`",
    )

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        return list_problems("lengths", self.lengths, "length", may_be_empty=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSpec:
    """What a trial is tested on at its end. Not part of its identity."""

    __test__ = False  # not a test case, despite its name

    lengths: tuple[int, ...] = option((10, 500), at_least=1, doc="tested lengths")
    num_sequences: int = option(2048, at_least=1, doc="sequences per length")

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        return list_problems("lengths", self.lengths, "length")


_MEMORY = Form(r"[0-9]{1,9}(\.[0-9]{1,3})? ?[KMGTkmgt]([iI]?[bB])?", "a size, as in 500MB, 4GB or 4GiB")
_ACCELERATOR = Form(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a Ray accelerator type, as in H100 or A100-40G")
_CUSTOM = Form(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}", "a name without spaces", "names without spaces")
_RESERVED_BY_RAY = {"CPU", "GPU", "memory", "object_store_memory", "bundle"}
"""Names that Ray refuses for a custom resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one trial occupies while it runs. Not part of its identity, but recorded in its row."""

    cpus: float = option(1.0, at_least=0, doc="CPUs per trial")
    gpus: float = option(0.0, at_least=0, doc="GPUs per trial; with a fraction, trials share a GPU")
    threads: int = option(1, at_least=1, doc="threads per trial; they can change the last bits of a result")
    device: str = option(
        "auto",
        choices=("auto", "cpu", "cuda"),
        doc="device to compute on; auto: cuda if gpus > 0, or if this machine has a GPU and runs the trials; else cpu",
    )
    pack: int = option(
        0, at_least=0, doc="trials of one shape that a worker trains as one program; 0: as many as pay off, 1: none"
    )
    accelerator: str | None = option(None, form=_ACCELERATOR, doc="required type of GPU; null: any")
    memory: str | None = option(None, form=_MEMORY, doc="memory to reserve per trial; null: no reservation")
    custom: Amounts = option(Amounts(), form=_CUSTOM, at_least=1e-4, doc="custom Ray resources per trial, by name")

    @property
    def occupied(self) -> Resources:
        """The resources without what can differ between trials of one worker."""
        return replace(self, threads=1, device="auto", pack=0)

    @property
    def on_gpu(self) -> Resources:
        """The resources on a machine with a GPU: a worker takes one if neither it nor a device is asked for."""
        return replace(self, gpus=1.0) if self.device == "auto" and not self.gpus else self

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes; 0 without a reservation."""
        return bytes_of(self.memory) if self.memory else 0

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        found = {}
        if self.device == "cuda" and not self.gpus:
            found["device"] = "auto or cpu, or gpus above 0"
        if self.device == "cpu" and self.gpus:
            found["device"] = f"auto or cuda, or gpus: 0 (a trial on the CPU would hold {self.gpus:g} GPUs)"
        if self.gpus > 1 and not self.gpus.is_integer():
            found["gpus"] = "a fraction below 1, or a whole number"
        if self.accelerator and not self.gpus:
            found["accelerator"] = "null, or gpus above 0"
        if self.memory and not self.memory_bytes:
            found["memory"] = "null, or a size above 0"
        if reserved := _RESERVED_BY_RAY & self.custom.by_name.keys():
            names = ", ".join(sorted(reserved))
            found["custom"] = f"other names than {names}; use cpus, gpus and memory for those of Ray"
        return found


class Point(NamedTuple):
    """What a cell is trained with: a learning rate, and the values of its searched fields, sorted by their names."""

    lr: float
    searched: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        if not self.searched:
            return f"{self.lr:g}"
        return " ".join(f"{name}={value:g}" for name, value in (("lr", self.lr), *self.searched))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the outer grid: a model, a task, and how the model is trained and validated.

    Attributes:
        searched: The names of the fields of the model and the training that are searched, sorted. Their values differ
            between the trials of the cell. They are no part of its identity.
    """

    task: TaskSettings
    model: ModelSettings
    train: TrainSpec
    validate: ValidateSpec
    searched: tuple[str, ...] = ()

    @property
    def cell_id(self) -> str:
        """16 hexadecimal digits: a hash of the results version, the four blocks, and which fields are searched."""
        return next(cell_ids([self]))

    @property
    def searched_values(self) -> tuple[tuple[str, float], ...]:
        """The name and value of each searched field."""
        return tuple((name, getattr(self._block_of(name), name)) for name in self.searched)

    def at(self, point: Point) -> Cell:
        """Return the cell with the values of its searched fields at a point."""
        cell = self
        for name, value in point.searched:
            block = self._block_of(name)
            key = "train" if block is self.train else "model"
            converted = fields_of(type(block))[name].type(value)
            cell = replace(cell, **{key: replace(getattr(cell, key), **{name: converted})})
        return cell

    @property
    def mixed_lengths(self) -> tuple[int, int] | None:
        """The shortest and the longest of the mixed lengths of the validation; None if there are none."""
        longest = max(self.validate.lengths, default=0)
        is_mixed = self.validate.mixed_lengths and longest > self.train.lengths[1]
        return (self.train.lengths[1] + 1, longest) if is_mixed else None

    def _block_of(self, name: str) -> Any:
        return self.model if name in fields_of(type(self.model)) else self.train

    @property
    def supervision(self) -> str:
        """Labels in the loss: the task's own supervision, or else that of the training."""
        return self.task.own_supervision or self.train.supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One training: a cell, a learning rate and a seed, and what else a worker needs to know.

    Attributes:
        cell: With the values that its searched fields have in this trial.
        weights: The folder for its final weights; None: they are not kept.
        kept: The file of the kept weights that are tested.
        test_only: The lengths at which the kept weights are tested. Empty: the trial is trained, and tested at all.
        rungs: The steps at which a pruner compares the trials of the cell.
        until: The rung at which the trial stops, to be continued if it is among the best; None: it does not stop.
    """

    cell: Cell
    lr: float
    seed: int
    test: TestSpec
    resources: Resources
    weights: Path | None = None
    kept: Path | None = None
    test_only: tuple[int, ...] = ()
    rungs: tuple[int, ...] = ()
    until: int | None = None

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits: a hash of the cell, the learning rate and the seed."""
        return trial_id(self.cell.cell_id, self.point, self.seed)

    @property
    def point(self) -> Point:
        """The learning rate and the values of the searched fields."""
        return Point(self.lr, self.cell.searched_values)

    @property
    def shape(self) -> Hashable:
        """Trials for which this is equal can be trained as one program: their modules differ only in their weights."""
        cell = self.cell
        return cell.model, cell.task.vocab_size, cell.task.num_classes, cell.train.normalize, self.resources


def cell_ids(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the id of each cell. Cells that share their blocks are identified much faster together."""
    digests: dict[object, str] = {}  # by the identity of the block, since hashing its fields takes longer

    def digest(block: Any, *without: str) -> str:
        key = id(block), without
        if key not in digests:
            digests[key] = _digest(block, *without)
        return digests[key]

    for cell in cells:
        # these fields have no effect on some cells
        decays = cell.train.weight_decay > 0 or "weight_decay" in cell.searched
        weight_decay_on = () if decays else ("weight_decay_on",)
        normalize = () if cell.model.scale_invariant else ("normalize",)
        supervision = ("supervision",) if cell.task.own_supervision else ()
        mixed_lengths = () if cell.mixed_lengths else ("mixed_lengths",)
        train = digest(cell.train, *weight_decay_on, *normalize, *supervision, *cell.searched)
        model = digest(cell.model, *cell.searched)
        searched = f"|{','.join(cell.searched)}" if cell.searched else ""
        yield _hash(
            f"{RESULTS_VERSION}|{digest(cell.task)}|{model}|{train}|{digest(cell.validate, *mixed_lengths)}{searched}"
        )


def trial_id(cell_id: str, point: Point, seed: int) -> str:
    """Return the id of a trial: of a cell, at a point, under a seed."""
    searched = "".join(f"|{float(value)!r}" for _, value in point.searched)
    return _hash(f"{cell_id}|{float(point.lr)!r}{searched}|{seed}")


def bytes_of(memory: str) -> int:
    """Return the bytes in a size: ``4GB`` (powers of 1000), ``4GiB`` or ``4G`` (powers of 1024, as in Slurm)."""
    number = memory.rstrip("KMGTkmgtiIbB ")
    unit = memory[len(number) :].strip().upper()
    base = 1000.0 if unit.endswith("B") and "I" not in unit else 1024.0
    return round(float(number) * base ** ("KMGT".index(unit[0]) + 1))


def derive_seed(*parts: object) -> int:
    """Return a seed of 63 bits for one purpose: ``derive_seed(cell_id, seed, "train")``."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def describe(cell: Cell) -> dict[str, dict[str, Value]]:
    """Return the blocks of a cell as plain values, every default written out, with the keys of grid.yaml."""
    return {
        "task": {"name": cell.task.name, **values_of(cell.task)},
        "model": {"tier": cell.model.tier, **values_of(cell.model)},
        "train": values_of(cell.train),
        "validate": values_of(cell.validate),
    }


def measured(block: Any) -> dict[str, Value]:
    """Return what enters the digest of a block: every field, except later ones at their `before` value."""
    fields = fields_of(type(block))
    values = {name: fields[name].convert(value) for name, value in values_of(block).items()}  # 1 and 1.0 are one float
    return {
        name: value for name, value in values.items() if fields[name].before is MISSING or fields[name].before != value
    }


@functools.cache
def _digest(block: Any, *without: str) -> str:
    """Return the hash of a block, without some of its fields."""
    named = getattr(block, "name", None) or getattr(block, "tier", None) or ""
    name = "train" if isinstance(block, TrainSpec) else named
    home = origin(type(block))
    values = {field: value for field, value in measured(block).items() if field not in without}
    version = getattr(block, "version", 1)
    identity = [name, values, *([version] if version > 1 else []), *([] if home == OWN else [home])]
    return _hash(json.dumps(identity, sort_keys=True, separators=(",", ":")))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
