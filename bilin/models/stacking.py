"""Stacks: K modules of one shape that run as one program, under `torch.func.vmap` with `functional_call`.

Most modules run under vmap as they are. Code that looks at values, for example to leave out padding, or that is faster
if it sees all members at once, is written for stacked tensors and called through `in_stack`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from bilin.errors import one_line

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
"""Without it, the last bits of MKL's matrix products depend on where a matrix begins in memory, so on the place of a
member in its stack. MKL reads it at its first product. It was measured to cost no time.
"""

Run: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""A function of tensors whose first axis is the members; it returns such tensors."""


def fault(module: SequenceModel) -> str:
    """Return why modules of this shape cannot be stacked; an empty string if they can.

    Unless the class says so itself, this is found out with a forward and a backward pass of a stack of two.
    """
    if module.unstackable:
        return module.unstackable
    weights = {name: weight.detach().expand(2, *weight.shape) for name, weight in module.named_parameters()}
    buffers = {name: torch.stack([buffer, buffer]) for name, buffer in module.named_buffers()}
    device = next(iter(weights.values())).device
    tokens, num_tokens = torch.zeros(2, 2, 2, dtype=torch.int64, device=device), torch.tensor([2, 1], device=device)

    def run(weights: dict[str, Tensor], buffers: dict[str, Tensor], tokens: Tensor) -> Tensor:
        logits: Tensor = functional_call(module, (weights, buffers), (tokens, num_tokens))
        return logits

    try:
        leaves = {name: weight.requires_grad_(weight.is_floating_point()) for name, weight in weights.items()}
        vmap(run)(leaves, buffers, tokens).sum().backward()
    except Exception as error:  # whatever the module, or torch, makes of vmap
        return f"{type(module).__name__} does not run under torch.func.vmap: {one_line(error)}"
    return ""


def is_stacked(*tensors: Tensor) -> bool:
    """Return whether any of the tensors stands for those of all members, under vmap."""
    return any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))


def in_stack(run: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Call a function of stacked tensors with those of all members; outside vmap, with a stack of one.

    Gradients flow to all floating-point tensors. ``run`` must get everything that requires a gradient as an argument.
    """
    if not is_stacked(*tensors):
        return tuple(output.squeeze(0) for output in run(*(tensor.unsqueeze(0) for tensor in tensors)))
    outputs: tuple[Tensor, ...] = _Stacked.apply(run, *tensors)  # type: ignore[no-untyped-call]
    return outputs


def all_members(condition: Tensor) -> bool:
    """Return whether a condition is true of all members; False while a CUDA graph is captured, which cannot look."""
    answers = []

    def look(condition: Tensor) -> tuple[Tensor]:
        answers.append(bool(condition.all()))
        return (condition,)

    if condition.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    if not is_stacked(condition):
        return bool(condition)
    in_stack(look, condition)
    return answers[0]


class _Stacked(torch.autograd.Function):
    """Under vmap, runs with the tensors of all members; ordinary autograd then sees what ``run`` does.

    Under `torch.func.grad`, autograd does not see it, and the backward pass runs it again.
    """

    @staticmethod
    def forward(run: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.squeeze(0) for output in run(*(tensor.unsqueeze(0) for tensor in tensors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 (torch names it)
        ctx.run = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        found = iter(_Gradients.apply(ctx.run, len(grads), *grads, *tensors))  # type: ignore[no-untyped-call]
        return None, *(next(found) if tensor.is_floating_point() else None for tensor in tensors)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], run: Run, *tensors: Tensor) -> tuple[tuple[Tensor, ...], int]:
        return run(*_members_first(info.batch_size, in_dims[1:], tensors)), 0


class _Gradients(torch.autograd.Function):
    """The gradients of the floating-point tensors, given those of the outputs."""

    @staticmethod
    def forward(run: Run, num_outputs: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        gradients = _gradients(run, num_outputs, [tensor.unsqueeze(0) for tensor in tensors])
        return tuple(gradient.squeeze(0) for gradient in gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError("a function in a stack has no second derivative")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], run: Run, num_outputs: int, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], int]:
        return _gradients(run, num_outputs, _members_first(info.batch_size, in_dims[2:], tensors)), 0


def _gradients(run: Run, num_outputs: int, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors[num_outputs:]]
        outputs = run(*inputs)
        weights = [tensor for tensor in inputs if tensor.requires_grad]
        pairs = [
            (output, grad) for output, grad in zip(outputs, tensors[:num_outputs], strict=True) if output.requires_grad
        ]
        return torch.autograd.grad(
            [output for output, _ in pairs], weights, [grad for _, grad in pairs], materialize_grads=True
        )


def _members_first(num_members: int, in_dims: tuple[int | None, ...], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    return [
        tensor.expand(num_members, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(tensors, in_dims, strict=True)
    ]


def look_up(table: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of a table, ``table[indices]``."""
    (rows,) = in_stack(_look_up, table, indices)
    return rows


def _look_up(table: Tensor, indices: Tensor) -> tuple[Tensor]:
    members, vocab = table.shape[:2]
    offsets = vocab * torch.arange(members, device=table.device)
    flat = (indices.flatten(1) + offsets[:, None]).flatten()
    return (table.flatten(0, 1).index_select(0, flat).view(*indices.shape, *table.shape[2:]),)
