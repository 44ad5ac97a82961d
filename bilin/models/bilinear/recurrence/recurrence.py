"""The module of every bilinear tier: embedding, initial state, recurrence, readout."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.bilinear.bilinear import Bilinear, Commuting
from bilin.models.bilinear.recurrence.rows import Packed
from bilin.models.bilinear.recurrence.unroll import norm, unroll
from bilin.models.module import SequenceModel, State


class Recurrence(SequenceModel):
    """h_t = A_x h_{t-1}, from a learned initial state, read by a linear map without bias.

    Without additive terms the logits' argmax does not depend on the size of the state, and the state is
    kept in range by dividing by its norm: in evaluation after each step; in training, by `normalize`,
    before the readout (``readout``), there and after each step (``state``: the same values and gradients,
    for products that would leave the range of floats), or not at all (``none``).

    Shapes: embedding (V, D), initial (H), weights as the tier declares them (with D = 1 where they do not depend
    on the token), additive B (H, D) and c (H), readout (classes, H).
    """

    tokens_at_once: ClassVar[int] = 2**19

    def __init__(self, tier: Bilinear, *, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.tier = tier
        hidden, embedding = tier.hidden, tier.embedding
        self.embedding = nn.Parameter(torch.randn(vocab_size, embedding))
        self.transitions = _of_one_token(tier) if tier.input_independent else tier
        self.initial = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(shape) * std) for name, (shape, std) in self.transitions.weights.items()}
        )
        if tier.additive:
            self.additive_input = nn.Parameter(torch.randn(hidden, embedding) / (hidden * embedding) ** 0.5)
            self.additive_bias = nn.Parameter(torch.zeros(hidden))
        self.readout: nn.Linear = nn.Linear(hidden, num_classes, bias=False)

    def advance(
        self, tokens: Int[Tensor, "batch time"], state: State = None
    ) -> tuple[Float[Tensor, "batch time width"], State]:
        """See `SequenceModel.advance`; the state is h."""
        packed = Packed(tokens, tokens.new_full((len(tokens),), tokens.shape[1]))
        states = list(self._states(packed, self.initial if state is None else state))
        return self._read(torch.stack(states, dim=1)), states[-1]

    def forward(
        self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"], *, every_token: bool = False
    ) -> Float[Tensor, "batch *time classes"]:
        """See `SequenceModel.forward`; without the padding, and without a loop over time where matrices commute."""
        if isinstance(self.tier, Commuting) and not self.tier.additive:
            states = self._in_closed_form(self.tier, tokens, num_tokens, every_token)
        else:
            packed = Packed(tokens, num_tokens)
            unrolled = self._states(packed, self.initial)
            states = packed.pad(unrolled) if every_token else packed.last(unrolled)
        logits: Tensor = self.readout(self._read(states))
        return logits

    def _read(self, states: Tensor) -> Tensor:
        if self.tier.scale_invariant and (not self.training or self.normalize != "none"):
            return states / norm(states)
        return states

    def _in_closed_form(self, tier: Commuting, tokens: Tensor, num_tokens: Tensor, every_token: bool) -> Tensor:
        logarithm = tier.logarithm(self._weights, self.embedding)
        vocab, width = logarithm.shape
        if not every_token:
            there = torch.arange(tokens.shape[1], device=tokens.device) < num_tokens[:, None]
            counts = logarithm.new_zeros(len(tokens), vocab)
            exponents = counts.scatter_add_(1, tokens, there.to(counts.dtype)) @ logarithm
        elif self.training or vocab > width:
            exponents = logarithm[tokens].cumsum(1)
        else:  # counts are exact at any length, and there are fewer of them
            counts = logarithm.new_zeros(*tokens.shape, vocab).scatter_(2, tokens[:, :, None], 1.0)
            exponents = counts.cumsum(1) @ logarithm
        any_scale = not self.training or self.normalize != "none"
        return tier.apply(exponents, self.initial, any_scale=any_scale)

    def _states(self, packed: Packed, initial: Tensor) -> Iterator[Tensor]:
        transition = self.transitions.transition(self._weights, self.codes)
        added = self.embedding @ self.additive_input.T + self.additive_bias if self.tier.additive else None
        rescale = self.tier.scale_invariant and (not self.training or self.normalize == "state")
        return unroll(transition, packed, initial, added=added, rescale=rescale)

    @property
    def codes(self) -> Float[Tensor, "vocab width"]:
        """What A_x is a function of: the embedding, or the same for every token."""
        if self.tier.input_independent:
            return self.embedding.new_ones(len(self.embedding), 1)
        return self.embedding

    @property
    def _weights(self) -> dict[str, Tensor]:
        return dict(self.weights.items())


def _of_one_token(tier: Bilinear) -> Bilinear:
    """The tier whose one matrix is A: an embedding of one number, which is 1 for every token."""
    return dataclasses.replace(tier, embedding=1, input_independent=False)
