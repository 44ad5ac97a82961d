"""The forget gate of both cells, in logarithms, and where it starts."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid


def log_forget_gate(raw: Float[Tensor, "*shape"], kind: str) -> Float[Tensor, "*shape"]:
    """The logarithm of f from what the gate is given: f = σ(raw) (``sigmoid``) or f = exp(raw) (``exp``)."""
    return logsigmoid(raw) if kind == "sigmoid" else raw


def initial_bias(raw: Float[Tensor, "*shape"], kind: str) -> Float[Tensor, "*shape"]:
    """The bias with which a gate of a kind starts at σ(raw)."""
    return raw if kind == "sigmoid" else logsigmoid(raw)
