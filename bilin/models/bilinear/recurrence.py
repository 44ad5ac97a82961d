"""The torch module of every bilinear tier, and its naive twin.

    h_t = A_x h_{t-1} [+ B x + c]        logits = readout(h_t / |h_t|)        without the norm if terms are added

`Recurrence` is fast: it computes what A_x needs once per token of the vocabulary, leaves out the padding, and skips
the loop over time where the matrices commute. `naive_forward` follows the definition: one explicit matrix per token,
a loop over sequences and time. Tests compare the two in values and gradients; benchmarks use the twin as baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.bilinear.bilinear import Bilinear, Commuting, Transition
from bilin.models.bilinear.layout import Layout, Packed, Padded
from bilin.models.layers import Linear, linear
from bilin.models.module import Features, Logits, NumTokens, SequenceModel, State, Tokens
from bilin.models.stacking import in_stack, look_up


class Recurrence(SequenceModel):
    """h_t = A_x h_{t-1}, from a learned initial state, read by a linear map without bias.

    Without additive terms, the argmax of the logits does not depend on the size of the state, and the state is kept
    in range by dividing by its norm. In evaluation this happens after every step. In training, `normalize` decides:
    before the readout (``readout``); before it and after every step (``state``: the same values and gradients, for
    products that would leave the range of floats); or not at all (``none``).

    With additive terms, the size matters. The state then has its scale s as one more number, and both are multiplied
    by a power of 2 when the state is large, which rounds nothing:

        h_t = A_x h_{t-1} + s_{t-1} (B x + c)        s_t = s_{t-1}        logits = readout(h_t / s_t)

    Where h / s is too large for a float, the logits are those of a smaller multiple of it: their argmax is the same.

    Shapes: embedding (V, D), a buffer if it is one-hot, initial (H), weights as the tier declares them (with D = 1
    where they do not depend on the token), additive B (H, D) and c (H), readout (classes, H).
    """

    tokens_at_once = 2**19
    embedding: Tensor

    def __init__(self, tier: Bilinear, *, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.tier = tier
        hidden, embedding = tier.hidden, tier.embedding
        if tier.onehot:
            self.register_buffer("embedding", torch.eye(vocab_size, embedding), persistent=False)
        else:
            self.embedding = nn.Parameter(torch.randn(vocab_size, embedding))
        # One matrix for all tokens is that of an embedding of one number, which is 1 for every token.
        independent = tier.input_independent
        self.transitions = dataclasses.replace(tier, embedding=1, input_independent=False) if independent else tier
        self.initial = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(shape) * std) for name, (shape, std) in self.transitions.weights.items()}
        )
        if tier.additive:
            self.additive_input = nn.Parameter(torch.randn(hidden, embedding) / (hidden * tier.squared_length) ** 0.5)
            self.additive_bias = nn.Parameter(torch.zeros(hidden))
        self.readout: nn.Linear = Linear(hidden, num_classes, bias=False)

    def advance(self, tokens: Tokens, state: State = None) -> tuple[Features, State]:
        """See `SequenceModel.advance`. The state is h, with additive terms followed by s."""
        num_tokens = tokens.new_full((len(tokens),), tokens.shape[1])
        states = self._unrolled(tokens, num_tokens, self._initial if state is None else state, every_token=True)
        return self._features(states), states[:, -1]

    def forward(self, tokens: Tokens, num_tokens: NumTokens, *, every_token: bool = False) -> Logits:
        """See `SequenceModel.forward`."""
        if isinstance(self.tier, Commuting) and not self.tier.additive:
            states = self._in_closed_form(self.tier, tokens, num_tokens, every_token)
        else:
            states = self._unrolled(tokens, num_tokens, self._initial, every_token=every_token)
        logits: Tensor = self.readout(self._features(states))
        return logits

    @property
    def codes(self) -> Float[Tensor, "vocab width"]:
        """The vectors that A_x is a function of: the embedding, or the same vector for every token."""
        if self.tier.input_independent:
            return self.embedding.new_ones(len(self.embedding), 1)
        return self.embedding

    @property
    def _initial(self) -> Tensor:
        return torch.cat([self.initial, self.initial.new_ones(1)]) if self.tier.additive else self.initial

    def _features(self, states: Tensor) -> Tensor:
        if self.tier.additive:
            smallest = torch.finfo(states.dtype).tiny ** 0.5
            return states[..., :-1] / states[..., -1:].detach().clamp_min(smallest)
        if not self.training or self.normalize != "none":
            return states / norm(states)
        return states

    def _in_closed_form(self, tier: Commuting, tokens: Tensor, num_tokens: Tensor, every_token: bool) -> Tensor:
        logarithm = tier.logarithm(dict(self.weights.items()), self.embedding)
        vocab, width = logarithm.shape
        if not every_token:
            present = torch.arange(tokens.shape[1], device=tokens.device) < num_tokens[:, None]
            counts = logarithm.new_zeros(len(tokens), vocab)
            counts.scatter_add_(1, tokens, present.to(counts.dtype))
            exponents = linear(counts, logarithm.T)
        elif self.training or vocab > width:
            exponents = look_up(logarithm, tokens).cumsum(1)
        else:  # counts are exact at any length, and there are fewer of them
            counts = tokens[:, :, None] == torch.arange(vocab, device=tokens.device)
            exponents = linear(counts.to(logarithm.dtype).cumsum(1), logarithm.T)
        any_scale = not self.training or self.normalize != "none"
        return tier.apply(exponents, self.initial, any_scale=any_scale)

    def _unrolled(
        self, tokens: Tensor, num_tokens: Tensor, initial: Float[Tensor, "*batch state"], *, every_token: bool
    ) -> Tensor:
        """Return the last state of each sequence, or the states at every time, those of all members in one loop."""
        names = list(self.weights)
        added = linear(self.embedding, self.additive_input, self.additive_bias) if self.tier.additive else None
        rescale = self.tier.scale_invariant and (not self.training or self.normalize == "state")
        unroll = Unroll(tier=self.transitions, rescale=rescale, every_token=every_token)

        def run(tokens: Tensor, num_tokens: Tensor, initial: Tensor, codes: Tensor, *rest: Tensor) -> tuple[Tensor]:
            added = rest[0] if self.tier.additive else None
            weights = dict(zip(names, rest[self.tier.additive :], strict=True))
            return (unroll(tokens, num_tokens, initial, codes, added, weights),)

        extra = () if added is None else (added,)
        (states,) = in_stack(run, tokens, num_tokens, initial, self.codes, *extra, *self.weights.values())
        return states


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroll:
    """The loop over time. All tensors have the members of a stack as their first axis.

    Attributes:
        tier: What makes A_x of a code.
        rescale: Divide the state by its norm after each step. The norm counts as a constant: the loss does not depend
            on the scale of the state, so the gradient is the same.
        every_token: Return the states at every time, instead of the last one of each sequence.
    """

    tier: Bilinear
    rescale: bool
    every_token: bool

    def __call__(
        self,
        tokens: Tensor,
        num_tokens: Tensor,
        initial: Tensor,
        codes: Tensor,
        added: Tensor | None,
        weights: Mapping[str, Tensor],
    ) -> Tensor:
        """Return states, from the initial ones or the same for all, the codes of all tokens, and what each adds."""
        vocab = codes.shape[1]
        layout: Layout
        if sees_values(tokens):
            multiple = self.tier.rows_multiple(tokens.shape[1])
            layout = Packed(tokens, num_tokens, vocab=vocab, multiple=multiple)
        else:
            layout = Padded(tokens, num_tokens, vocab=vocab)
        is_shared = initial.ndim == 2
        start = initial.unsqueeze(1).expand(-1, tokens.shape[1], -1) if is_shared else layout.start(initial)
        states = self._states(layout, start, self.tier.transition(weights, codes), added)
        return layout.pad(states) if self.every_token else layout.last(states)

    def _states(
        self, layout: Layout, states: Tensor, transition: Transition, added: Tensor | None
    ) -> Iterator[Float[Tensor, "members rows hidden"]]:
        """Yield the states at each time, from those before the first one, in the order of the layout."""
        for rows in layout.steps:
            before = states if states.shape[1] == rows.size else states[:, : rows.size]
            if added is not None:
                scale = before[..., -1:]
                states = transition(rows, before[..., :-1].contiguous()) + scale * rows.take(added)
                is_large = states.detach().abs().amax(-1, keepdim=True) > LARGE
                states = torch.cat([states, scale], -1) * torch.where(is_large, 1 / LARGE, 1.0).to(states.dtype)
            else:
                states = transition(rows, before)
            if self.rescale:
                states = states / norm(states.detach())
            if layout.keeps_dead and rows.live is not None:
                states = torch.where(rows.live.unsqueeze(2), states, before)
            yield states


LARGE = 2.0**32
"""Additive terms: size of a number of the state from which the state is made smaller, by this factor."""


def sees_values(tokens: Tensor) -> bool:
    """Return whether a program may look at values: on a CPU. On a GPU it would wait for them, and not be capturable."""
    return not tokens.is_cuda


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
