"""Building blocks of layered tiers: the residual stack, a short convolution, and a gated perceptron.

H is the width of the residual stream, V the number of tokens in the vocabulary, K the number of tokens in a
convolution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.module import Features, State, Tokens, ZeroStateModel
from bilin.models.pointwise import silu
from bilin.models.stacking import in_stack, is_stacked, look_up

if TYPE_CHECKING:
    from bilin.models.tier import LayeredTier

Hidden: TypeAlias = Float[Tensor, "batch time hidden"]
"""Vectors of the residual stream."""

TINY = 400
"""Multiplications below which torch does a batch of matrix products in a loop of its own, and one by a library."""


class Layer(nn.Module, ABC):
    """One causal layer: maps a vector at each time to a vector of the same width.

    Attributes:
        tokens_at_once: See `SequenceModel.tokens_at_once`; a stack takes the minimum over its layers.
    """

    tokens_at_once: ClassVar[int] = 2**17

    @abstractmethod
    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """Return what is added to the residual stream, from its norm; for the state see `SequenceModel.advance`."""


class Stack(ZeroStateModel):
    """Embedding, residual layers, a final norm, and a readout without bias.

        x <- x + layer(norm(x))

    Shapes: embedding as in `ZeroStateModel`, readout (classes, H).
    """

    def __init__(self, tier: LayeredTier, *, vocab_size: int, num_classes: int) -> None:
        layers, hidden = tier.make_layers(), tier.hidden  # drawn before the embedding
        super().__init__(tier, vocab_size=vocab_size, width=hidden)
        norm: Callable[[int], nn.Module] = partial(nn.RMSNorm, eps=1e-5) if tier.norm == "rms" else LayerNorm
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm(hidden) for _ in layers)
        self.last_norm = norm(hidden)
        self.readout = Linear(hidden, num_classes, bias=False)
        self.tokens_at_once = min(layer.tokens_at_once for layer in layers)

    def read(self, tokens: Tokens, state: State) -> tuple[Features, State]:
        """See `ZeroStateModel.read`. The state holds the state of every layer."""
        return self.through(look_up(self.embedding, tokens), state)

    def through(self, x: Hidden, state: State) -> tuple[Hidden, State]:
        """Apply all layers and the final norm to embedded tokens."""
        states = []
        for layer, norm, layer_state in zip(self.layers, self.norms, state or (None,) * len(self.layers), strict=True):
            added, layer_state = layer(norm(x), layer_state)
            x = x + added
            states.append(layer_state)
        return self.last_norm(x), tuple(states)


class Linear(nn.Linear):
    """`torch.nn.Linear`, with the same bits in a stack."""

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """Return W x + b."""
        return linear(x, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*rows inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*rows outputs"]:
    """Return W x + b, with the same bits in a stack.

    The kernels for tiny products, and for those of one row or column, differ with the number of products.
    """
    (outputs, inputs), size = weight.shape, x.numel()
    is_small = 1 in (size // inputs, outputs, inputs) or size * outputs < TINY
    if not is_small and not is_stacked(x, weight):
        return nn.functional.linear(x.contiguous(), weight, bias)
    rows, biases = x.reshape(-1, x.shape[-1]), () if bias is None else (bias,)
    (y,) = in_stack(_small_linear if is_small else _linear, rows, weight, *biases)
    return y.view(*x.shape[:-1], -1)


def _small_linear(x: Tensor, weight: Tensor, *bias: Tensor) -> tuple[Tensor]:
    y = (x.unsqueeze(2) * weight.unsqueeze(1)).sum(3)
    return (y + bias[0].unsqueeze(1) if bias else y,)


def linear_of_members(
    x: Float[Tensor, "members rows inputs"], weight: Float[Tensor, "members outputs inputs"], *bias: Tensor
) -> Float[Tensor, "members rows outputs"]:
    """Return W x + b of all members of a stack."""
    y: Tensor = _Linear.apply(x, weight, *bias)  # type: ignore[no-untyped-call]
    return y


def _linear(*tensors: Tensor) -> tuple[Tensor]:
    return (linear_of_members(*tensors),)


class _Linear(torch.autograd.Function):
    """W x + b of all members, the first axis, with the products of torch's gradient of a linear map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        if bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        x_grad = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None
        weight_grad = torch.bmm(x.mT, grad).mT if weight.mT.is_contiguous() else torch.bmm(grad.mT, x)
        return x_grad, weight_grad, grad.sum(1) if ctx.has_bias else None


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm`, with the same bits in a stack."""

    def forward(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        """Return weight ∘ (x - mean) / deviation + bias."""
        if not is_stacked(x, self.weight):
            return nn.functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        if x.is_cuda:
            return nn.functional.layer_norm(x, self.normalized_shape, eps=self.eps) * self.weight + self.bias
        (y,) = in_stack(self._of_members, x, self.weight, self.bias)
        return y

    def _of_members(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor]:
        """Norm each member by itself: torch's kernel takes one weight, and is faster than several on a CPU."""
        members = zip(x, weight, bias, strict=True)
        return (
            torch.stack([nn.functional.layer_norm(x, self.normalized_shape, w, b, self.eps) for x, w, b in members]),
        )


class GatedPerceptron(Layer):
    """W_o (φ(W_g x) ∘ W_v x), of inner width F, without biases (Shazeer 2020, arXiv 2002.05202).

    Shapes: ``inputs.weight`` (2F, H), with W_g above W_v; ``output.weight`` (H, F).
    """

    def __init__(self, hidden: int, inner: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.inputs = Linear(hidden, 2 * inner, bias=False)
        self.output = Linear(inner, hidden, bias=False)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`. There is no state."""
        gate, value = self.inputs(x).chunk(2, dim=-1)
        return self.output(self.activation(gate) * value), state


class SwiGLU(GatedPerceptron):
    """The gated perceptron with SiLU, of inner width ⌊8H/3⌋."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, 8 * hidden // 3, silu)


