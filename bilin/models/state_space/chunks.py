"""A recurrence with one transition a head, in chunks of time: within a chunk all at once, from chunk to chunk a state.

    h_t = a_t h_{t-1} + B_t w_tᵀ,    y_t = C_tᵀ h_t    (of each head, with a_t a number)

    y_t = Σ_{s <= t} P_ts (C_tᵀ B_s) w_s + (a_t ... a_1) C_tᵀ h_0,    P_ts = a_t ... a_{s+1}

The products P are multiplied up, not taken from sums of logarithms: a sign, a zero or a tiny factor is as good as
any other.

Sources:
    [1] Dao, Gu: Transformers are SSMs. ICML 2024, arXiv 2405.21060 (section 6).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 32


def scan_in_chunks(
    w: Float[Tensor, "batch time heads width"],
    a: Float[Tensor, "batch time heads"],
    B: Float[Tensor, "batch time states"],
    C: Float[Tensor, "batch time states"],
    h: Float[Tensor, "batch states inner"] | None,
) -> tuple[Float[Tensor, "batch time heads width"], Float[Tensor, "batch states inner"]]:
    """The outputs y, and the state after the last token, the heads side by side; a state of None is zero.

    Args:
        w: What comes in.
        a: The transitions.
        B: How what comes in is spread over the states.
        C: How the states are read.
        h: The state before the first token.
    """
    first, *others = zip(w.split(CHUNK, 1), a.split(CHUNK, 1), B.split(CHUNK, 1), C.split(CHUNK, 1), strict=True)
    y, h = _chunk(*first, h)
    outputs = [y]
    for chunk in others:
        y, h = _chunk(*chunk, h)
        outputs.append(y)
    return torch.cat(outputs, dim=1), h


def _chunk(w: Tensor, a: Tensor, B: Tensor, C: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    products = _products(a.mT)
    y = (((C @ B.mT)[:, None] * products) @ w.transpose(1, 2)).transpose(1, 2)
    to_end = products[:, :, -1].mT
    last = B.mT @ (to_end[..., None] * w).flatten(2)
    if h is not None:
        from_start = (products[..., 0] * a[:, :1].mT).mT[..., None]
        y = y + from_start * (C @ h).view_as(w)
        last = last + (from_start[:, -1:] * h.unflatten(2, w.shape[2:])).flatten(2)
    return y, last


def _products(a: Float[Tensor, "batch heads time"]) -> Float[Tensor, "batch heads time time"]:
    """P_ts = a_t ... a_{s+1} for s <= t, and 0 above; row by row, each from the one before."""
    row, rows = torch.zeros_like(a), []
    for t, one in enumerate(torch.eye(a.shape[2], dtype=a.dtype, device=a.device)):
        row = row * a[:, :, t, None] + one
        rows.append(row)
    return torch.stack(rows, dim=2)
