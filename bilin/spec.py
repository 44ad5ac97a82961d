"""What to run, and its identity.

A `Cell` is one point of the outer grid, a `TrialSpec` one training of it: a cell, a learning rate and
a seed. Their ids are hashes of what is measured, with every default written out: never of a difference
from today's defaults, and never of what cannot change a result (workers, threads, the tested lengths,
the sweep's name). What another package declares has that package's name in its digest, since two packages
may use one name for two things. Ids are composed from the digests of their blocks, each computed once, so
that a million of them are cheap. Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Hashable, Iterator
from dataclasses import MISSING, dataclass, replace
from typing import Any, ClassVar, Protocol

from bilin.fields import Amounts, Form, Value, fields_of, option, values_of
from bilin.registry import OWN, origin

RESULTS_VERSION = 1
"""Raised when the same spec would give other numbers, so that older results are not taken for new ones."""


class TaskSettings(Hashable, Protocol):
    """A task's settings: a frozen dataclass whose fields are declared with `bilin.fields.option`."""

    name: ClassVar[str]
    own_supervision: ClassVar[str | None]


class ModelSettings(Hashable, Protocol):
    """A tier's settings: a frozen dataclass whose fields are declared with `bilin.fields.option`."""

    tier: ClassVar[str]

    @property
    def scale_invariant(self) -> bool:
        """Whether a positive factor on the state leaves the predictions as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """How a trial is trained."""

    steps: int = option(100_000, at_least=1, doc="greatest number of training steps")
    batch_size: int = option(64, at_least=1, doc="sequences in a batch")
    lengths: tuple[int, ...] = option(
        (2, 10), at_least=1, length=2, doc="shortest and longest training length, mixed within a batch"
    )
    examples: int | None = option(
        None, at_least=1, before=None, doc="training sequences, drawn once; null: fresh ones at every step"
    )
    supervision: str = option(
        "final", choices=("final", "every_token"), doc="where the loss is taken, but for tasks that say it themselves"
    )
    optimizer: str = option("adam", choices=("adam", "adamw"), doc="how the weights are updated")
    weight_decay: float = option(0.0, at_least=0, doc="weight decay: L2 for adam, decoupled for adamw")
    clip_norm: float | None = option(None, above=0, doc="greatest norm of the gradient; null: no clipping")
    schedule: str = option("cosine", choices=("constant", "cosine", "linear"), doc="the rate over the steps")
    warmup_steps: int = option(0, at_least=0, doc="steps over which the rate rises from 0")
    normalize: str = option(
        "readout",
        choices=("readout", "state", "none"),
        doc="what is divided by its norm in training, for scale-invariant tiers",
    )
    stop_when_solved: bool = option(True, doc="end when two evaluations running are perfect")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateSpec:
    """What a trial is validated on, beside the training lengths; never a length that is tested."""

    every: int = option(250, at_least=1, doc="steps between evaluations")
    lengths: tuple[int, ...] = option((50, 100, 200, 400, 800), at_least=1, doc="lengths beyond the training lengths")
    num_sequences: int = option(512, at_least=1, doc="sequences a length; the training lengths count as one")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSpec:
    """What a trial is tested on at its end. No part of its identity."""

    __test__ = False  # not a test case, whatever pytest makes of its name

    lengths: tuple[int, ...] = option((10, 500), at_least=1, doc="tested lengths")
    num_sequences: int = option(2048, at_least=1, doc="sequences a length")


_MEMORY = Form(r"[0-9]{1,9}(\.[0-9]{1,3})? ?[KMGTkmgt]([iI]?[bB])?", "a size, as 500MB, 4GB or 4GiB")
_ACCELERATOR = Form(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "Ray's word for one, as H100 or A100-40G")
_CUSTOM = Form(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}", "a name without spaces", "names without spaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one trial occupies while it runs. No part of its identity; recorded in its row."""

    cpus: float = option(1.0, at_least=0, doc="CPUs that a trial occupies")
    gpus: float = option(0.0, at_least=0, doc="GPUs that a trial occupies; fractions share one")
    threads: int = option(1, at_least=1, doc="threads that a trial computes with; they change the last bits")
    device: str = option("auto", choices=("auto", "cpu", "cuda"), doc="auto: cuda where gpus > 0, else cpu")
    accelerator: str | None = option(None, form=_ACCELERATOR, doc="kind of GPU that it must have; null: any")
    memory: str | None = option(None, form=_MEMORY, doc="memory that is set aside for a trial; null: none")
    custom: Amounts = option(
        Amounts(), form=_CUSTOM, at_least=1e-4, doc="how much of which resources that a Ray was started with"
    )

    @property
    def occupied(self) -> Resources:
        """The same without what a worker is told of each trial: two that occupy the same can share a worker."""
        return replace(self, threads=1, device="auto")

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes; 0 where none is asked for."""
        return bytes_of(self.memory) if self.memory else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the outer grid: what is trained, on what, and how."""

    task: TaskSettings
    model: ModelSettings
    train: TrainSpec
    validate: ValidateSpec

    @property
    def cell_id(self) -> str:
        """16 hexadecimal digits: a hash of the results version and the four blocks."""
        return _hash(
            f"{RESULTS_VERSION}|{_digest(self.task)}|{_digest(self.model)}"
            f"|{_train_digest(self.train, *self._without_effect)}|{_digest(self.validate)}"
        )

    @property
    def supervision(self) -> str:
        """Where the loss is taken: the task's own supervision, or else that of the training."""
        return self.task.own_supervision or self.train.supervision

    @property
    def _without_effect(self) -> Iterator[str]:
        """Fields of the training that change nothing here, so that they are no part of what is measured."""
        if not self.model.scale_invariant:
            yield "normalize"
        if self.task.own_supervision:
            yield "supervision"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One training: a cell, a learning rate and a seed, with what else a worker must know."""

    cell: Cell
    lr: float
    seed: int
    test: TestSpec
    resources: Resources

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits: a hash of the cell, the rate and the seed."""
        return trial_id(self.cell.cell_id, self.lr, self.seed)


