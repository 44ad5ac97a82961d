"""The order in which a loop over time processes sequences of mixed lengths, those of all members of a stack together.

Tensors have the members as their first axis. At each time a loop has the states of the first rows of every member,
(members, rows, H). A row whose sequence has ended while others in the stack have not is dead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from bilin.models.bilinear.matrices import Groups, group

StackTokens: TypeAlias = Int[Tensor, "members batch time"]
StackNumTokens: TypeAlias = Int[Tensor, "members batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one time, those of the first member first.

    Attributes:
        tokens: Token of each row, counted through the vocabularies of all members: that of member k begin at k · V;
            the next one after all for dead rows, except in `Padded`.
        live: Whether the sequence has a token at this time; None if all have.
        size: Number of rows of each member.
        all_groups: Returns the rows of each time grouped by token; None for layouts that do not look at values.
        taker: Takes rows of tables for all times.
    """

    tokens: Int[Tensor, " rows"]
    live: Bool[Tensor, "members each"] | None
    size: int
    vocab: int
    time: int
    all_groups: Callable[[], list[Groups]] | None
    taker: Taker

    def take(self, table: Float[Tensor, "members vocab *width"]) -> Float[Tensor, "members each *width"]:
        """Return the row of a table at the token of each row."""
        return self.taker.take(table, self.time)

    @property
    def groups(self) -> Groups | None:
        """The rows grouped by token, for tiers with large matrices."""
        return None if self.all_groups is None else self.all_groups()[self.time]


class Taker:
    """Takes rows of tables: with gradients those of all times at once, so that the gradient too is formed at once.

    Args:
        tokens: Tokens of the rows of each time, counted through the vocabularies of all members. The token after the
            last one has a row of 0.
    """

    def __init__(self, tokens: list[Tensor]) -> None:
        self._tokens = tokens
        self._tables: dict[Tensor, Tensor] = {}
        self._taken: dict[Tensor, tuple[Tensor, ...]] = {}

    def take(self, table: Float[Tensor, "members vocab *width"], time: int) -> Float[Tensor, "members each *width"]:
        """Return the rows of one time."""
        if table not in self._tables:
            self._tables[table] = functional.pad(table.flatten(0, 1).flatten(1), (0, 0, 0, 1))
            if torch.is_grad_enabled():
                rows = self._tables[table].index_select(0, torch.cat(self._tokens))
                self._taken[table] = rows.split([len(part) for part in self._tokens])
        rows = self._taken[table][time] if self._taken else self._tables[table].index_select(0, self._tokens[time])
        return rows.view(len(table), -1, *table.shape[2:])


class Packed:
    """Sequences laid out time by time, the longest of each member first, so that a step leaves out the ended ones.

    Args:
        tokens: The sequences of each member, padded at the end.
        num_tokens: Their lengths.
        vocab: Number of tokens V of a member.
        multiple: The number of rows of each member is a multiple of this, or the whole batch.

    The state of a dead row becomes 0.

    Attributes:
        sizes: Number of rows of each member at each time; never increasing.
        steps: The rows of each time.
    """

    keeps_dead: ClassVar[bool] = False

    def __init__(self, tokens: StackTokens, num_tokens: StackNumTokens, *, vocab: int, multiple: int = 1) -> None:
        members, batch, time = tokens.shape
        order = torch.argsort(num_tokens, dim=1, descending=True, stable=True)
        by_length, lengths = tokens.gather(1, order.unsqueeze(2).expand_as(tokens)), num_tokens.gather(1, order)
        present = torch.arange(time, device=tokens.device)[:, None, None] < lengths
        fewest, most = torch.stack(present.sum(2).aminmax(dim=1)).tolist()
        self.sizes: list[int] = [min(-(-size // multiple) * multiple, batch) for size in most if size]
        self._batch, self._time = batch, time
        self._order, self._lengths = order, lengths
        self._nums = set(num_tokens.unique().tolist())
        member = torch.arange(members, device=tokens.device)[:, None]
        rank = torch.argsort(order)
        self._place = (rank + batch * member).flatten()
        size = torch.tensor(self.sizes, device=tokens.device)
        end = num_tokens - 1
        self._last = ((members * (size.cumsum(0) - size))[end] + member * size[end] + rank).flatten()
        counted = by_length + vocab * member[:, :, None]
        counted = torch.where(present.permute(1, 2, 0), counted, members * vocab)
        cut = [counted[:, :size, time].flatten() for time, size in enumerate(self.sizes)]
        live = [
            None if few == size else there[:, :size]
            for few, size, there in zip(fewest, self.sizes, present, strict=False)
        ]
        all_groups = functools.cache(functools.partial(group, cut, live, members * vocab))
        taker = Taker(cut)
        self.steps = [
            Rows(
                tokens=cut[time], live=live[time], size=size, vocab=vocab, time=time, all_groups=all_groups, taker=taker
            )
            for time, size in enumerate(self.sizes)
        ]

    def start(self, states: Tensor) -> Tensor:
        """Return the states before the first token in the order of the layout, from those of the sequences."""
        return states.gather(1, self._order.unsqueeze(2).expand_as(states))

    def last(self, states: Iterable[Tensor]) -> Float[Tensor, "members batch width"]:
        """Return the state after the last token of each sequence, from the states at each time."""
        if torch.is_grad_enabled():
            in_one_piece = torch.cat([now.flatten(0, 1) for now in states])
            return in_one_piece.index_select(0, self._last).unflatten(0, (-1, self._batch))
        last: Tensor | None = None
        for num, now in enumerate(states, 1):
            last = now.clone() if last is None else last
            if num in self._nums:
                ended = (self._lengths[:, : now.shape[1]] == num).unsqueeze(2)
                last[:, : now.shape[1]] = torch.where(ended, now, last[:, : now.shape[1]])
        assert last is not None
        return self._in_order(last)

    def pad(self, states: Iterable[Tensor]) -> Float[Tensor, "members batch time width"]:
        """Return the states of each sequence, from those at each time; those in the padding are meaningless."""
        padded = [functional.pad(now, (0, 0, 0, self._batch - now.shape[1])) for now in states]
        padded += [padded[-1]] * (self._time - len(padded))
        return self._in_order(torch.stack(padded, dim=2))

    def _in_order(self, by_length: Tensor) -> Tensor:
        return by_length.flatten(0, 1).index_select(0, self._place).view_as(by_length)


class Padded:
    """Sequences as they are, with padding. Looks at no value, so a CUDA graph can hold the loop.

    The state of a dead row stays as it is.
    """

    keeps_dead: ClassVar[bool] = True

    def __init__(self, tokens: StackTokens, num_tokens: StackNumTokens, *, vocab: int) -> None:
        members, batch, time = tokens.shape
        present = torch.arange(time, device=tokens.device)[:, None, None] < num_tokens
        counted = tokens + vocab * torch.arange(members, device=tokens.device)[:, None, None]
        cut = [now.flatten() for now in counted.unbind(2)]
        taker = Taker(cut)
        self.steps = [
            Rows(tokens=cut[t], live=live, size=batch, vocab=vocab, time=t, all_groups=None, taker=taker)
            for t, live in enumerate(present)
        ]

    def start(self, states: Tensor) -> Tensor:
        """See `Packed.start`."""
        return states

    def last(self, states: Iterable[Tensor]) -> Float[Tensor, "members batch width"]:
        """See `Packed.last`."""
        *_, last = states
        return last

    def pad(self, states: Iterable[Tensor]) -> Float[Tensor, "members batch time width"]:
        """See `Packed.pad`."""
        return torch.stack(list(states), dim=2)


Layout: TypeAlias = Packed | Padded
