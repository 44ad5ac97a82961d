"""Training steps and forward passes: of one trial, or of several trials of one shape in one program, a stack.

On a CPU with one thread, a trial has the same bits alone and in any stack: see `bilin.models.stacking`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


class Stack:
    """Models of one shape as one model of many.

    Args:
        models: The members.
        share: Whether the models' own weights become parts of those of the stack, so that what changes one changes
            the other.

    Attributes:
        weights: Weights by name. Their first axis is the models.
        buffers: Buffers by name, in the same way.
    """

    def __init__(self, models: Sequence[SequenceModel], *, share: bool = True) -> None:
        self._models = tuple(models)
        self.weights = _stacked([dict(model.named_parameters()) for model in models], share=share)
        self.buffers = _stacked([dict(model.named_buffers()) for model in models], share=share)

    def __call__(
        self,
        tokens: Int[Tensor, "members batch time"],
        num_tokens: Int[Tensor, "members batch"],
        *,
        every_token: bool,
    ) -> Float[Tensor, "members batch ... classes"]:
        """Return the logits of each model for its own sequences."""
        model = self._models[0]

        def run(weights: dict[str, Tensor], buffers: dict[str, Tensor], *sequences: Tensor) -> Tensor:
            logits: Tensor = functional_call(model, (weights, buffers), sequences, {"every_token": every_token})
            return logits

        logits: Tensor = vmap(run)(self.weights, self.buffers, tokens, num_tokens)
        return logits


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

    _by_models: dict[tuple[int, ...], Stack] = field(default_factory=dict)

    def of(self, models: Sequence[SequenceModel]) -> Stack:
        """Return the stack of some models; a new one if they are not in one together."""
        key = tuple(map(id, models))
        if key not in self._by_models:
            for other in [other for other in self._by_models if not set(key).isdisjoint(other)]:
                del self._by_models[other]
            self._by_models[key] = Stack(models)
        return self._by_models[key]

    def keep(self, models: Sequence[SequenceModel]) -> None:
        """Forget the stacks of all other models, which have ended."""
        running = set(map(id, models))
        for ended in [members for members in self._by_models if not running.issuperset(members)]:
            del self._by_models[ended]

    def step(self, states: Sequence[TrialState], batches: Sequence[Batch]) -> None:
        """Update the weights of some trials once, each with its own batch; all batches have the same shape."""
        for state in states:
            if not state.model.training:
                state.model.train()
        every_token = states[0].spec.cell.supervision == "every_token"
        tokens = torch.stack([batch.tokens for batch in batches])
        num_tokens = torch.stack([batch.num_tokens for batch in batches])
        targets = torch.stack([batch.targets for batch in batches])
        if not every_token:
            targets = targets.gather(2, num_tokens.unsqueeze(2) - 1)
        if len(states) == 1:
            logits = states[0].model(tokens[0], num_tokens[0], every_token=every_token).unsqueeze(0)
        else:
            logits = self.of([state.model for state in states])(tokens, num_tokens, every_token=every_token)
        losses = _losses(logits, targets)
        for state, loss, grads in zip(states, losses.detach(), self._gradients(states, losses), strict=True):
            _update(state, grads)
            state.loss_sum += loss
            state.step += 1

    def _gradients(self, states: Sequence[TrialState], losses: Tensor) -> Sequence[Sequence[Tensor]]:
        weights: Sequence[Tensor] = states[0].weights
        if len(states) > 1:
            stack = self.of([state.model for state in states])
            weights = [weight for weight in stack.weights.values() if weight.requires_grad]
        found = torch.autograd.grad(losses.sum(), weights, materialize_grads=True)
        grads = [grad.contiguous() for grad in found]  # as the weights are; Adam goes through memory as it lies
        return [grads] if len(states) == 1 else list(zip(*(grad.unbind() for grad in grads), strict=True))


def _losses(logits: Float[Tensor, "members ... classes"], targets: Int[Tensor, "members ..."]) -> Tensor:
    """Return the mean cross-entropy of each member over its labels."""
    each = nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")  # 0 for IGNORED
    return each.view_as(targets).flatten(1).sum(1) / (targets != IGNORED).flatten(1).sum(1)


@torch.no_grad()
def _update(state: TrialState, grads: Sequence[Tensor]) -> None:
    """Clip the gradients, and make one step of Adam, or of AdamW."""
    train = state.spec.cell.train
    if train.clip_norm is not None:
        norm = torch.nn.utils.get_total_norm(grads)
        torch._foreach_mul_(list(grads), (train.clip_norm / (norm + 1e-6)).clamp(max=1.0))
    state.lr = lr_at(train, state.spec.lr, state.step)
    state.num_updates.fill_(state.step + 1)
    update = torch._fused_adam_ if train.optimizer == "adam" else torch._fused_adamw_
    update(
        state.weights,
        list(grads),
        state.means,
        state.squares,
        [],
        [state.num_updates] * len(grads),
        lr=state.lr,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=train.weight_decay,
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
