"""Settings shared by the fixed-point tiers: a layer's output y solves y = f(y), by an iteration with cheap steps.

    y^0 = 0        y^l = f(y^{l-1})        until  max_t ||y^l_t - y^{l-1}_t||_inf / ||y^l_t||_inf  <  tolerance

Each application of f goes through time once, with a diagonal recurrence. A channel mixer Q_t inside f makes the fixed
point a dense recurrence. The iteration ends when a set share of the sequences in the batch has converged, or at the
maximum number of iterations. It runs without gradient, except for the last application, y^l = f(y^{l-1}) with y^{l-1}
constant: one step of the implicit gradient (I - J)^{-1} ∂f, which is ∂f itself.

Damping: y^l = d f(y^{l-1}) + (1 - d) y^{l-1} in all applications but the last. Each sequence multiplies its d by
`damping_decay` whenever its residual has not reached a new minimum for `patience` steps.

Mixers, of width E = expand · hidden, with a factor c of 2 for `eigenvalues: signed`, and 1 for `positive`:

    householder   Q = (I - c α_n u_n u_nᵀ) … (I - c α_1 u_1 u_1ᵀ)    u_i of length 1, 0 < α_i < 1, n = mixer_rank
    dplr          Q = I - c Σ_i α_i u_i u_iᵀ
    kronecker     Q = I - c (D_1 K_1) ⊗ (D_2 K_2)    K_j positive semi-definite with largest eigenvalue 1,
                                                     D_j diagonal between 0 and 1

Their numbers come from the input x_t and, with `mixer_sees_output`, from y_{t-1}, the output of the previous time in
the previous iteration: u = SiLU(W x_t + V y_{t-1}), normalized; α = σ(w·x_t + v·y_{t-1} + β). K = U Uᵀ for an upper
triangle U = SiLU(…), divided by its largest eigenvalue, which sixteen rounds of power iteration find.

Sources:
    [1] Movahedi, Sarnthein, Muca Cirone, Orvieto: Fixed-Point RNNs: Interpolating from Diagonal to Dense.
        NeurIPS 2025, arXiv 2503.10799. Sections 3.3 and 3.5, appendices C.3 and D.3. Signed eigenvalues are those of
        the published code, positive ones those of the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.tier import LayeredTier


@dataclass(frozen=True, slots=True, kw_only=True)
class Implicit(LayeredTier):
    """Settings of every fixed-point tier."""

    source: ClassVar[str] = "Movahedi, Sarnthein, Muca Cirone, Orvieto 2025, arXiv 2503.10799"

    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    mixer: str = option("householder", choices=("householder", "dplr", "kronecker"), doc="form of the mixer Q")
    mixer_rank: int = option(1, at_least=1, doc="number of factors (householder) or terms (dplr) of the mixer")
    eigenvalues: str = option(
        "signed", choices=("positive", "signed"), doc="factor in the mixer: 1 if positive, 2 if signed"
    )
    mixer_sees_output: bool = option(True, doc="let the mixer Q depend on the previous output")
    lambda_sees_output: bool = option(False, doc="let the decay λ depend on the previous output")
    b_sees_output: bool = option(True, doc="let the input vector b depend on the previous output")
    c_sees_output: bool = option(True, doc="let the readout vector c depend on the previous output")
    iterations: str = option(
        "fixed",
        choices=("fixed", "gamma"),
        doc="limit on the iterations of a training batch; fixed: max_iterations, gamma: drawn from Gamma(4, 1)",
    )
    max_iterations: int = option(16, at_least=1, doc="maximum number of iterations in training")
    evaluation_iterations: int = option(1000, at_least=1, doc="maximum number of iterations in evaluation")
    tolerance: float = option(0.1, above=0, doc="relative residual below which a sequence has converged")
    training_share: float = option(
        0.75, above=0, at_most=1, doc="share of the sequences that must converge in training"
    )
    evaluation_share: float = option(
        1.0, above=0, at_most=1, doc="share of the sequences that must converge in evaluation"
    )
    damping: float = option(1.0, above=0, at_most=1, doc="initial weight of a new iterate; 1: no damping")
    damping_decay: float = option(0.9, above=0, at_most=1, doc="factor on this weight when the residual does not fall")
    patience: int = option(15, at_least=1, doc="iterations without a lower residual before the weight decays")

    @property
    def inner(self) -> int:
        """Width E within a layer."""
        return self.expand * self.hidden

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. The rank of the mixer must fit its width."""
        if self.mixer == "kronecker" and self.mixer_rank != 1:
            return {"mixer_rank": "1 for kronecker, which has no rank"}
        if self.mixer_rank > self.inner:
            return {"mixer_rank": f"at most expand · hidden ({self.inner})"}
        return {}
