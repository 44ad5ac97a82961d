"""A short causal convolution over time, each channel by itself."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ShortConvolution(nn.Module):
    """y_t = Σ_k w_k ∘ x_{t-K+1+k} + bias, over the last K tokens; before the first one there is nothing.

    Shapes: ``convolution.weight`` (channels, 1, K), ``convolution.bias`` (channels); initial values as torch has them.
    """

    def __init__(self, channels: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, channels, size, groups=channels, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch time channels"], state: Float[Tensor, "batch past channels"] | None = None
    ) -> tuple[Float[Tensor, "batch time channels"], Float[Tensor, "batch past channels"]]:
        """The convolution, and the last K - 1 inputs, from which the next call goes on."""
        weight, bias = self.convolution.weight[:, 0].T.contiguous(), self.convolution.bias
        past = len(weight) - 1
        if state is None:
            state = x.new_zeros(len(x), past, x.shape[2])
        x = torch.cat([state, x], dim=1)
        y: Tensor = _ShiftedSum.apply(x, weight)  # type: ignore[no-untyped-call]
        return y if bias is None else y + bias, x[:, x.shape[1] - past :]


class _ShiftedSum(torch.autograd.Function):
    """Σ_k w_k ∘ x_{t+k}: products of large slices, where torch's convolution with a channel a group is slow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        time = x.shape[1] - len(weight) + 1
        y = x[:, :time] * weight[0]
        for k, w in enumerate(weight[1:], 1):
            y.addcmul_(x[:, k : k + time], w)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        x_grad, sums = torch.zeros_like(x), []
        for k, w in enumerate(weight):
            x_grad[:, k : k + grad.shape[1]].addcmul_(grad, w)
            sums.append((grad * x[:, k : k + grad.shape[1]]).sum((0, 1)))
        return x_grad, torch.stack(sums)
