"""A pack: several trials of one shape that run as one program.

The code of a trial is a coroutine (`Work`). It draws, decides and measures by itself, and asks the pack for what costs
time: training steps, and logits in an evaluation. The pack answers what several trials ask for with one stack. When a
trial ends, the next one takes its place. A lone trial is a pack of one, which calls its module directly.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from bilin.errors import one_line
from bilin.failures import UnknownCulpritError, class_of, spoils_process
from bilin.spec import TrialSpec
from bilin.tasks import Batch
from bilin.workers.training.checkpoint import Clock
from bilin.workers.training.graph import Programs
from bilin.workers.training.state import TrialState, batches_at, start
from bilin.workers.training.step import Forward, Stacks, UpdateError, logits_of

T = TypeVar("T")

BURST_S = 0.25
"""After so long, steps return to their trials, which report and write checkpoints."""

SIZES, TRIES = (1, 4, 16, 64), 3
"""Sizes of stacks that are tried, each so many times, before the fastest one is taken."""

TOKENS_PER_PASS = {"cpu": 2**18, "cuda": 2**23}
"""Most tokens of a stack in one forward pass of an evaluation."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Asks for training steps, at most one for each batch. Answered with None when at least one is done."""

    state: TrialState
    batches: Sequence[Batch]

    @property
    def alike(self) -> tuple[object, ...]:
        """Requests for which this is equal can be answered together."""
        return Steps, self.batches[0].tokens.shape, self.state.spec.cell.supervision


Request: TypeAlias = Steps | Forward
Work: TypeAlias = Generator[Request, Any, T]


def alone(work: Work[T]) -> T:
    """Run the code of one trial to its end, or a part of it."""
    stacks, answer = Stacks(), None
    try:
        while True:
            request = work.send(answer)
            answer = stacks.logits([request])[0] if isinstance(request, Forward) else None
            if isinstance(request, Steps):
                stacks.step([request.state], request.batches[:1])
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass(slots=True, eq=False)
class Member(Generic[T]):
    """A trial of a pack.

    Attributes:
        around: Makes the context in which its own code runs.
        clock: Counts the time of its own code, and its share of what is computed together.
    """

    work: Work[T]
    clock: Clock
    around: Callable[[], AbstractContextManager[object]]
    request: Request | None = None
    error: BaseException | None = None

    def resume(self, answer: object = None) -> None:
        """Run its own code up to the next request. Raises StopIteration with its result at its end."""
        error, self.error = self.error, None
        with self.around(), self.clock:
            self.request = self.work.throw(error) if error else self.work.send(answer)


