"""The torch module of every bilinear tier, and its naive twin.

    h_t = A_x h_{t-1} [+ B x + c]        logits = readout(h_t / |h_t|)

`Recurrence` is fast: it computes what A_x needs once per token of the vocabulary, leaves out the padding, and skips
the loop over time where the matrices commute. `naive_forward` follows the definition: one explicit matrix per token,
a loop over sequences and time. Tests compare the two in values and gradients; benchmarks use the twin as baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.bilinear.bilinear import Bilinear, Commuting
from bilin.models.bilinear.matrices import Rows
from bilin.models.module import Features, Logits, NumTokens, SequenceModel, State, Tokens


class Recurrence(SequenceModel):
    """h_t = A_x h_{t-1}, from a learned initial state, read by a linear map without bias.

    Without additive terms, the argmax of the logits does not depend on the size of the state, and the state is kept
    in range by dividing by its norm. In evaluation this happens after every step. In training, `normalize` decides:
    before the readout (``readout``); before it and after every step (``state``: the same values and gradients, for
    products that would leave the range of floats); or not at all (``none``).

    Shapes: embedding (V, D), initial (H), weights as the tier declares them (with D = 1 where they do not depend
    on the token), additive B (H, D) and c (H), readout (classes, H).
    """

    tokens_at_once = 2**19

    def __init__(self, tier: Bilinear, *, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.tier = tier
        hidden, embedding = tier.hidden, tier.embedding
        self.embedding = nn.Parameter(torch.randn(vocab_size, embedding))
        # One matrix for all tokens is that of an embedding of one number, which is 1 for every token.
        independent = tier.input_independent
        self.transitions = dataclasses.replace(tier, embedding=1, input_independent=False) if independent else tier
        self.initial = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(shape) * std) for name, (shape, std) in self.transitions.weights.items()}
        )
        if tier.additive:
            self.additive_input = nn.Parameter(torch.randn(hidden, embedding) / (hidden * embedding) ** 0.5)
            self.additive_bias = nn.Parameter(torch.zeros(hidden))
        self.readout: nn.Linear = nn.Linear(hidden, num_classes, bias=False)

    def advance(self, tokens: Tokens, state: State = None) -> tuple[Features, State]:
        """See `SequenceModel.advance`. The state is h."""
        packed = Packed(tokens, tokens.new_full((len(tokens),), tokens.shape[1]))
        states = list(self._states(packed, self.initial if state is None else state))
        return self._normalized(torch.stack(states, dim=1)), states[-1]

    def forward(self, tokens: Tokens, num_tokens: NumTokens, *, every_token: bool = False) -> Logits:
        """See `SequenceModel.forward`."""
        if isinstance(self.tier, Commuting) and not self.tier.additive:
            states = self._in_closed_form(self.tier, tokens, num_tokens, every_token)
        else:
            packed = Packed(tokens, num_tokens)
            unrolled = self._states(packed, self.initial)
            states = packed.pad(unrolled) if every_token else packed.last(unrolled)
        logits: Tensor = self.readout(self._normalized(states))
        return logits

    @property
    def codes(self) -> Float[Tensor, "vocab width"]:
        """The vectors that A_x is a function of: the embedding, or the same vector for every token."""
        if self.tier.input_independent:
            return self.embedding.new_ones(len(self.embedding), 1)
        return self.embedding

    def _normalized(self, states: Tensor) -> Tensor:
        if self.tier.scale_invariant and (not self.training or self.normalize != "none"):
            return states / norm(states)
        return states

    def _in_closed_form(self, tier: Commuting, tokens: Tensor, num_tokens: Tensor, every_token: bool) -> Tensor:
        logarithm = tier.logarithm(dict(self.weights.items()), self.embedding)
        vocab, width = logarithm.shape
        if not every_token:
            present = torch.arange(tokens.shape[1], device=tokens.device) < num_tokens[:, None]
            counts = logarithm.new_zeros(len(tokens), vocab)
            exponents = counts.scatter_add_(1, tokens, present.to(counts.dtype)) @ logarithm
        elif self.training or vocab > width:
            exponents = logarithm[tokens].cumsum(1)
        else:  # counts are exact at any length, and there are fewer of them
            counts = logarithm.new_zeros(*tokens.shape, vocab).scatter_(2, tokens[:, :, None], 1.0)
            exponents = counts.cumsum(1) @ logarithm
        any_scale = not self.training or self.normalize != "none"
        return tier.apply(exponents, self.initial, any_scale=any_scale)

    def _states(
        self, packed: Packed, initial: Float[Tensor, " hidden"] | Float[Tensor, "batch hidden"]
    ) -> Iterator[Tensor]:
        """Yield the states at each time, of the sequences that have not ended.

        Where the state is divided by its norm after each step, the norm counts as a constant: the loss does not
        depend on the scale of the state, so the gradient is the same.
        """
        transition = self.transitions.transition(dict(self.weights.items()), self.codes)
        added = self.embedding @ self.additive_input.T + self.additive_bias if self.tier.additive else None
        rescale = self.tier.scale_invariant and (not self.training or self.normalize == "state")
        states = initial.expand(packed.sizes[0], -1)  # one for all, or one for each in the order of the layout
        for rows in packed.steps:
            states = transition(rows, states[: len(rows.tokens)])
            if added is not None:
                states = states + added.index_select(0, rows.tokens)
            if rescale:
                states = states / norm(states.detach())
            yield states


class Packed:
    """Sequences of mixed lengths laid out time by time, the longest first, without padding.

    At each time the sequences that have not ended come first, so a step computes only those, on a slice.

    Attributes:
        sizes: Number of sequences that have a token at each time; never increasing.
        steps: The tokens of those sequences, at each time.
    """

    def __init__(self, tokens: Tokens, num_tokens: NumTokens) -> None:
        order = torch.argsort(num_tokens, descending=True, stable=True)
        present = torch.arange(tokens.shape[1], device=tokens.device)[:, None] < num_tokens[order]
        self._sizes = present.sum(1)
        self._rank = torch.argsort(order)
        self.sizes: list[int] = [size for size in self._sizes.tolist() if size]
        self.steps = Rows.split(tokens[order].T[present], self.sizes)

    def last(self, states: Iterable[Tensor]) -> Float[Tensor, "batch width"]:
        """Return the state after the last token of each sequence, from the states at each time."""
        ended = [now[size:] for now, size in zip(states, [*self.sizes[1:], 0], strict=True)]
        return torch.cat(ended[::-1]).index_select(0, self._rank)

    def pad(self, states: Iterable[Tensor]) -> Features:
        """Return the states of each sequence, from the states at each time; those in the padding are meaningless."""
        laid_out = torch.cat(list(states))
        position = (self._sizes.cumsum(0) - self._sizes)[None, :] + self._rank[:, None]
        return laid_out[position.clamp(max=len(laid_out) - 1)]


def norm(states: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows 1"]:
    """Return the Euclidean norm of each state, never 0."""
    size: Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return size.clamp_min(torch.finfo(states.dtype).tiny)


def naive_forward(module: Recurrence, tokens: Tokens, num_tokens: NumTokens, *, every_token: bool = False) -> Logits:
    """Compute `Recurrence.forward` as its definition says, with the parameters of a module."""
    tier, weights = module.tier, dict(module.weights.items())
    normalize = module.normalize if module.training else "state"
    rows = []
    for row, num in zip(tokens, num_tokens.tolist(), strict=True):
        state: Tensor = module.initial
        logits = []
        for token in row[:num]:
            x = module.embedding[token]
            state = module.transitions.matrix(weights, module.codes[token]) @ state
            if tier.additive:
                state = state + module.additive_input @ x + module.additive_bias
            elif normalize == "state":
                state = state / state.norm().detach()
            read = state if tier.additive or normalize == "none" else state / state.norm()
            logits.append(module.readout(read))
        rows.append(torch.stack(logits) if every_token else logits[-1])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True) if every_token else torch.stack(rows)
