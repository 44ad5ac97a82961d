"""A short causal convolution over time, each channel by itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ShortConvolution(nn.Module):
    """y_t = Σ_k w_k ∘ x_{t-K+1+k} + bias, over the last K tokens; before the first one there is nothing.

    Shapes: ``convolution.weight`` (channels, 1, K), ``convolution.bias`` (channels).
    """

    def __init__(self, channels: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, channels, size, groups=channels, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch time channels"], state: Float[Tensor, "batch past channels"] | None = None
    ) -> tuple[Float[Tensor, "batch time channels"], Float[Tensor, "batch past channels"]]:
        """The convolution, and the last K - 1 inputs, from which the next call goes on."""
        past = self.convolution.kernel_size[0] - 1
        if state is None:
            state = x.new_zeros(len(x), past, x.shape[2])
        x = torch.cat([state, x], dim=1)
        return self.convolution(x.mT).mT, x[:, x.shape[1] - past :]
