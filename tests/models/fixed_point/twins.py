"""The equations of arXiv 2503.10799 with explicit matrices, one sequence and one time after the other."""

from __future__ import annotations

from typing import Any

import torch

from tests.models.formulas import norm, rms_norm, sigmoid, silu, softplus


def projected(weights: Any, x: Any, before: Any) -> Any:
    """W x + β + V y, for one time."""
    value = weights.of_input.weight @ x
    if weights.of_input.bias is not None:
        value = value + weights.of_input.bias
    return value if weights.of_output is None else value + weights.of_output.weight @ before


def explicit_mixer(tier: Any, mixer: Any, x: Any, before: Any) -> Any:
    """Q_t as a matrix."""
    c = 2.0 if tier.eigenvalues == "signed" else 1.0
    width, eye = len(x), torch.eye(len(x), dtype=x.dtype)
    numbers = silu(projected(mixer.directions, x, before))
    alpha = sigmoid(projected(mixer.strengths, x, before))
    if tier.mixer == "kronecker":
        a = max(size for size in range(1, width + 1) if width % size == 0 and size * size <= width)
        b = width // a
        split = a * (a + 1) // 2
        K1, K2 = explicit_factor(numbers[:split], a), explicit_factor(numbers[split:], b)
        return eye - c * torch.kron(torch.diag(alpha[:a]) @ K1, torch.diag(alpha[a:]) @ K2)
    units = [u / u.norm() for u in numbers.view(-1, width)]
    if tier.mixer == "dplr":
        return eye - c * sum(a * torch.outer(u, u) for a, u in zip(alpha, units, strict=True))
    Q = eye
    for a, u in zip(alpha, units, strict=True):
        Q = (eye - c * a * torch.outer(u, u)) @ Q
    return Q


def explicit_factor(triangle: Any, size: int) -> Any:
    """U Uᵀ over its largest eigenvalue, as sixteen rounds of power iteration find it."""
    U, numbers = torch.zeros(size, size, dtype=triangle.dtype), iter(triangle)
    for i in range(size):
        for j in range(i, size):
            U[i, j] = next(numbers)
    M = U @ U.T
    P = torch.linalg.matrix_power(M.detach() / M.detach().norm(), 16)
    return M / (torch.trace(M @ P) / torch.trace(P) + 1e-6)


def dense_states(tier: Any, layer: Any, xs: Any) -> Any:
    """h_t = A_t h_{t-1} + A_t (Λ_t^{-1} - I) Q_t (b_t ∘ x_t) with A_t = (I + (Λ_t^{-1} - I) Q_t)^{-1}."""
    eye, h, states = torch.eye(tier.inner, dtype=xs.dtype), torch.zeros_like(xs[0]), []
    for x in xs:
        Q = explicit_mixer(tier, layer.mixer, x, h)
        decay = sigmoid(projected(layer.decay, x, h))
        b = silu(projected(layer.b, x, h))
        excess = torch.diag(1 / decay) - eye
        A = torch.linalg.solve(eye + excess @ Q, eye)
        h = A @ h + A @ excess @ Q @ (b * x)
        states.append(h)
    return torch.stack(states)


def applied_once(tier: Any, layer: Any, xs: Any, iterate: Any) -> Any:
    """Equation 8 from a previous iterate: λ_t ∘ h_{t-1} + (1 - λ_t) ∘ (Q_t (b_t ∘ x_t) + (I - Q_t) iterate_t)."""
    before, h, states = torch.zeros_like(xs[0]), torch.zeros_like(xs[0]), []
    for x, old in zip(xs, iterate, strict=True):
        Q = explicit_mixer(tier, layer.mixer, x, before)
        decay = sigmoid(projected(layer.decay, x, before))
        b = silu(projected(layer.b, x, before))
        h = decay * h + (1 - decay) * (Q @ (b * x) + old - Q @ old)
        states.append(h)
        before = old
    return torch.stack(states)


def read(layer: Any, xs: Any, gates: Any, states: Any) -> Any:
    """W norm( SiLU(z_t) ∘ c_t ∘ h_t ), or W norm( h_t )."""
    before, outputs = torch.zeros_like(xs[0]), []
    for x, gate, h in zip(xs, gates, states, strict=True):
        y = h if layer.c is None else silu(gate) * silu(projected(layer.c, x, before)) * h
        outputs.append(layer.outward.weight @ rms_norm(y, layer.norm.weight))
        before = h
    return torch.stack(outputs)


def mamba_step(tier: Any, layer: Any, H: Any, x: Any, before: Any, y: Any) -> Any:
    """Equations 12 and 13 at one time, from the state before and the previous iterate: the state and y."""
    Q = explicit_mixer(tier, layer.mixer, x, before)
    delta = softplus(layer.delta.weight @ projected(layer.low, x, before) + layer.delta.bias)
    b, c = projected(layer.b, x, before), projected(layer.c, x, before)
    mixed = Q @ (x - y) + y
    H = torch.exp(-delta[:, None] * torch.exp(layer.log_a.T)) * H + torch.outer(delta * mixed, b / b.norm())
    return H, layer.norm.weight * norm(H @ (c / c.norm()) + layer.D * mixed) + layer.norm.bias


def mamba_applied_once(tier: Any, layer: Any, xs: Any, iterate: Any) -> Any:
    """One application to a whole iterate: the earlier outputs that the parameters see are those of the iterate."""
    H, before, outputs = torch.zeros_like(layer.log_a.T), torch.zeros_like(xs[0]), []
    for x, old in zip(xs, iterate, strict=True):
        H, y = mamba_step(tier, layer, H, x, before, old)
        outputs.append(y)
        before = old
    return torch.stack(outputs)
