"""What the tiers of this folder share: a layer's output y solves y = f(y), by an iteration whose steps are cheap.

    y^0 = 0        y^l = f(y^{l-1})        until  max_t ||y^l_t - y^{l-1}_t||_inf / ||y^l_t||_inf  <  tolerance

Each application of f goes through time once, with a diagonal recurrence; a channel mixer Q_t in it makes of the
fixed point a dense one. The iteration ends when a share of the batch's sequences has converged, or at its
greatest number. It runs without gradient but for the last application, y^l = f(y^{l-1}) with y^{l-1} constant:
one step of the implicit gradient (I - J)^{-1} ∂f, which is ∂f itself.

Damping: y^l = d f(y^{l-1}) + (1 - d) y^{l-1} in all but the last application; each sequence multiplies its d by
`damping_decay` whenever its least residual has stood for `patience` steps.

Mixers, of width E = expand · hidden, with a factor c of 2 where `eigenvalues` is signed, else 1:

    householder   Q = (I - c α_n u_n u_nᵀ) … (I - c α_1 u_1 u_1ᵀ)    u_i of length 1, 0 < α_i < 1, n = mixer_rank
    dplr          Q = I - c Σ_i α_i u_i u_iᵀ
    kronecker     Q = I - c (D_1 K_1) ⊗ (D_2 K_2)    K_j positive semi-definite with largest eigenvalue 1,
                                                     D_j diagonal between 0 and 1

Their numbers come from the input x_t and, where `mixer_sees_output`, from the output y_{t-1} of the step before
in the iteration before: u = SiLU(W x_t + V y_{t-1}), normalised; α = σ(w·x_t + v·y_{t-1} + β). K = U Uᵀ for an
upper triangle U = SiLU(…), over its largest eigenvalue, found by sixteen rounds of power iteration.

Sources:
    [1] Movahedi, Sarnthein, Muca Cirone, Orvieto: Fixed-Point RNNs: Interpolating from Diagonal to Dense.
        NeurIPS 2025, arXiv 2503.10799. Sections 3.3 and 3.5, appendices C.3 and D.3; signed eigenvalues are
        those of its published code, positive ones those of its formulas.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.tier import Tier

if TYPE_CHECKING:
    from bilin.models.layers import Layer
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Implicit(Tier):
    """Settings of every tier of this folder."""

    source: ClassVar[str] = "Movahedi, Sarnthein, Muca Cirone, Orvieto 2025, arXiv 2503.10799"

    layers: int = option(1, at_least=1, doc="layers, one on top of the other")
    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    mixer: str = option("householder", choices=("householder", "dplr", "kronecker"), doc="form of the mixer Q")
    mixer_rank: int = option(1, at_least=1, doc="factors of a householder mixer, terms of a dplr one")
    eigenvalues: str = option("signed", choices=("positive", "signed"), doc="factor in the mixer: 1, or 2 if signed")
    mixer_sees_output: bool = option(True, doc="whether Q depends on the output of the step before")
    lambda_sees_output: bool = option(False, doc="whether the decay does")
    b_sees_output: bool = option(True, doc="whether the input's b does")
    c_sees_output: bool = option(True, doc="whether the readout's c does")
    iterations: str = option(
        "fixed", choices=("fixed", "gamma"), doc="most iterations of a training batch: max, or drawn from Gamma(4, 1)"
    )
    max_iterations: int = option(16, at_least=1, doc="greatest number of iterations in training")
    evaluation_iterations: int = option(1000, at_least=1, doc="greatest number of iterations in evaluation")
    tolerance: float = option(0.1, above=0, doc="relative residual below which a sequence has converged")
    training_share: float = option(
        0.75, above=0, at_most=1, doc="share of the sequences that must converge in training"
    )
    evaluation_share: float = option(
        1.0, above=0, at_most=1, doc="share of the sequences that must converge in evaluation"
    )
    damping: float = option(1.0, above=0, at_most=1, doc="weight of the new iterate at first; 1: no damping")
    damping_decay: float = option(0.9, above=0, at_most=1, doc="factor on it where the residual does not fall")
    patience: int = option(15, at_least=1, doc="iterations without a lower residual until it decays")

    @property
    def inner(self) -> int:
        """The width within a layer, E."""
        return self.expand * self.hidden

    def problems(self) -> Mapping[str, str]:
        """The mixer's rank must fit the width."""
        if self.mixer == "kronecker" and self.mixer_rank != 1:
            return {"mixer_rank": "1 for kronecker, which has no rank"}
        if self.mixer_rank > self.inner:
            return {"mixer_rank": f"at most expand · hidden ({self.inner})"}
        return {}

    @abstractmethod
    def make_layers(self) -> Sequence[Layer]:
        """The layers with fresh weights, from the first on."""

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.fixed_point.solve import SolvedStack

        return SolvedStack(self.make_layers(), hidden=self.hidden, vocab_size=vocab_size, num_classes=num_classes)
