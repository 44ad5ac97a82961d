"""What the slow twins of several models need, written out."""

from __future__ import annotations

import torch


def shaken(module, by=0.5):
    """The module with weights of ordinary size, zeros and ones too, so that each of them tells."""
    with torch.no_grad():
        for index, weight in enumerate(module.parameters()):
            weight.add_(by * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index)))
    return module


def norm(x):
    """One vector minus its mean, over its standard deviation."""
    mean = sum(x) / len(x)
    return (x - mean) / (sum((x - mean) ** 2) / len(x) + 1e-5).sqrt()


def rms_norm(x, weight):
    """Vectors over the root of their mean square, times a weight for each number."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def silu(x):
    return x / (1 + (-x).exp())


def softplus(x):
    return (1 + x.exp()).log()


def convolved(convolution, xs):
    """Σ_k w_k x_{t-k} + bias in every channel, at each time; the x themselves where there is no convolution."""
    if convolution is None:
        return list(xs)
    (bias, weight), sums = (convolution.convolution.bias, convolution.convolution.weight[:, 0]), []
    for time in range(len(xs)):
        found = 0 if bias is None else bias
        for back in range(min(time + 1, weight.shape[1])):
            found = found + weight[:, ~back] * xs[time - back]
        sums.append(found)
    return sums


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def gradients(values, weights):
    """Those of a sum of the values in which each has a factor of its own."""
    factors = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).view_as(values)
    return torch.autograd.grad((values * factors).sum(), weights)


def normal(*shape, seed=0):
    """Normal numbers in float64 under a seed of their own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values_and_gradients(module, *ways):
    """Of each way to the logits: them, and the gradients of a function of them."""
    weights = list(module.parameters())
    return [[way, *torch.autograd.grad(way.sin().sum(), weights)] for way in ways]
