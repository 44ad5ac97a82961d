"""Channel mixers Q_t: structured matrices, each applied without being formed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, silu

from bilin.models.fixed_point.implicit import Implicit
from bilin.models.fixed_point.projection import Projection

Vectors: TypeAlias = Float[Tensor, "batch time width"]


class Mixer(nn.Module, ABC):
    """Q_t v, with Q_t from x_t and perhaps y_{t-1}: `directions` through a SiLU, `strengths` between 0 and 1."""

    def __init__(self, tier: Implicit, directions: int, strengths: int) -> None:
        super().__init__()
        self.factor = {"positive": 1.0, "signed": 2.0}[tier.eigenvalues]
        self.directions = Projection(tier.inner, directions, sees_output=tier.mixer_sees_output)
        self.strengths = Projection(tier.inner, strengths, sees_output=tier.mixer_sees_output, bias=True)

    def of_input(self, x: Vectors) -> tuple[Tensor, Tensor]:
        """What does not change over the iterations."""
        return self.directions.of_input(x), self.strengths.of_input(x)

    def forward(self, of_input: tuple[Tensor, Tensor], before: Vectors, v: Vectors) -> Vectors:
        """Q_t v_t, from `of_input` and the outputs of the step before."""
        directions, strengths = of_input
        directions, strengths = silu(self.directions(directions, before)), self.strengths(strengths, before).sigmoid()
        return self.mix(directions, strengths, v)

    @abstractmethod
    def mix(
        self, directions: Float[Tensor, "batch time ?m"], strengths: Float[Tensor, "batch time ?n"], v: Vectors
    ) -> Vectors:
        """Q_t v_t, from the numbers of Q_t."""


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


class DPLR(Mixer):
    """Q = I - c Σ_i α_i u_i u_iᵀ, diagonal plus low rank."""

    def __init__(self, tier: Implicit) -> None:
        super().__init__(tier, tier.mixer_rank * tier.inner, tier.mixer_rank)

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


def semidefinite(triangle: Float[Tensor, "batch time numbers"], size: int) -> Float[Tensor, "batch time size size"]:
    """U Uᵀ over its largest eigenvalue, for an upper triangle U by rows."""
    rows, columns = torch.triu_indices(size, size, device=triangle.device)
    U = triangle.new_zeros(*triangle.shape[:-1], size, size)
    U[..., rows, columns] = triangle
    product = U @ U.mT
    return product / (largest_eigenvalue(product) + 1e-6)


def largest_eigenvalue(matrices: Float[Tensor, "batch time size size"]) -> Float[Tensor, "batch time 1 1"]:
    """Of positive semi-definite M: tr(M P) / tr(P) with P = M^16, by four squarings; never above it.

    The gradient takes P as constant: that of the eigenvalue, once P is a multiple of its vector's projection.
    """
    with torch.no_grad():
        power = matrices / (trace(matrices) + 1e-30)
        for _ in range(4):
            power = power @ power
            power = power / (trace(power) + 1e-30)
    largest: Tensor = (power * matrices).sum((-2, -1), keepdim=True)
    return largest


def trace(matrices: Float[Tensor, "batch time size size"]) -> Float[Tensor, "batch time 1 1"]:
    """The sums of the diagonals."""
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def mixer_of(tier: Implicit) -> Mixer:
    """The mixer that a tier names."""
    kinds: dict[str, type[Householder] | type[DPLR] | type[Kronecker]] = {
        "householder": Householder,
        "dplr": DPLR,
        "kronecker": Kronecker,
    }
    return kinds[tier.mixer](tier)
