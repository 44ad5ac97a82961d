"""The word problem of a group: the product of its elements so far.

    Z3:   1 2 2 -> 2        after each token: 1 0 2
    S3:   1 2 5 -> 2        after each token: 1 4 2

Tokens and labels are numbers of elements of the group. The label after token t is x_1·x_2·…·x_t, each new element on
the right. The elements are numbered as follows; the identity is always 0:

    Z_n     the residues 0 to n - 1 under addition
    S_n     the permutations (p(0), …, p(n-1)) in lexicographic order, (p·q)(i) = p(q(i)): the right factor first
    A_n     the even permutations, in the same order
    GxH     the pairs (g, h) as g·|H| + h

So S3 is 0 = (0 1 2), 1 = (0 2 1), 2 = (1 0 2), 3 = (1 2 0), 4 = (2 0 1), 5 = (2 1 0). Numbers and products are
those of the data that the authors of the source published (github.com/jopetty/word-problem).

All elements are equally likely, and so are all answers: chance is one in the number of elements. The word problem of
a group that is not solvable (A5 is the smallest; S5 contains it) is complete for NC1.

Source: Merrill, Petty, Sabharwal, "The illusion of state in state-space models" (2024), arXiv 2404.08819, section 5.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.tasks.task import Batch, Generator, Numbers, Task, uniform

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int

MAX_ELEMENTS = 1000
"""Largest group: a group is stored as its Cayley table, which has the square of this many entries."""

_SMALLEST = {"Z": 2, "S": 2, "A": 3}
"""Smallest n of each family whose group has more than one element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWord(Task):
    """Tokens are independent and uniform elements of a group; the answer is their product from left to right."""

    name: ClassVar[str] = "group_word"
    source: ClassVar[str] = "Merrill, Petty, Sabharwal 2024, arXiv 2404.08819"

    group: str = option(doc="a group Zn, Sn or An, or a direct product: A5, S5, Z60, A4xZ5")

    @property
    def vocab_size(self) -> int:
        """One token per element."""
        return _order(self.group)

    @property
    def num_classes(self) -> int:
        """One label per element."""
        return _order(self.group)

    def problems(self) -> Mapping[str, str]:
        """See `Task.problems`. The text must name a group, and not too large a one."""
        if _is_group(self.group):
            return {}
        accepted = (
            "Zn and Sn with n of at least 2, An with n of at least 3, and products of them with x, as in A4xZ5, "
            f"of at most {MAX_ELEMENTS} elements"
        )
        respelt = re.sub(r"[\s_*X\u00d7]+", "x", self.group.strip().upper())
        return {"group": accepted + (f" (write {respelt})" if _is_group(respelt) else "")}

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in elements."""
        import torch

        order = _order(self.group)
        tokens = uniform(order, len(lengths), int(lengths.max()), generator)
        products = _cayley_table(self.group, tokens.device).flatten()
        targets = torch.empty_like(tokens)
        product = torch.zeros_like(lengths)
        for time in range(tokens.shape[1]):
            product = products[product * order + tokens[:, time]]
            targets[:, time] = product
        return Batch.cut(tokens, targets, lengths)


def _is_group(group: str) -> bool:
    if not re.fullmatch(r"[ZSA][1-9][0-9]{0,3}(x[ZSA][1-9][0-9]{0,3})*", group):
        return False
    return all(n >= _SMALLEST[family] for family, n in _factors(group)) and _order(group) <= MAX_ELEMENTS


def _factors(group: str) -> list[tuple[str, int]]:
    return [(factor[0], int(factor[1:])) for factor in group.split("x")]


def _order(group: str) -> int:
    return math.prod(
        n if family == "Z" else math.factorial(n) // (1 + (family == "A")) for family, n in _factors(group)
    )


@functools.cache
def _cayley_table(group: str, device: torch.device) -> Int[torch.Tensor, "left right"]:
    """Return the number of each product; in pairs, the first factor is the higher digit."""
    table, *others = (_factor_table(family, n) for family, n in _factors(group))
    for other in others:
        order = len(table) * len(other)
        table = (table[:, None, :, None] * len(other) + other[None, :, None, :]).reshape(order, order)
    return table.to(device)


def _factor_table(family: str, n: int) -> Int[torch.Tensor, "left right"]:
    import torch

    if family == "Z":
        residues = torch.arange(n)
        return (residues[:, None] + residues) % n
    permutations = itertools.permutations(range(n))
    elements = torch.tensor([p for p in permutations if family == "S" or _is_even(p)])
    digits = n ** torch.arange(n).flip(0)  # read as numbers in base n, permutations ascend in this order
    products = elements[:, elements]  # at [p, q, i]: p(q(i))
    return torch.searchsorted((elements * digits).sum(-1), (products * digits).sum(-1))


def _is_even(permutation: Sequence[int]) -> bool:
    return sum(left > right for left, right in itertools.combinations(permutation, 2)) % 2 == 0
