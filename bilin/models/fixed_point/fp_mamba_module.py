"""The layer of FP-Mamba, whose state is a matrix."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, silu, softplus

from bilin.models.fixed_point.fp_mamba import FPMamba
from bilin.models.fixed_point.mixers import mixer_of
from bilin.models.fixed_point.projection import Projection, delayed
from bilin.models.fixed_point.solve import Solver
from bilin.models.layers import Layer
from bilin.models.module import State
from bilin.models.state_space.scan import selective_scan
from bilin.models.state_space.steps import initial_step_bias


class Inputs(NamedTuple):
    """What stays the same over the iterations: x_t, the parts of the parameters that come of it, H_0 and y_0."""

    x: Tensor
    low: Tensor
    b: Tensor
    c: Tensor
    mixer: tuple[Tensor, Tensor]
    initial: tuple[Tensor, Tensor]


class FPMambaLayer(Layer):
    """See `bilin.models.fixed_point.fp_mamba`; the state is (H, y).

    Shapes: ``inward`` (2E, H), ``delta`` (E, R), R = ⌈H / 16⌉, ``log_a`` (N, E), ``outward`` (H, E); those of what
    goes into Δ, of b, c and the mixer: see `Projection`.
    """

    def __init__(self, tier: FPMamba) -> None:
        super().__init__()
        width, low = tier.inner, math.ceil(tier.hidden / 16)
        self.inward = nn.Linear(tier.hidden, 2 * width, bias=False)
        self.low = Projection(width, low, sees_output=tier.lambda_sees_output)
        self.delta = nn.Linear(low, width)
        nn.init.uniform_(self.delta.weight, -(low**-0.5), low**-0.5)
        self.delta.bias = nn.Parameter(initial_step_bias(width))
        self.log_a = nn.Parameter(torch.arange(1.0, tier.state_size + 1).log()[:, None].repeat(1, width))
        self.b = Projection(width, tier.state_size, sees_output=tier.b_sees_output)
        self.c = Projection(width, tier.state_size, sees_output=tier.c_sees_output)
        self.mixer = mixer_of(tier)
        self.solver = Solver(tier)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.outward = nn.Linear(width, tier.hidden, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        x, gate = self.inward(x).chunk(2, dim=-1)
        inputs = self._inputs(x, state)
        y = self.solver(lambda y: self.iterate(inputs, y)[0], torch.zeros_like(x))
        y, matrix = self.iterate(inputs, y)
        return self.outward(silu(gate) * y), (matrix, y[:, -1])

    def iterate(self, inputs: Inputs, y: Float[Tensor, "batch time width"]) -> tuple[Tensor, Tensor]:
        """The next iterate, equations 12 and 13, and the matrix state after the last token."""
        matrix, first = inputs.initial
        before = delayed(y, first)
        delta = softplus(self.delta(self.low(inputs.low, before)))
        b, c = normalize(self.b(inputs.b, before), dim=-1), normalize(self.c(inputs.c, before), dim=-1)
        written = delta * (self.mixer(inputs.mixer, before, inputs.x - y) + y)
        y, matrix = selective_scan(written, delta, -self.log_a.exp(), b, c, matrix, signed=False)
        return self.norm(y), matrix

    def _inputs(self, x: Tensor, state: State) -> Inputs:
        if state is None:
            state = (x.new_zeros(len(x), *self.log_a.shape), torch.zeros_like(x[:, 0]))
        low, b, c = self.low.of_input(x), self.b.of_input(x), self.c.of_input(x)
        return Inputs(x, low, b, c, self.mixer.of_input(x), state)
