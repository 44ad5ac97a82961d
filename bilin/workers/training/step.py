"""Training steps and forward passes: of one trial, or of several trials of one shape in one program, a stack.

On a CPU with one thread, a trial has the same bits alone and in any stack: see `bilin.models.stacking`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bilin.models.module import SequenceModel
from bilin.spec import TrainSpec
from bilin.tasks import IGNORED, Batch
from bilin.workers.training.state import TrialState

BETAS, EPS = (0.9, 0.999), 1e-8
"""Of Adam, as torch has them by default (Kingma, Ba 2015, arXiv 1412.6980, algorithm 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """Asks for the logits of a model in evaluation mode, without gradients."""

    model: SequenceModel
    tokens: Tensor
    num_tokens: Tensor
    every_token: bool

    @property
    def alike(self) -> tuple[object, ...]:
        """Requests for which this is equal can be answered together."""
        return Forward, self.tokens.shape, self.every_token


class UpdateError(Exception):
    """A step that failed when weights had begun to change, and must not be made again. The cause is what was raised."""


@contextmanager
def updating() -> Iterator[None]:
    """While weights change: raise an UpdateError in place of any other error."""
    try:
        yield
    except BaseException as error:  # whatever is raised, even an interrupt, the weights are neither old nor new
        raise UpdateError from error


class Stack:
    """Models of one shape as one model of many.

    Args:
        models: The members.
        share: Whether the models' own weights become parts of those of the stack, so that what changes one changes
            the other.

    Attributes:
        model: The one whose code runs.
        weights: Weights by name. Their first axis is the models.
        buffers: Buffers by name, in the same way.
        trained: The weights that are trained.
    """

    def __init__(self, models: Sequence[SequenceModel], *, share: bool = True) -> None:
        self.model = models[0]
        self.weights = _stacked([dict(model.named_parameters()) for model in models], share=share)
        self.buffers = _stacked([dict(model.named_buffers()) for model in models], share=share)
        self.trained = [weight for weight in self.weights.values() if weight.requires_grad]

    def __call__(
        self,
        tokens: Int[Tensor, "members batch time"],
        num_tokens: Int[Tensor, "members batch"],
        *,
        every_token: bool,
    ) -> Float[Tensor, "members batch ... classes"]:
        """Return the logits of each model for its own sequences."""
        model = self.model

        def run(weights: dict[str, Tensor], buffers: dict[str, Tensor], *sequences: Tensor) -> Tensor:
            logits: Tensor = functional_call(model, (weights, buffers), sequences, {"every_token": every_token})
            return logits

        logits: Tensor = vmap(run)(self.weights, self.buffers, tokens, num_tokens)
        return logits

    def first(self, count: int) -> Stack:
        """Return the first members as a stack, for evaluation; their weights stay where they are."""
        part = copy(self)
        part.weights = {name: weight.detach()[:count] for name, weight in self.weights.items()}
        part.buffers = {name: buffer[:count] for name, buffer in self.buffers.items()}
        part.trained = []
        return part

    @torch.no_grad()
    def put(self, index: int, model: SequenceModel, *, share: bool = True) -> None:
        """Copy the weights of a model into a free place. If shared, they are the model's own from then on."""
        for named, stacked in ((model.named_parameters(), self.weights), (model.named_buffers(), self.buffers)):
            for name, tensor in named:
                place = stacked[name].detach()[index]
                place.copy_(tensor)
                if share:
                    tensor.data = place

    @staticmethod
    def detach(model: SequenceModel) -> None:
        """Give a model weights and buffers of its own again, equal to those in its stack."""
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()


def _stacked(of_models: Sequence[dict[str, Tensor]], *, share: bool) -> dict[str, Tensor]:
    stacked = {}
    for name, first in of_models[0].items():
        tensors = [tensors[name] for tensors in of_models]
        together = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, row in zip(tensors, together, strict=True) if share else ():
            tensor.data = row
        stacked[name] = together.requires_grad_(first.requires_grad)
    return stacked


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks that are in use. A model is in one of them at most."""

    _by_models: dict[tuple[SequenceModel, ...], Stack] = field(default_factory=dict)

    def of(self, models: Sequence[SequenceModel]) -> Stack:
        """Return the stack of some models; a new one if they are not in one together."""
        key = tuple(models)
        if key not in self._by_models:
            for other in [other for other in self._by_models if not set(key).isdisjoint(other)]:
                del self._by_models[other]
            self._by_models[key] = Stack(models)
        return self._by_models[key]

    def keep(self, models: Sequence[SequenceModel]) -> None:
        """Forget the stacks of all other models, which have ended."""
        running = set(models)
        for ended in [members for members in self._by_models if not running.issuperset(members)]:
            del self._by_models[ended]

    def logits(self, requests: Sequence[Forward]) -> Sequence[Tensor]:
        """Return the logits of each request; all have the same shape."""
        return logits_of(requests)

    def step(self, states: Sequence[TrialState], batches: Sequence[Batch]) -> None:
        """Update the weights of some trials once, each with its own batch; all batches have the same shape."""
        for state in states:
            if not state.model.training:
                state.model.train()
        batch = Batch(*map(torch.stack, zip(*((b.tokens, b.targets, b.num_tokens) for b in batches), strict=True)))
        stack = self.of([state.model for state in states]) if len(states) > 1 else None
        losses, gradients = differentiate(
            stack or states[0].model,
            stack.trained if stack else states[0].weights,
            batch,
            every_token=states[0].spec.cell.supervision == "every_token",
        )
        with updating():
            for state, loss, grads in zip(states, losses, gradients, strict=True):
                state.lr = lr_at(state.spec.cell.train, state.spec.lr, state.step)
                state.num_updates.fill_(state.step + 1)
                update(state, grads, state.lr)
                state.loss_sum += loss
                state.step += 1


@torch.no_grad()
def logits_of(requests: Sequence[Forward]) -> Sequence[Tensor]:
    """Return the logits of each request; all have the same shape."""
    models, first = [request.model.eval() for request in requests], requests[0]
    if len(requests) == 1:
        logits: Tensor = first.model(first.tokens, first.num_tokens, every_token=first.every_token)
        return [logits]
    tokens, num_tokens = (
        torch.stack(list(of_each)) for of_each in zip(*((r.tokens, r.num_tokens) for r in requests), strict=True)
    )
    return Stack(models, share=False)(tokens, num_tokens, every_token=first.every_token).unbind()


def differentiate(
    model: SequenceModel | Stack, weights: Sequence[Tensor], batch: Batch, *, every_token: bool
) -> tuple[Float[Tensor, " members"], Sequence[Sequence[Tensor]]]:
    """Return the loss of each member of a stack on its own batch, and its gradients.

    Args:
        model: The stack; or a model, which counts as a stack of one.
        weights: Its weights that are trained.
        batch: Its tensors have the members as their first axis.
        every_token: Whether all labels count, or only that of the last token of each sequence.
    """
    tokens, targets, num_tokens = batch.tokens, batch.targets, batch.num_tokens
    if not every_token:
        targets = targets.gather(2, num_tokens.unsqueeze(2) - 1)
    if isinstance(model, Stack):
        logits = model(tokens, num_tokens, every_token=every_token)
    else:
        logits = model(tokens[0], num_tokens[0], every_token=every_token).unsqueeze(0)
    losses = _losses(logits, targets)
    found = torch.autograd.grad(losses.sum(), weights, materialize_grads=True)
    grads = [grad.contiguous() for grad in found]  # as the weights are; Adam goes through memory as it lies
    if isinstance(model, Stack):
        return losses.detach(), list(zip(*(grad.unbind() for grad in grads), strict=True))
    return losses.detach(), [grads]


def _losses(logits: Float[Tensor, "members ... classes"], targets: Int[Tensor, "members ..."]) -> Tensor:
    """Return the mean cross-entropy of each member over its labels."""
    each = nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")  # 0 for IGNORED
    return each.view_as(targets).flatten(1).sum(1) / (targets != IGNORED).flatten(1).sum(1)


@torch.no_grad()
def update(state: TrialState, grads: Sequence[Tensor], lr: float | Tensor) -> None:
    """Clip the gradients, and make one step of Adam, or of AdamW, the one that `TrialState.num_updates` counts."""
    train = state.spec.cell.train
    if train.clip_norm is not None:
        norm = torch.nn.utils.get_total_norm(grads)
        torch._foreach_mul_(list(grads), (train.clip_norm / (norm + 1e-6)).clamp(max=1.0))
    adam = torch._fused_adam_ if train.optimizer == "adam" else torch._fused_adamw_
    for weight_decay, positions in state.decays:
        adam(
            [state.weights[position] for position in positions],
            [grads[position] for position in positions],
            [state.means[position] for position in positions],
            [state.squares[position] for position in positions],
            [],
            [state.num_updates] * len(positions),
            lr=lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=weight_decay,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )


def lr_at(train: TrainSpec, lr: float, step: int) -> float:
    """Return the learning rate of a step, counted from 0. The schedules that decay reach 0 after the last step."""
    if step < train.warmup_steps:
        return lr * (step + 1) / train.warmup_steps
    progress = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
    if train.schedule == "cosine":
        return lr * (1 + math.cos(math.pi * progress)) / 2
    return lr * (1 - progress) if train.schedule == "linear" else lr
