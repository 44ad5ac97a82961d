"""The torch layers of the fixed-point tiers, their channel mixers, which are never formed, and their iteration.

    E  width within a layer    x  input    y  output    h, H  state    Q  mixer    λ  decay

Sources: see `bilin.models.fixed_point.implicit`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from bilin.models.fixed_point.fixed_point import FixedPoint
from bilin.models.fixed_point.fp_mamba import FPMamba
from bilin.models.fixed_point.implicit import Implicit
from bilin.models.layers import Hidden, Layer, LayerNorm, Linear
from bilin.models.module import State
from bilin.models.pointwise import sigmoid, silu, softplus
from bilin.models.stacking import all_members
from bilin.models.state_space.modules import initial_step_bias, selective_scan

Vectors: TypeAlias = Float[Tensor, "batch time width"]

TOKENS_AT_ONCE = 2**13
"""Tokens per call in an evaluation: less than for other layers, since an iteration passes over each token often."""


class FixedPointLayer(Layer):
    """See `bilin.models.fixed_point.fixed_point` for the formula. The state is h.

    Shapes: ``inward`` (2E, H), or (E, H) with a plain readout; ``outward`` (H, E). For λ, b, c and the mixer see
    `Projection`.
    """

    tokens_at_once = TOKENS_AT_ONCE

    def __init__(self, tier: FixedPoint) -> None:
        super().__init__()
        self.width = width = tier.inner
        gated = tier.readout == "gated"
        self.inward = Linear(tier.hidden, 2 * width if gated else width, bias=False)
        self.decay = Projection(width, width, sees_output=tier.lambda_sees_output, bias=True)
        self.b = Projection(width, width, sees_output=tier.b_sees_output)
        self.c = Projection(width, width, sees_output=tier.c_sees_output) if gated else None
        self.mixer = MIXERS[tier.mixer](tier)
        self.solver = Solver(tier)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.outward = Linear(width, tier.hidden, bias=False)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        x, *gates = self.inward(x).split(self.width, dim=-1)
        initial = torch.zeros_like(x[:, 0]) if state is None else state
        decay_of_x, b_of_x, mixer_of_x = self.decay.of_input(x), self.b.of_input(x), self.mixer.of_input(x)

        def iterate(h: Vectors) -> Vectors:
            """Return the next iterate (equation 8)."""
            before = delayed(h, initial)
            decay = sigmoid(self.decay(decay_of_x, before))
            written = silu(self.b(b_of_x, before)) * x
            mixed = self.mixer(mixer_of_x, before, written - h) + h
            return scan(decay, (1 - decay) * mixed, initial)

        h = iterate(self.solver(iterate, torch.zeros_like(x)))
        if self.c is not None:
            gates.append(self.c(self.c.of_input(x), delayed(h, initial)))
        y = h
        for gate in gates:
            y = silu(gate) * y
        return self.outward(self.norm(y)), h[:, -1]


class FPMambaLayer(Layer):
    """See `bilin.models.fixed_point.fp_mamba` for the formula. The state is (H, y).

    Shapes: ``inward`` (2E, H), ``delta`` (E, R), R = ⌈H / 16⌉, ``log_a`` (N, E), ``D`` (E), ``gate`` V (E, E),
    ``outward`` (H, E). For the input of Δ, for b, c and the mixer see `Projection`.
    """

    tokens_at_once = TOKENS_AT_ONCE
    undecayed = ("log_a",)

    def __init__(self, tier: FPMamba) -> None:
        super().__init__()
        width, low = tier.inner, math.ceil(tier.hidden / 16)
        self.inward = Linear(tier.hidden, 2 * width, bias=False)
        self.low = Projection(width, low, sees_output=tier.lambda_sees_output)
        self.delta = Linear(low, width)
        nn.init.uniform_(self.delta.weight, -(low**-0.5), low**-0.5)
        self.delta.bias = nn.Parameter(initial_step_bias(width))
        self.log_a = nn.Parameter(torch.arange(1.0, tier.state_size + 1).log()[:, None].repeat(1, width))
        self.b = Projection(width, tier.state_size, sees_output=tier.b_sees_output)
        self.c = Projection(width, tier.state_size, sees_output=tier.c_sees_output)
        self.D = nn.Parameter(torch.ones(width))
        self.gate = Linear(width, width, bias=False)
        self.mixer = MIXERS[tier.mixer](tier)
        self.solver = Solver(tier)
        self.norm = LayerNorm(width, eps=1e-5)
        self.outward = Linear(width, tier.hidden, bias=False)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        x, gate = self.inward(x).chunk(2, dim=-1)
        initial, first = state or (x.new_zeros(len(x), *self.log_a.shape), torch.zeros_like(x[:, 0]))
        low_of_x, b_of_x, c_of_x = self.low.of_input(x), self.b.of_input(x), self.c.of_input(x)
        mixer_of_x = self.mixer.of_input(x)

        def iterate(y: Vectors) -> tuple[Tensor, Tensor]:
            """Return the next iterate (equations 12 and 13), and the matrix state after the last token."""
            before = delayed(y, first)
            delta = softplus(self.delta(self.low(low_of_x, before)))
            b, c = normalize(self.b(b_of_x, before), dim=-1), normalize(self.c(c_of_x, before), dim=-1)
            mixed = self.mixer(mixer_of_x, before, x - y) + y
            y, matrix = selective_scan(mixed * delta, delta, -self.log_a.exp(), b, c, initial, signed=False)
            return self.norm(y + self.D * mixed), matrix

        y, matrix = iterate(self.solver(lambda y: iterate(y)[0], torch.zeros_like(x)))
        return self.outward(silu(gate + self.gate(delayed(y, first))) * y), (matrix, y[:, -1])


class Projection(nn.Module):
    """W x_t + β + V y_{t-1}, the last term only if it sees the output.

    The part of the input is the same in all iterations, so it is computed separately.

    Shapes: ``of_input.weight`` W (M, E), ``of_input.bias`` β (M), ``of_output.weight`` V (M, E).
    """

    def __init__(self, width: int, numbers: int, *, sees_output: bool, bias: bool = False) -> None:
        super().__init__()
        self.of_input = Linear(width, numbers, bias=bias)
        self.of_output = Linear(width, numbers, bias=False) if sees_output else None

    def forward(self, of_input: Float[Tensor, "batch time numbers"], before: Vectors) -> Tensor:
        """Return the sum, from W x_t + β and y_{t-1}."""
        return of_input if self.of_output is None else of_input + self.of_output(before)


def delayed(y: Vectors, first: Float[Tensor, "batch width"]) -> Vectors:
    """Return y_{t-1} at every time, with ``first`` at the first one."""
    return torch.cat([first[:, None], y[:, :-1]], 1)


def scan(
    decay: Float[Tensor, "batch time *width"],
    inputs: Float[Tensor, "batch time *width"],
    initial: Float[Tensor, " batch *width"],
) -> Float[Tensor, "batch time *width"]:
    """Return the states of h_t = λ_t ∘ h_{t-1} + u_t for decays λ and inputs u.

    A loop over time: on CPUs, a parallel scan moves so much more memory that it is slower for any batch of more than
    one sequence.
    """
    state, states = initial, []
    for factor, added in zip(decay.unbind(1), inputs.unbind(1), strict=True):
        state = torch.addcmul(added, factor, state)
        states.append(state)
    return torch.stack(states, 1)


class Mixer(nn.Module, ABC):
    """Q_t v, with Q_t from x_t and perhaps y_{t-1}: `directions` through a SiLU, `strengths` between 0 and 1."""

    def __init__(self, tier: Implicit, directions: int, strengths: int) -> None:
        super().__init__()
        self.factor = {"positive": 1.0, "signed": 2.0}[tier.eigenvalues]
        self.directions = Projection(tier.inner, directions, sees_output=tier.mixer_sees_output)
        self.strengths = Projection(tier.inner, strengths, sees_output=tier.mixer_sees_output, bias=True)

    def of_input(self, x: Vectors) -> tuple[Tensor, Tensor]:
        """Return what does not change over the iterations."""
        return self.directions.of_input(x), self.strengths.of_input(x)

    def forward(self, of_input: tuple[Tensor, Tensor], before: Vectors, v: Vectors) -> Vectors:
        """Return Q_t v_t, from `of_input` and the outputs of the previous time."""
        directions, strengths = of_input
        directions, strengths = silu(self.directions(directions, before)), sigmoid(self.strengths(strengths, before))
        return self.mix(directions, strengths, v)

    @abstractmethod
    def mix(
        self, directions: Float[Tensor, "batch time ?m"], strengths: Float[Tensor, "batch time ?n"], v: Vectors
    ) -> Vectors:
        """Return Q_t v_t, from the numbers of Q_t."""


class Householder(Mixer):
    """Q = (I - c α_n u_n u_nᵀ) … (I - c α_1 u_1 u_1ᵀ)."""

    def __init__(self, tier: Implicit) -> None:
        super().__init__(tier, tier.mixer_rank * tier.inner, tier.mixer_rank)

    def mix(self, directions: Tensor, strengths: Tensor, v: Vectors) -> Vectors:
        """See `Mixer.mix`."""
        units = normalize(directions.unflatten(-1, (-1, v.shape[-1])), dim=-1)
        for unit, strength in zip(units.unbind(-2), strengths.split(1, dim=-1), strict=True):
            v = v - self.factor * strength * (unit * v).sum(-1, keepdim=True) * unit
        return v


class DPLR(Householder):
    """Q = I - c Σ_i α_i u_i u_iᵀ, diagonal plus low rank, of as many numbers."""

    def mix(self, directions: Tensor, strengths: Tensor, v: Vectors) -> Vectors:
        """See `Mixer.mix`."""
        units = normalize(directions.unflatten(-1, (-1, v.shape[-1])), dim=-1)
        along = (units @ v[..., None]).squeeze(-1)
        return v - self.factor * ((strengths * along)[..., None, :] @ units).squeeze(-2)


class Kronecker(Mixer):
    """Q = I - c (D_1 K_1) ⊗ (D_2 K_2), of the two most equal sizes whose product is E."""

    def __init__(self, tier: Implicit) -> None:
        first = next(size for size in range(math.isqrt(tier.inner), 0, -1) if tier.inner % size == 0)
        self.sizes = (first, tier.inner // first)
        super().__init__(tier, sum(size * (size + 1) // 2 for size in self.sizes), sum(self.sizes))

    def mix(self, directions: Tensor, strengths: Tensor, v: Vectors) -> Vectors:
        """See `Mixer.mix`."""
        triangles = directions.split([size * (size + 1) // 2 for size in self.sizes], dim=-1)
        left, right = (
            strength[..., None] * semidefinite(triangle, size)
            for strength, triangle, size in zip(strengths.split(self.sizes, dim=-1), triangles, self.sizes, strict=True)
        )
        mixed: Tensor = (left @ v.unflatten(-1, self.sizes) @ right.mT).flatten(-2)
        return v - self.factor * mixed


MIXERS: dict[str, type[Householder | Kronecker]] = {"householder": Householder, "dplr": DPLR, "kronecker": Kronecker}
"""The mixers by their name in the settings."""


def semidefinite(triangle: Float[Tensor, "batch time numbers"], size: int) -> Float[Tensor, "batch time size size"]:
    """Return U Uᵀ divided by its largest eigenvalue, for an upper triangle U given by rows."""
    rows, columns = torch.triu_indices(size, size, device=triangle.device)
    U = triangle.new_zeros(*triangle.shape[:-1], size, size)
    U[..., rows, columns] = triangle
    product = U @ U.mT
    return product / (largest_eigenvalue(product) + 1e-6)


def largest_eigenvalue(matrices: Float[Tensor, "batch time size size"]) -> Float[Tensor, "batch time 1 1"]:
    """Return tr(M P) / tr(P) with P = M^16, by four squarings, for positive semi-definite M; never too large.

    The gradient treats P as constant. Once P is a multiple of the projection on the eigenvector, this is the gradient
    of the eigenvalue.
    """
    with torch.no_grad():
        power = matrices / (trace(matrices) + 1e-30)
        for _ in range(4):
            power = power @ power
            power = power / (trace(power) + 1e-30)
    largest: Tensor = (power * matrices).sum((-2, -1), keepdim=True)
    return largest


def trace(matrices: Float[Tensor, "batch time size size"]) -> Float[Tensor, "batch time 1 1"]:
    """Return the sum of the diagonal of each matrix."""
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


class Solver(nn.Module):
    """All applications of f except the last one, without gradient.

    Buffers, if the number of iterations is drawn: the seed of the draws, and how many there were.
    """

    draw_seed: Tensor
    num_draws: Tensor

    def __init__(self, tier: Implicit) -> None:
        super().__init__()
        self.tier = tier
        if tier.iterations == "gamma":
            self.register_buffer("draw_seed", torch.randint(2**62, ()))
            self.register_buffer("num_draws", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, f: Callable[[Tensor], Tensor], start: Vectors) -> Vectors:
        """Return the point at which to apply f once more, with gradient."""
        tier, y = self.tier, start
        share = tier.training_share if self.training else tier.evaluation_share
        most = tier.max_iterations if self.training else tier.evaluation_iterations
        limit = start.new_full((), most)
        if self.training and tier.iterations == "gamma":
            self.num_draws += 1
            limit = gamma_draw(self.draw_seed + self.num_draws).clamp(max=most)
        # Of each sequence: the weight of a new iterate, the least residual so far, and how long it may stay the least.
        weight = start.new_full((len(start), 1, 1), tier.damping)
        least = start.new_full((len(start),), torch.inf)
        left = torch.full_like(least, tier.patience)
        has_ended = limit <= 1  # the others in a stack may go on
        for num_applications in range(1, most):
            if all_members(has_ended):
                break
            proposed = f(y)
            residual = relative_residual(y, proposed)
            y = torch.where(has_ended, y, torch.lerp(y, proposed, weight))
            # A residual that is not finite also counts as converged: more steps would not repair it.
            has_converged = (~(residual >= tier.tolerance)).double().mean() >= share
            has_ended = has_ended | has_converged | (num_applications + 1 >= limit)
            left = torch.where(residual < least, tier.patience, left - 1)
            least = torch.where(residual < least, residual, least)
            weight = torch.where((left == 0)[:, None, None], tier.damping_decay * weight, weight)
            left = torch.where(left == 0, tier.patience, left)
        return y


def gamma_draw(seed: Int[Tensor, ""]) -> Int[Tensor, ""]:
    """Draw a number from Gamma(4, 1), the sum of four exponential ones, rounded up.

    The uniform numbers are those of SplitMix64 (Steele, Lea, Flood 2014), computed on the device, in a stack too.
    """
    z = _signed(0x9E3779B97F4A7C15) * (4 * seed + torch.arange(4, device=seed.device))
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    uniform = _shifted(z ^ _shifted(z, 31), 11).double() * 2.0**-53
    drawn: Tensor = (-(1 - uniform).log().sum()).ceil().clamp(min=1).long()
    return drawn


def _signed(number: int) -> int:
    """Return the number from -2^63 to 2^63 - 1 with the same 64 bits."""
    return number - 2**64 if number >= 2**63 else number


def _shifted(z: Tensor, by: int) -> Tensor:
    """Shift 64 bits to the right; zeros come in."""
    shifted: Tensor = (z >> by) & (2 ** (64 - by) - 1)
    return shifted


def relative_residual(before: Vectors, after: Vectors) -> Float[Tensor, " batch"]:
    """Return the maximum over time of ||after - before||_inf / ||after||_inf, for each sequence."""
    change, size = (after - before).abs().amax(-1), after.abs().amax(-1)
    return (change / (size + 1e-8)).amax(1)
