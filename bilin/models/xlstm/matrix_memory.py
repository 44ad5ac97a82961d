"""The memory of the mLSTM, many tokens at once.

Written out, C_t = Σ_{s≤t} exp(b_t - b_s + log i_s) v_s k_sᵀ with b_t the sum of log f up to t, and likewise n_t.
Within a chunk these sums are products of matrices; from chunk to chunk goes the state. All is kept times e^(-m_t),
m_t = max(log f_t + m_{t-1}, log i_t) = b_t + max(m_0, max_{s≤t} (log i_s - b_s)), as in the loop.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 64
"""Tokens at once: the work within a chunk grows with its square, the number of steps falls with it."""

Memory: TypeAlias = tuple[
    Float[Tensor, "batch heads width width"], Float[Tensor, "batch heads width"], Float[Tensor, "batch heads"]
]
"""Cᵀ (keys by values) and n, both times e^(-m), and m."""

Vectors: TypeAlias = Float[Tensor, "batch heads time width"]
Gate: TypeAlias = Float[Tensor, "batch heads time"]


def write_and_read(
    q: Vectors, k: Vectors, v: Vectors, log_i: Gate, log_f: Gate, memory: Memory | None
) -> tuple[Vectors, Memory]:
    """Write k and v at each time, and read with q.

    Args:
        q: Queries.
        k: Keys, scaled.
        v: Values.
        log_i: Logarithm of the input gate.
        log_f: Logarithm of the forget gate.
        memory: What is remembered so far; None for nothing.

    Returns:
        h = C q / max(|n·q|, 1) at each time, and the memory after the last one.
    """
    if memory is None:
        n = torch.zeros_like(q[:, :, 0])
        memory = (n.unsqueeze(-1) * n.unsqueeze(-2), n, torch.full_like(n[..., 0], -torch.inf))
    shown = []
    for start in range(0, q.shape[2], CHUNK):
        now = slice(start, start + CHUNK)
        h, memory = _chunk(q[:, :, now], k[:, :, now], v[:, :, now], log_i[..., now], log_f[..., now], memory)
        shown.append(h)
    return torch.cat(shown, dim=2), memory


def _chunk(q: Tensor, k: Tensor, v: Tensor, log_i: Tensor, log_f: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """One chunk. Every m_t is taken as a constant, since no h depends on it."""
    C, n, m = memory
    decay = log_f.cumsum(-1)
    written = log_i - decay
    scale = (decay + torch.maximum(m.unsqueeze(-1), written.cummax(-1).values)).detach()
    faded = decay - scale
    kept = (faded + m.unsqueeze(-1)).exp().unsqueeze(-1)
    later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).triu(1)
    weights = (faded.unsqueeze(-1) + written.unsqueeze(-2)).masked_fill(later, -torch.inf).exp()
    scores = weights * (q @ k.mT)
    read = scores @ v + kept * (q @ C)
    norm = scores.sum(-1, keepdim=True) + kept * (q @ n.unsqueeze(-1))
    h = read / torch.maximum(norm.abs(), (-scale).exp().unsqueeze(-1))
    keys = weights[..., -1, :, None] * k
    last = kept[..., -1, :]
    return h, (last.unsqueeze(-1) * C + keys.mT @ v, last * n + keys.sum(2), scale[..., -1])
