"""The order in which a loop over time processes sequences of mixed lengths, those of all members of a stack together.

Tensors have the members as their first axis. At each time a loop has the states of the first rows of every member,
(members, rows, H). A row whose sequence has ended while others in the stack have not is dead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
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
        tokens: Tokens of each member's rows at each time, counted through the vocabularies of all members. The token
            after the last one, of dead rows, has a row of 0.
        has_dead: Whether there are dead rows.
    """

    def __init__(self, tokens: Sequence[Tensor], *, has_dead: bool) -> None:
        self._tokens = tokens
        self._has_dead = has_dead
        self._tables: dict[Tensor, Tensor] = {}
        self._taken: dict[Tensor, tuple[Tensor, ...]] = {}

    def take(self, table: Float[Tensor, "members vocab *width"], time: int) -> Float[Tensor, "members each *width"]:
        """Return the rows of one time."""
        if torch.is_grad_enabled():
            taken = self._taken.get(table)
            if taken is None:
                taken = self._taken[table] = self._at_all_times(table)
            return taken[time]
        if table not in self._tables:
            self._tables[table] = self._with_dead(table)
        return (
            self._tables[table].index_select(0, self._tokens[time].flatten()).view(table.shape[0], -1, *table.shape[2:])
        )

    def _at_all_times(self, table: Tensor) -> tuple[Tensor, ...]:
        tokens = torch.cat(list(self._tokens), dim=1)
        rows = self._with_dead(table).index_select(0, tokens.flatten()).view(*tokens.shape, *table.shape[2:])
        return torch.split(rows, [part.shape[1] for part in self._tokens], 1)

    def _with_dead(self, table: Tensor) -> Tensor:
        rows = table.flatten(0, 1)
        return torch.cat([rows, torch.zeros_like(rows[:1])]) if self._has_dead else rows


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
        device = tokens.device
        self._order = torch.argsort(num_tokens, dim=1, descending=True, stable=True)
        self._lengths = num_tokens.gather(1, self._order)
        rank = torch.arange(batch, device=device).expand_as(self._order)
        self._rank = torch.empty_like(self._order).scatter_(1, self._order, rank)
        self._num_tokens, self._time = num_tokens, time
        present = torch.arange(time, device=device)[:, None, None] < self._lengths
        counts = [now for now in present.sum(2).tolist() if any(now)]
        self._ends = [now != then for now, then in pairwise([*counts, [0] * members])]
        self.sizes: list[int] = [min(-(-max(now) // multiple) * multiple, batch) for now in counts]
        live = [
            None if min(now) == size else there[:, :size]
            for now, size, there in zip(counts, self.sizes, present, strict=False)
        ]
        self._member = torch.arange(members, device=device)[:, None]
        counted = tokens.gather(1, self._order.unsqueeze(2).expand_as(tokens)) + vocab * self._member.unsqueeze(2)
        by_time = counted.permute(2, 0, 1)
        if has_dead := any(now is not None for now in live):
            by_time = torch.where(present, by_time, members * vocab)
        tokens_of = [now[:, :size] for now, size in zip(by_time.contiguous(), self.sizes, strict=False)]
        cut = [now.flatten() for now in tokens_of]
        all_groups = functools.cache(functools.partial(group, cut, live, members * vocab))
        taker = Taker(tokens_of, has_dead=has_dead)
        self.steps = [
            Rows(tokens=now, live=there, size=size, vocab=vocab, time=time, all_groups=all_groups, taker=taker)
            for time, (now, there, size) in enumerate(zip(cut, live, self.sizes, strict=True))
        ]

    def start(self, states: Tensor) -> Tensor:
        """Return the states before the first token in the order of the layout, from those of the sequences."""
        return states.gather(1, self._order.unsqueeze(2).expand_as(states))

    def last(self, states: Iterable[Tensor]) -> Float[Tensor, "members batch width"]:
        """Return the state after the last token of each sequence, from the states at each time."""
        if torch.is_grad_enabled():
            in_one_piece = torch.cat(list(states), dim=1).flatten(0, 1)
            return in_one_piece.index_select(0, self._places()).view(*self._order.shape, -1)
        last: Tensor | None = None
        for num, (now, ends) in enumerate(zip(states, self._ends, strict=True), 1):
            last = now.clone() if last is None else last
            if ends:
                kept = last[:, : now.shape[1]]
                kept.copy_(torch.where((self._lengths[:, : now.shape[1]] == num).unsqueeze(2), now, kept))
        assert last is not None
        return self._in_order(last)

    def _places(self) -> Tensor:
        """Return where the last state of each sequence is among the states of all times."""
        starts = torch.tensor(list(accumulate(self.sizes, initial=0)), device=self._rank.device)
        start = starts.index_select(0, (self._num_tokens - 1).flatten()).view_as(self._rank)
        return torch.add(start + self._rank, self._member, alpha=sum(self.sizes)).flatten()

    def pad(self, states: Iterable[Tensor]) -> Float[Tensor, "members batch time width"]:
        """Return the states of each sequence, from those at each time; those in the padding are meaningless."""
        padded = [functional.pad(now, (0, 0, 0, self._order.shape[1] - now.shape[1])) for now in states]
        padded += [padded[-1]] * (self._time - len(padded))
        return self._in_order(torch.stack(padded, dim=2))

    def _in_order(self, by_length: Tensor) -> Tensor:
        place = (self._rank + self._rank.shape[1] * self._member).flatten()
        return by_length.flatten(0, 1).index_select(0, place).view_as(by_length)


class Padded:
    """Sequences as they are, with padding. Looks at no value, so a CUDA graph can hold the loop.

    The state of a dead row stays as it is.
    """

    keeps_dead: ClassVar[bool] = True

    def __init__(self, tokens: StackTokens, num_tokens: StackNumTokens, *, vocab: int) -> None:
        members, batch, time = tokens.shape
        present = torch.arange(time, device=tokens.device)[:, None, None] < num_tokens
        counted = tokens + vocab * torch.arange(members, device=tokens.device)[:, None, None]
        tokens_of = counted.unbind(2)
        taker = Taker(tokens_of, has_dead=False)
        self.steps = [
            Rows(
                tokens=tokens_of[t].flatten(), live=live, size=batch, vocab=vocab, time=t, all_groups=None, taker=taker
            )
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
