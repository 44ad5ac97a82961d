"""The state of a trial while it trains, in one object, and the settings of torch that it trains with."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from bilin.models import Tier
from bilin.models.module import SequenceModel
from bilin.record import CurvePoint, Rung
from bilin.spec import Cell, TrainSpec, TrialSpec, derive_seed
from bilin.tasks import IGNORED, Batch, Task
from bilin.workers.training.batches import sample
from bilin.workers.training.checkpoint import Clock
from bilin.workers.training.weights import init_seed

STEPS_AT_ONCE, TOKENS_PER_DRAW = {"cpu": 16, "cuda": 128}, 2**16
"""The batches of at most so many steps and tokens are drawn at once. The values are part of what is measured."""


@dataclass(slots=True, kw_only=True, eq=False)
class TrialState:
    """What the next step depends on, and what the trial has measured so far.

    Attributes:
        weights: The weights of the model that are trained.
        means: The running means of their gradients, of Adam.
        squares: Those of the squares of their gradients.
        decays: Each weight decay, and the positions of the weights that have it.
        num_updates: The number of the last update, as Adam takes it: a tensor on the device.
        loss_sum: Sum of the losses of all steps; stays on the device, so that no step waits for it.
        examples: The training sequences, if they are drawn once.
        batches: The batches of the current steps; see `batches_at`.
        lr: The learning rate of the last step.
        rungs: The rungs of a pruner that were reached.
        accuracies: For each evaluation the lowest accuracy over all lengths; None for one that stopped early.
    """

    spec: TrialSpec
    cell_id: str
    model: SequenceModel
    weights: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    decays: Sequence[tuple[float, Sequence[int]]]
    num_updates: Tensor
    loss_sum: Tensor
    examples: Batch | None = None
    batches: tuple[int, Sequence[Batch]] = (-1, ())
    lr: float = 0.0
    step: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)
    accuracies: list[float | None] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.loss_sum.device


def start(spec: TrialSpec, device: torch.device) -> TrialState:
    """Return the state before the first step.

    Weights and training sequences depend on the cell and the seed, not on the learning rate, so that learning rates
    are compared on the same draws. The weights are drawn on the CPU, the same for every device.
    """
    cell, model = spec.cell, build(spec)
    model.to(device)
    if tier_of(cell).freeze == "recurrent":
        model.requires_grad_(False).readout.requires_grad_(True)
    weights: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = weight.data.contiguous()
    generator = torch.Generator(device).manual_seed(derive_seed(cell.cell_id, spec.seed, "train"))
    return TrialState(
        spec=spec,
        cell_id=cell.cell_id,
        model=model,
        weights=weights,
        means=[torch.zeros_like(weight) for weight in weights],
        squares=[torch.zeros_like(weight) for weight in weights],
        decays=_decays(cell.train, model),
        num_updates=torch.zeros((), device=device),
        loss_sum=torch.zeros((), device=device),
        examples=draw(cell, generator, cell.train.examples, look=True) if cell.train.examples else None,
    )


def _decays(train: TrainSpec, model: SequenceModel) -> Sequence[tuple[float, Sequence[int]]]:
    decayed = model.decayed(train.weight_decay_on) if train.weight_decay else frozenset()
    positions: dict[float, list[int]] = defaultdict(list)
    for position, name in enumerate(name for name, weight in model.named_parameters() if weight.requires_grad):
        positions[train.weight_decay if name in decayed else 0.0].append(position)
    return tuple(positions.items())


def build(spec: TrialSpec) -> SequenceModel:
    """Return the model of a trial with its initial weights, on the CPU."""
    cell, task = spec.cell, task_of(spec.cell)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed(cell, spec.seed))
        model = tier_of(cell).build(vocab_size=task.vocab_size, num_classes=task.num_classes)
    model.normalize = cell.train.normalize
    return model


def batches_at(state: TrialState) -> Sequence[Batch]:
    """Return the batches of the next steps, at least one.

    The batches of several steps are drawn at once, with a generator of their own, so that a trial that continues from
    a checkpoint draws the same ones. Raises TaskError as `sample` does.
    """
    spec, train = state.spec, state.spec.cell.train
    at_once = max(1, min(STEPS_AT_ONCE[state.device.type], TOKENS_PER_DRAW // (train.batch_size * train.lengths[1])))
    index, offset = divmod(state.step, at_once)
    if state.batches[0] != index:
        seed = derive_seed(state.cell_id, spec.seed, "train", index)
        generator, number = torch.Generator(state.device).manual_seed(seed), at_once * train.batch_size
        if state.examples is None:
            drawn = draw(spec.cell, generator, number, look=index == 0)
        else:
            num_examples = len(state.examples.tokens)
            drawn = state.examples.take(
                torch.randint(num_examples, (number,), generator=generator, device=generator.device)
            )
        if state.device.type == "cuda":  # a graph needs batches of one shape
            drawn = padded(drawn, train.lengths[1])
        parts = (part.split(train.batch_size) for part in (drawn.tokens, drawn.targets, drawn.num_tokens))
        state.batches = index, [Batch(*of_step) for of_step in zip(*parts, strict=True)]
    return state.batches[1][offset:]


def padded(batch: Batch, length: int) -> Batch:
    """Return a batch in which no sequence has less than ``length`` places for its tokens."""
    beyond = max(0, length - batch.tokens.shape[1])
    tokens, targets = pad(batch.tokens, (0, beyond)), pad(batch.targets, (0, beyond), value=IGNORED)
    return Batch(tokens, targets, batch.num_tokens)


def draw(cell: Cell, generator: torch.Generator, num_sequences: int, *, look: bool) -> Batch:
    """Draw fresh sequences of the training lengths. Raises TaskError as `sample` does."""
    shortest, longest = cell.train.lengths
    lengths = torch.randint(shortest, longest + 1, (num_sequences,), generator=generator, device=generator.device)
    return sample(task_of(cell), lengths, generator, look=look)


def task_of(cell: Cell) -> Task:
    """Return the task of a cell; a spec knows it only as settings."""
    assert isinstance(cell.task, Task)
    return cell.task


def tier_of(cell: Cell) -> Tier:
    """Return the tier of a cell; a spec knows it only as settings."""
    assert isinstance(cell.model, Tier)
    return cell.model


@contextmanager
def own_torch(threads: int, seed: int, device: torch.device) -> Iterator[None]:
    """Give torch the settings that it has in a fresh process; restore them afterwards.

    A tier of another package may change them in `build`, and a notebook before a launch; then the next trial, or
    the same trial in another process, would give other numbers. Such a tier may also draw from the global generators
    of torch, numpy and Python as it trains, as dropout does: they begin from ``seed``.
    """
    cuda = [torch.cuda.current_device()] if device.type == "cuda" else []
    before = [(setting, setting.read()) for setting in _SETTINGS]
    num_threads = torch.get_num_threads()
    try:
        for setting in _SETTINGS:
            setting.write(setting.fresh)
        torch.set_num_threads(threads)
        with torch.enable_grad(), torch.random.fork_rng(devices=cuda), _other_generators(seed):
            torch.manual_seed(seed)
            yield
    finally:
        for setting, value in before:
            setting.write(value)
        torch.set_num_threads(num_threads)


@dataclass(frozen=True, slots=True)
class _Setting:
    """A global setting of torch: how it is read and written, and its value in a fresh process."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    fresh: Any


def _default_device() -> torch.device | None:
    """Return the default device; None for the CPU: naming it would slow down every call of torch."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


def _flushes_denormals() -> bool:
    return not torch.tensor(1e-310, dtype=torch.float64).mul(1.0).item()


_SETTINGS = (
    _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    _Setting(_default_device, torch.set_default_device, None),
    _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    _Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    _Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    _Setting(
        lambda: torch.is_autocast_enabled("cpu"), lambda enabled: torch.set_autocast_enabled("cpu", enabled), False
    ),
    _Setting(_flushes_denormals, torch.set_flush_denormal, False),
)


@contextmanager
def _other_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of Python and of numpy, if it is loaded; restore them afterwards."""
    numpy = sys.modules.get("numpy")
    before = random.getstate(), numpy.random.get_state() if numpy else None
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        if numpy:
            numpy.random.set_state(before[1])