class ShortConvolution(nn.Module):
    """Causal convolution over the last K tokens, each channel by itself.

        y_t = Σ_k w_k ∘ x_{t-K+1+k} + bias        x_t = 0 before the first token

    Shapes: ``convolution.weight`` (channels, 1, K), ``convolution.bias`` (channels). Initial values are torch's.
    """

    def __init__(self, channels: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, channels, size, groups=channels, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch time channels"], state: Float[Tensor, "batch past channels"] | None = None
    ) -> tuple[Float[Tensor, "batch time channels"], Float[Tensor, "batch past channels"]]:
        """Return the convolution, and the last K - 1 inputs as the state of the next call."""
        weight, bias = self.convolution.weight[:, 0].T, self.convolution.bias
        past = len(weight) - 1
        if state is None:
            state = x.new_zeros(len(x), past, x.shape[2])
        x = torch.cat([state, x], dim=1)
        (y,) = in_stack(_shifted_sum, x, weight)
        return y if bias is None else y + bias, x[:, x.shape[1] - past :]


def _shifted_sum(x: Tensor, weight: Tensor) -> tuple[Tensor]:
    return (_ShiftedSum.apply(x, weight.contiguous()),)  # type: ignore[no-untyped-call]


class _ShiftedSum(torch.autograd.Function):
    """Σ_k w_k ∘ x_{t+k} as products of large slices; torch's convolution is slow with one group a channel.

    x is (members, batch, time, channels), the weight (members, K, channels).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        time = x.shape[2] - weight.shape[1] + 1
        first, *more = weight[:, :, None, None].unbind(1)
        y = x[:, :, :time] * first
        for k, w in enumerate(more, 1):
            y.addcmul_(x[:, :, k : k + time], w)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        x_grad, sums = torch.zeros_like(x), []
        for k, w in enumerate(weight[:, :, None, None].unbind(1)):
            x_grad[:, :, k : k + grad.shape[2]].addcmul_(grad, w)
            sums.append((grad * x[:, :, k : k + grad.shape[2]]).sum((1, 2)))
        return x_grad, torch.stack(sums, 1)
