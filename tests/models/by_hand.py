"""What the slow twins of several models need, written out."""

from __future__ import annotations

import torch


def shaken(module):
    """The module with weights of ordinary size, zeros and ones too, so that each of them tells."""
    with torch.no_grad():
        for index, weight in enumerate(module.parameters()):
            weight.add_(0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index)))
    return module


def norm(x):
    """One vector minus its mean, over its standard deviation."""
    mean = sum(x) / len(x)
    return (x - mean) / (sum((x - mean) ** 2) / len(x) + 1e-5).sqrt()


def silu(x):
    return x / (1 + (-x).exp())


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def values_and_gradients(module, *ways):
    """Of each way to the logits: them, and the gradients of a function of them."""
    weights = list(module.parameters())
    return [[way, *torch.autograd.grad(way.sin().sum(), weights)] for way in ways]