def trial_id(cell_id: str, lr: float, seed: int) -> str:
    """The id of the trial of a cell at a learning rate under a seed."""
    return _hash(f"{cell_id}|{float(lr)!r}|{seed}")


def bytes_of(memory: str) -> int:
    """The bytes of a size such as ``4GB`` (powers of 1000), ``4GiB`` or ``4G`` (of 1024, as Slurm has it)."""
    number = memory.rstrip("KMGTkmgtiIbB ")
    unit = memory[len(number) :].strip().upper()
    base = 1000.0 if unit.endswith("B") and "I" not in unit else 1024.0
    return round(float(number) * base ** ("KMGT".index(unit[0]) + 1))


def derive_seed(*parts: object) -> int:
    """A seed of 63 bits for one purpose, such as ``derive_seed(cell_id, seed, "train")``."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def describe(cell: Cell) -> dict[str, dict[str, Value]]:
    """The cell's blocks as plain values, every default written out: the same keys as in grid.yaml."""
    return {
        "task": {"name": cell.task.name, **values_of(cell.task)},
        "model": {"tier": cell.model.tier, **values_of(cell.model)},
        "train": values_of(cell.train),
        "validate": values_of(cell.validate),
    }


def measured(block: Any) -> dict[str, Value]:
    """The part of a block that enters its digest: every field, but for later ones at their `before` value."""
    fields = fields_of(type(block))
    values = {name: fields[name].convert(value) for name, value in values_of(block).items()}  # 1 and 1.0 are one float
    return {
        name: value for name, value in values.items() if fields[name].before is MISSING or fields[name].before != value
    }


@functools.cache
def _digest(block: Any) -> str:
    name = getattr(block, "name", None) or getattr(block, "tier", None) or ""
    home = origin(type(block))
    identity = [name, measured(block)] if home == OWN else [name, measured(block), home]  # two packages, two things
    return _hash(json.dumps(identity, sort_keys=True, separators=(",", ":")))


@functools.cache
def _train_digest(train: TrainSpec, *without: str) -> str:
    values = {name: value for name, value in measured(train).items() if name not in without}
    return _hash(json.dumps(["train", values], sort_keys=True, separators=(",", ":")))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
