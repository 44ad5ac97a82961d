"""Functions of single numbers whose last bits do not depend on the place of a number in its tensor.

On a CPU, torch computes some functions in vectors of up to 32 numbers, and those that are left over at the end of a
tensor with other code, which rounds differently. In a stack, other numbers would be left over than in a module alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

VECTOR = 32


def sigmoid(x: Float[Tensor, "*shape"], *, stacked: bool = False) -> Float[Tensor, "*shape"]:
    """See `torch.sigmoid`. If ``stacked``, the first axis is the members of a stack."""
    return whole_vectors(torch.sigmoid, x, stacked=stacked)


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """See `torch.nn.functional.silu`."""
    return whole_vectors(functional.silu, x)


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """See `torch.nn.functional.gelu`."""
    return whole_vectors(functional.gelu, x)


def softplus(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """See `torch.nn.functional.softplus`."""
    return whole_vectors(functional.softplus, x)


def logsigmoid(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """See `torch.nn.functional.logsigmoid`."""
    return whole_vectors(functional.logsigmoid, x)


def whole_vectors(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "*shape"], *, stacked: bool = False
) -> Float[Tensor, "*shape"]:
    """Apply a function to each number, filling up the last vector, that of every member if ``stacked``."""
    first = int(stacked)
    size = x.shape[first:].numel()
    if size % VECTOR == 0 or x.is_cuda:
        return function(x)
    filled = functional.pad(x.flatten(first), (0, -size % VECTOR))
    return function(filled)[..., :size].reshape(x.shape)
