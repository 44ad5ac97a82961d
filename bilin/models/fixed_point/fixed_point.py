"""Fixed-point RNN: a diagonal recurrence with a channel mixer, iterated to a dense recurrence.

    h^l_t = λ_t ∘ h^l_{t-1} + (1 - λ_t) ∘ ( Q_t (b_t ∘ x_t) + (I - Q_t) h^{l-1}_t )        h^0 = 0
    y_t = c_t ∘ h_t        out_t = W norm( SiLU(z_t) ∘ y_t )

    h, x, z  E numbers each, E = expand · hidden; (x_t, z_t) is linear in the input of the layer
    λ = σ(…), b = SiLU(…), c = SiLU(…)    linear in x_t and, where they see the output, λ and b in h^{l-1}_{t-1},
                                          c in the final h_{t-1}. If b sees it, b ∘ x grows with the state, which
                                          nothing bounds
    Q_t (E, E)    mixer; bilin/models/fixed_point/implicit.py describes it and the iteration (y there is h here)

With `readout: plain`, out_t = W norm( h_t ), without c and z. These multiply by a function of the token, which lets
the readout do a step of the task that the state has not done.

The first iteration is a diagonal recurrence on mixed inputs. The fixed point is, with Λ = diag(λ),

    h_t = A_t h_{t-1} + A_t (Λ_t^{-1} - I) Q_t (b_t ∘ x_t)        A_t = ( I + (Λ_t^{-1} - I) Q_t )^{-1}

Sources:
    [1] Movahedi, Sarnthein, Muca Cirone, Orvieto: Fixed-Point RNNs: Interpolating from Diagonal to Dense.
        NeurIPS 2025, arXiv 2503.10799. Equation 8, in which b may see the output, and appendix B.2. Readout, widths,
        and which of λ, Q, b, c see the output by default follow the published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.fixed_point.implicit import Implicit


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint(Implicit):
    """h_t = λ_t ∘ h_{t-1} + (1 - λ_t) ∘ (Q_t (b_t ∘ x_t) + (I - Q_t) h_t)."""

    tier: ClassVar[str] = "fixed_point"
    layer_class: ClassVar[str] = "bilin.models.fixed_point.modules:FixedPointLayer"

    b_sees_output: bool = option(False, doc="let the input vector b depend on the previous output")
    readout: str = option(
        "gated", choices=("gated", "plain"), before="gated", doc="input of the readout: SiLU(z) ∘ c ∘ h, or only h"
    )
