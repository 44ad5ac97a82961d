"""Formulas that the slow twins of several models share, and perturbed weights to compare them at."""

from __future__ import annotations

from typing import Any

import torch


def perturbed(module: Any, by: float = 0.5) -> Any:
    """Add noise to every weight, also to those that start at 0 or 1, so that an error in any of them shows."""
    with torch.no_grad():
        for index, weight in enumerate(module.parameters()):
            weight.add_(by * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index)))
    return module


def norm(x: Any) -> Any:
    """Return a vector minus its mean, divided by its standard deviation."""
    mean = sum(x) / len(x)
    return (x - mean) / (sum((x - mean) ** 2) / len(x) + 1e-5).sqrt()


def rms_norm(x: Any, weight: Any) -> Any:
    """Return vectors divided by the root of their mean square, times a weight for each coordinate."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def silu(x: Any) -> Any:
    return x / (1 + (-x).exp())


def softplus(x: Any) -> Any:
    return (1 + x.exp()).log()


def convolved(convolution: Any, xs: Any) -> Any:
    """Σ_k w_k x_{t-k} + bias in every channel, at each time; x itself without a convolution."""
    if convolution is None:
        return list(xs)
    (bias, weight), sums = (convolution.convolution.bias, convolution.convolution.weight[:, 0]), []
    for time in range(len(xs)):
        value = 0 if bias is None else bias
        for back in range(min(time + 1, weight.shape[1])):
            value = value + weight[:, ~back] * xs[time - back]
        sums.append(value)
    return sums


def sigmoid(x: Any) -> Any:
    return 1 / (1 + (-x).exp())


def gradients(values: Any, weights: Any) -> Any:
    """Return the gradients of a sum of the values, each with its own factor."""
    factors = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).view_as(values)
    return torch.autograd.grad((values * factors).sum(), weights)


def normal(*shape: Any, seed: int = 0) -> Any:
    """Return normal numbers in float64, drawn under a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values_and_gradients(module: Any, *ways: Any) -> Any:
    """Return the logits of each way to compute them, and the gradients of a function of them."""
    weights = list(module.parameters())
    return [[way, *torch.autograd.grad(way.sin().sum(), weights)] for way in ways]
