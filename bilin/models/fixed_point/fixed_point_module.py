"""The layer of the fixed-point RNN, whose state is a vector."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from bilin.models.fixed_point.fixed_point import FixedPoint
from bilin.models.fixed_point.mixers import mixer_of
from bilin.models.fixed_point.projection import Projection, delayed
from bilin.models.fixed_point.scan import scan
from bilin.models.fixed_point.solve import Solver
from bilin.models.layers import Layer
from bilin.models.module import State


class Inputs(NamedTuple):
    """What stays the same over the iterations: x_t, the parts of the parameters that come of it, and h_0."""

    x: Tensor
    decay: Tensor
    b: Tensor
    mixer: tuple[Tensor, Tensor]
    initial: Tensor


class FixedPointLayer(Layer):
    """See `bilin.models.fixed_point.fixed_point`; the state is h.

    Shapes: ``inward`` (2E, H), or (E, H) where the readout is plain, ``outward`` (H, E); those of λ, b, c and of the
    mixer: see `Projection`.
    """

    def __init__(self, tier: FixedPoint) -> None:
        super().__init__()
        self.width = width = tier.inner
        gated = tier.readout == "gated"
        self.inward = nn.Linear(tier.hidden, 2 * width if gated else width, bias=False)
        self.decay = Projection(width, width, sees_output=tier.lambda_sees_output, bias=True)
        self.b = Projection(width, width, sees_output=tier.b_sees_output)
        self.c = Projection(width, width, sees_output=tier.c_sees_output) if gated else None
        self.mixer = mixer_of(tier)
        self.solver = Solver(tier)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.outward = nn.Linear(width, tier.hidden, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        x, *gates = self.inward(x).split(self.width, dim=-1)
        initial = torch.zeros_like(x[:, 0]) if state is None else state
        inputs = Inputs(x, self.decay.of_input(x), self.b.of_input(x), self.mixer.of_input(x), initial)
        iterate = partial(self.iterate, inputs)
        h = iterate(self.solver(iterate, torch.zeros_like(x)))
        if self.c is not None:
            gates.append(self.c(self.c.of_input(x), delayed(h, initial)))
        y = h
        for gate in gates:
            y = silu(gate) * y
        return self.outward(self.norm(y)), h[:, -1]

    def iterate(self, inputs: Inputs, h: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """The next iterate: equation 8."""
        before = delayed(h, inputs.initial)
        decay = self.decay(inputs.decay, before).sigmoid()
        written = silu(self.b(inputs.b, before)) * inputs.x
        mixed = self.mixer(inputs.mixer, before, written - h) + h
        return scan(decay, (1 - decay) * mixed, inputs.initial)
