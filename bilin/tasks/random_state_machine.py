"""Random state machine: the state of a randomly drawn machine after its inputs.

The machine has m states and starts in state 0. It has `num_symbols` inputs, by default as many as states. Each input
is a permutation of the states or, with ``maps``, sends every state to one drawn independently. A machine is drawn
again if some state cannot be reached, or if all its inputs do the same. With two states, the first rule excludes one
of the four pairs of permutations, the second one another; the remaining two are parity. From three states on, a machine
is also drawn again if all its inputs commute, since their order would not matter: with three states, it would be
addition modulo 3.

    m = 3, input 0: 0→1 1→2 2→0, input 1: 0→0 1→2 2→1, input 2: 0→2 1→0 2→1
    0 1 2 -> 1                  after each token: 1 2 1

Random maps forget: once an input sends two states to the same state they never separate, so the last few inputs say
much about the answer. With permutations, every input matters to the end.

With permutations, the states mostly become equally frequent as the length grows. Maps prefer some states: with m = 5
and the default machine, the most frequent answer has a share of 0.38 at length 500, which is 0.23 on the scale where
one in m is 0. Chance, one in m, is what a guess that ignores the frequencies achieves.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from bilin.fields import option
from bilin.spec import derive_seed
from bilin.tasks.task import Batch, Generator, Numbers, Task, uniform

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int

MAX_ENTRIES = 1_000_000
"""Largest size of a machine: number of inputs times number of states."""

Machine: TypeAlias = tuple[tuple[int, ...], ...]
"""The next state, by input and by state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomStateMachine(Task):
    """Tokens, independent and uniform, are inputs; the answer is the state that they lead to."""

    name: ClassVar[str] = "random_state_machine"
    source: ClassVar[str] = "Ebrahimi, Memisevic 2025, arXiv 2505.21749"

    m: int = option(at_least=2, doc="number of states")
    transitions: str = option("permutations", choices=("permutations", "maps"), doc="what an input does to the states")
    machine_seed: int = option(0, at_least=0, doc="seed of the machine, independent of the trial's seed")
    num_symbols: int | None = option(None, at_least=2, doc="number of inputs; null: as many as states", before=None)

    @property
    def vocab_size(self) -> int:
        """One token per input."""
        return self.m if self.num_symbols is None else self.num_symbols

    @property
    def num_classes(self) -> int:
        """One label per state."""
        return self.m

    @property
    def machine(self) -> Machine:
        """The machine that these settings define."""
        machine, _ = _draw(self.vocab_size, self.m, self.transitions, self.machine_seed)
        return machine

    @property
    def version(self) -> int:
        """See `Task.version`. In version 1, the inputs of some machines of three and more states commuted."""
        _, had_commuted = _draw(self.vocab_size, self.m, self.transitions, self.machine_seed)
        return 2 if had_commuted else 1

    def problems(self) -> Mapping[str, str]:
        """See `Task.problems`. The machine must not be too large, nor have too few maps to reach every state."""
        if self.m * self.vocab_size > MAX_ENTRIES:
            return {"num_symbols": f"at most {MAX_ENTRIES:,} next states, those of {self.m} states times the inputs"}
        fewest = math.ceil(math.log(self.m))
        if self.transitions == "maps" and self.vocab_size < fewest:
            return {"num_symbols": f"at least {fewest} for maps of {self.m} states, or null"}
        return {}

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in tokens."""
        import torch

        tokens = uniform(self.vocab_size, len(lengths), int(lengths.max()), generator)
        next_state = _table(self, tokens.device)
        targets = torch.empty_like(tokens)
        state = torch.zeros_like(lengths)
        for time in range(tokens.shape[1]):
            state = next_state[tokens[:, time] * self.m + state]
            targets[:, time] = state
        return Batch.cut(tokens, targets, lengths)


@functools.cache
def _table(task: RandomStateMachine, device: torch.device) -> Int[torch.Tensor, " entries"]:
    """Return the next state, by input and then by state."""
    import torch

    return torch.tensor(task.machine, device=device).flatten()


@functools.cache
def _draw(num_symbols: int, m: int, transitions: str, machine_seed: int) -> tuple[Machine, bool]:
    """Return the machine, and whether one was drawn before it whose inputs commute."""
    # Of all methods of Python's generator, only `random()` is the same in every version.
    generator = random.Random(derive_seed("random_state_machine", m, transitions, machine_seed))

    def draw_input() -> tuple[int, ...]:
        if transitions == "permutations":
            return tuple(sorted(range(m), key=lambda _: generator.random()))
        return tuple(int(generator.random() * m) for _ in range(m))

    had_commuted = False
    while True:
        machine = tuple(draw_input() for _ in range(num_symbols))
        if len(_reachable(machine)) == m and len(set(machine)) > 1:
            if m == 2 or not _commute(machine):
                return machine, had_commuted
            had_commuted = True


def _commute(machine: Machine) -> bool:
    """Return whether the order of two inputs never matters."""
    return all(
        one[then] == other[now]
        for one, other in itertools.combinations(machine, 2)
        for then, now in zip(other, one, strict=True)
    )


def _reachable(machine: Machine) -> set[int]:
    reached, frontier = {0}, [0]
    while frontier:
        state = frontier.pop()
        new = {next_state[state] for next_state in machine} - reached
        reached |= new
        frontier += new
    return reached
