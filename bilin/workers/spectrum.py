"""What a bilinear model has learned: the eigenvalues of the matrix of each token, beside those of an exact solution.

A task whose label after each token depends on the token and the label before it is a finite state machine. The
matrix of a token in an exact solution (`bilin.models.construct`) then maps each state to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bilin.errors import InputError

if TYPE_CHECKING:
    import torch

    from bilin.models.bilinear.recurrence import Recurrence
    from bilin.tasks.task import Task

_NUM_SEQUENCES, _LENGTH = 256, 256
_MAX_STATES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Eigenvalue:
    """One eigenvalue of the matrix of a token.

    Attributes:
        token: The token.
        is_exact: Whether the matrix is that of an exact solution, and not of the model.
        value: If only the direction of the state matters, it is divided by the largest modulus of its matrix.
    """

    token: int
    is_exact: bool
    value: complex


def spectrum(path: Path) -> list[Eigenvalue]:
    """Return the eigenvalues of the model whose weights are in a file, then those of an exact solution if there is one.

    Raises:
        InputError: The file is none of weights, or the tier is not bilinear.
    """
    from bilin.models.bilinear.recurrence import Recurrence
    from bilin.workers.training.weights import load_trial

    task, model = load_trial(path)
    if not isinstance(model, Recurrence):
        raise InputError(
            "the tier of this trial has no matrix per token; accepted: bilinear tiers, such as full, cp, "
            "block_diagonal, rotation and real_diagonal"
        )
    machine = _machine(task)
    found = spectrum_of(model, is_exact=False)
    return found if machine is None else found + spectrum_of(_exact(machine), is_exact=True)


def _matrices(model: Recurrence) -> list[torch.Tensor]:
    """Return the matrix of each token."""
    tier, weights = model.transitions, {name: weight.detach().double() for name, weight in model.weights.items()}
    inputs = model.embedding.detach().double()
    if model.tier.input_independent:
        inputs = inputs.new_ones(len(inputs), 1)
    return [tier.matrix(weights, x) for x in inputs]


def _exact(machine: Sequence[Sequence[int]]) -> Recurrence:
    """Return a module of the tier `full` that simulates a machine."""
    from bilin.models.bilinear.full import Full
    from bilin.models.construct import construct

    return construct(Full(hidden=len(machine[0]), embedding=len(machine)), machine)


def spectrum_of(model: Recurrence, *, is_exact: bool) -> list[Eigenvalue]:
    """Return the eigenvalues of the matrix of each token, of a token from the largest modulus on."""
    import torch

    found = []
    for token, matrix in enumerate(_matrices(model)):
        values = torch.linalg.eigvals(matrix)
        largest = float(values.abs().max())
        if model.tier.scale_invariant and largest > 0:
            values = values / largest
        in_order = sorted(
            values.tolist(), key=lambda one: (-round(abs(one), 6), round(one.imag, 6), round(one.real, 6))
        )
        found += [Eigenvalue(token=token, is_exact=is_exact, value=complex(value)) for value in in_order]
    return found


def _machine(task: Task) -> list[list[int]] | None:
    """Return the next state by token and state, as sampled sequences show it; None if they show no machine."""
    import torch

    if task.num_classes > _MAX_STATES:
        return None
    batch = task.sample(torch.full((_NUM_SEQUENCES,), _LENGTH), torch.Generator().manual_seed(0))
    before, after, tokens = batch.targets[:, :-1], batch.targets[:, 1:], batch.tokens[:, 1:]
    seen = (before >= 0) & (after >= 0)
    steps = torch.stack([tokens[seen], before[seen], after[seen]], 1).unique(dim=0)
    if len(steps) != task.vocab_size * task.num_classes or len(steps[:, :2].unique(dim=0)) != len(steps):
        return None
    machine: list[list[int]] = steps[:, 2].view(task.vocab_size, task.num_classes).tolist()
    return machine