class Sizes:
    """How many trials a stack has: a given number, or the one of `SIZES` that turned out to be fastest."""

    def __init__(self, given: int | None) -> None:
        self._given = given
        self._limit = sys.maxsize
        self._tries, self._shortest = Counter[int](), dict[int, float]()

    def choose(self, num_members: int) -> int:
        """Return the size for the next steps of some members; it may be larger than their number."""
        if self._given is not None:
            return min(self._given, self._limit)
        sizes = [size for size in SIZES if size <= min(2 * num_members, self._limit)] or [1]
        untried = [size for size in sizes if self._tries[size] < TRIES]
        return untried[0] if untried else min(sizes, key=self._shortest.__getitem__)

    def took(self, size: int, seconds: float) -> None:
        """Note how long a step of one member took in stacks of a size."""
        self._tries[size] += 1
        self._shortest[size] = min(seconds, self._shortest.get(size, seconds))

    def failed(self, num_members: int) -> None:
        """Note that a stack of so many members does not run: from now on, none has more than half."""
        self._limit = min(self._limit, max(1, num_members // 2))


@dataclass(slots=True)
class Pack(Generic[T]):
    """Runs trials of one shape, a number of them at a time.

    Attributes:
        limit: Most trials at a time.
        sizes: How many of them a stack has.
        stacks: Makes the steps and the forward passes of stacks.
        check: Raises what others than the code of trials have raised, such as a user's interrupt.
        largest: Members of the largest stack so far.
        is_over: Whether the trials that are running will not go on.
    """

    limit: int
    sizes: Sizes
    stacks: Stacks | Programs
    check: Callable[[], None]
    largest: int = 1
    is_over: bool = False

    def run(self, trials: Iterable[Member[T]]) -> Iterator[T]:
        """Run trials to their ends; yield their results as they end."""
        waiting, running = iter(trials), list[Member[T]]()
        try:
            while True:
                while len(running) < self.limit and (member := next(waiting, None)):
                    running.append(member)
                    yield from self._resume(running, [(member, None)])
                if not running:
                    return
                yield from self._answer(running)
        finally:
            self.is_over = True
            for member in running:
                member.work.close()

    def _answer(self, running: list[Member[T]]) -> Iterator[T]:
        """Answer what the trials ask for: evaluations first, so that trials stay at the same step."""
        forward = [member for member in running if isinstance(member.request, Forward)]
        if not forward:
            self.stacks.keep([member.request.state.model for member in running if isinstance(member.request, Steps)])
        alike = defaultdict[object, list[Member[T]]](list)
        for member in forward or running:
            assert member.request is not None
            alike[member.request.alike].append(member)
        for members in alike.values():
            with members[0].around():  # what is printed cannot be told apart
                answers = self._forward(members) if forward else self._steps(members)
            yield from self._resume(running, list(zip(members, answers, strict=True)))

    def _resume(self, running: list[Member[T]], answered: Sequence[tuple[Member[T], object]]) -> Iterator[T]:
        for member, answer in answered:
            try:
                member.resume(answer)
            except StopIteration as end:
                running.remove(member)
                yield end.value

    def _steps(self, members: Sequence[Member[T]]) -> Sequence[None]:
        """Make steps of some members for a while."""
        requests = {member: member.request for member in members if isinstance(member.request, Steps)}
        num_steps, began = min(len(request.batches) for request in requests.values()), time.monotonic()
        for index in range(num_steps):
            able = [member for member in members if not member.error]
            size, begun = self.sizes.choose(len(able)), time.perf_counter()
            is_last = index == num_steps - 1 or time.monotonic() - began > BURST_S

            def step(some: Sequence[Member[T]], index: int = index, is_last: bool = is_last) -> None:
                asked = [requests[member] for member in some]
                self.stacks.step([request.state for request in asked], [request.batches[index] for request in asked])
                if is_last and asked[0].state.device.type == "cuda":
                    torch.cuda.synchronize()  # its time is that of these trials, not of whoever looks at a value first

            for first in range(0, len(able), size):
                self._together(able[first : first + size], step)
            self.sizes.took(size, (time.perf_counter() - begun) / max(1, len(able)))
            if is_last:
                break
        return [None] * len(members)

    def _forward(self, members: Sequence[Member[T]]) -> Sequence[Tensor | None]:
        """Compute logits for some members."""
        requests = {member: member.request for member in members if isinstance(member.request, Forward)}
        logits: dict[Member[T], Tensor] = {}
        tokens = requests[members[0]].tokens
        fit = max(1, TOKENS_PER_PASS[tokens.device.type] // tokens.numel())
        size = min(fit, self.sizes.choose(len(members)))

        def forward(some: Sequence[Member[T]]) -> None:
            logits.update(zip(some, self.stacks.logits([requests[member] for member in some]), strict=True))

        for first in range(0, len(members), size):
            self._together(members[first : first + size], forward)
        return [logits.get(member) for member in members]

    def _together(self, members: Sequence[Member[T]], compute: Callable[[Sequence[Member[T]]], None]) -> None:
        """Compute something for some members; if that fails, for each half of them, so that only one at fault fails."""
        begun = time.perf_counter()
        try:
            compute(members)
        except BaseException as error:  # whatever the code of a tier raises
            self.check()
            has_begun = isinstance(error, UpdateError)
            raised = error.__cause__ or error if has_begun else error
            if len(members) == 1:
                members[0].error = raised
                return
            if has_begun or spoils_process(raised):  # so halving is impossible: the sweep runs them in smaller packs
                for member in members:
                    member.error = UnknownCulpritError(f"in a pack of {len(members)}, one raised: {one_line(raised)}")
                return
            is_memory = class_of(raised, own=False) == "oom"
        else:
            self.largest = max(self.largest, len(members))
            for member in members:
                member.clock.add((time.perf_counter() - begun) / len(members))
            return
        # now that the error is gone, and with it what it refers to: memory may be what was lacking
        half = len(members) // 2
        for part in (members[:half], members[half:]):
            self._together(part, compute)
        if is_memory or not any(member.error for member in members):  # the stack itself was at fault
            self.sizes.failed(len(members))


def differs_in_a_stack(spec: TrialSpec, device: torch.device) -> bool:
    """Return whether a trial has other bits in a stack than alone on this machine, by a step of each of three trials.

    Kernels choose how they round by the processor, and by the sizes of what they compute.
    """
    members = [replace(spec, seed=spec.seed + number) for number in range(3)]
    alone, together = ([start(member, device) for member in members] for _ in range(2))
    batches = [batches_at(state)[0] for state in alone]
    for state, batch in zip(alone, batches, strict=True):
        Stacks().step([state], [batch])
    Stacks().step(together, batches)
    asked = [
        Forward(state.model, batch.tokens, batch.num_tokens, every_token=False)
        for state, batch in zip(alone, batches, strict=True)
    ]
    pairs = [*zip([logits_of([request])[0] for request in asked], logits_of(asked), strict=True)]
    for one, other in zip(alone, together, strict=True):
        pairs += [*zip([*one.means, *one.squares], [*other.means, *other.squares], strict=True)]
    return not all(torch.equal(one, other) for one, other in pairs)
