"""How attention is told the order without weights: sinusoids, rotations and linear biases."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def angles(x: Float[Tensor, "*rest time width"], *, start: int) -> Float[Tensor, "time pairs"]:
    """The position times 10,000^(-2j/width) for each pair j of the coordinates of x.

    Args:
        x: What the positions are for; the angles have its type and device.
        start: Position of the first of its times.
    """
    time, width = x.shape[-2:]
    positions = torch.arange(start, start + time, device=x.device, dtype=x.dtype)
    frequencies = 1e4 ** (-torch.arange(0, width, 2, device=x.device, dtype=x.dtype) / width)
    return positions[:, None] * frequencies


def sinusoid(x: Float[Tensor, "batch time width"], *, start: int) -> Float[Tensor, "time width"]:
    """Sine and cosine of each angle in turn (Vaswani et al. 2017, section 3.5); of an odd width, the last cosine."""
    turns = angles(x, start=start)
    return torch.stack([turns.sin(), turns.cos()], dim=-1).flatten(1)[:, : x.shape[-1]]


def rotate(x: Float[Tensor, "batch heads time width"], *, start: int) -> Float[Tensor, "batch heads time width"]:
    """Each pair of neighbouring coordinates turned by its angle (Su et al. 2021, eq. 34); the width is even."""
    turns = angles(x, start=start)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(turns), turns)).flatten(-2)


def linear_bias(q: Float[Tensor, "batch heads time width"], *, start: int) -> Float[Tensor, "1 heads time seen"]:
    """What is added to the scores (Press et al. 2022): -slope · distance, and -∞ for what comes later.

    Args:
        q: The queries of the bias; it has their type and device.
        start: Position of the first query; the keys begin at 0 and end with the last query.

    Returns:
        The bias of all sequences alike; without their axis, torch would not take its fast kernel on the CPU.
    """
    heads, time = q.shape[1:3]
    keys = torch.arange(start + time, device=q.device, dtype=q.dtype)
    distance = keys[start:, None] - keys
    slopes = 2.0 ** (-8 / heads * torch.arange(1, heads + 1, device=q.device, dtype=q.dtype))
    return torch.where(distance < 0, -torch.inf, -slopes[:, None, None] * distance).unsqueeze(0)
