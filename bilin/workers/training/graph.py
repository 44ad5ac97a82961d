"""Training and evaluation on a GPU: what a stack computes is captured once as a CUDA graph, and then replayed.

A GPU computes a step of a small model in less time than Python takes to launch its kernels. A graph launches all of
them at once. Its kernels read and write fixed addresses, so a program has seats: a member's tensors lie in its seat
while it trains, and when it ends, another member may take the seat without a new capture. An evaluation has places,
into which the weights of whoever is evaluated are copied.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bilin.errors import one_line
from bilin.models.module import SequenceModel
from bilin.tasks import Batch
from bilin.workers.training.state import TrialState
from bilin.workers.training.step import Forward, Stack, differentiate, logits_of, lr_at, update, updating

WARM_UP_STEPS = 3
"""Libraries choose their kernels and allocate their workspaces in the first steps, which cannot be captured."""


@dataclass(slots=True, eq=False)
class Seat:
    """A place in a program.

    Attributes:
        tensors: Everything that a step changes, as the state of a trial whose tensors never move. Its model is the
            first one of the program.
        member: The trial that sits here; None if the seat is free.
    """

    tensors: TrialState
    member: TrialState | None

    def suits(self, state: TrialState) -> bool:
        """Whether a trial may sit here: what the kernels know as constants must be equal."""
        return _constants(state) == _constants(self.tensors)


class Program:
    """The training step of a stack, with its inputs at fixed addresses; on a CUDA device, it becomes a graph.

    On another device every step runs as it is written, which is how this is tested without a GPU.

    Args:
        states: The first members, one for each seat.
        like: A batch of the shape that all batches have.

    Attributes:
        seats: The places of its members.
        is_broken: Whether a step has failed, after which it makes no other one.
    """

    def __init__(self, states: Sequence[TrialState], like: Batch) -> None:
        self._every_token = states[0].spec.cell.supervision == "every_token"
        stack = Stack([state.model for state in states]) if len(states) > 1 else None
        self._model, self._weights = stack or states[0].model, stack.trained if stack else states[0].weights
        self.seats = [Seat(tensors=_fixed(state, states[0].model), member=None) for state in states]
        inputs = (like.tokens, like.targets, like.num_tokens)
        self._batch = Batch(*(torch.stack([tensor] * len(states)) for tensor in inputs))
        self._rates = torch.zeros(len(states), device=states[0].device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._can_be_captured = self._rates.is_cuda and self.seats[0].tensors.model.capturable
        self.is_broken = False
        for seat, state in zip(self.seats, states, strict=True):
            self._move_in(seat, state)

    @property
    def members(self) -> list[TrialState]:
        """The trials that have a seat."""
        return [seat.member for seat in self.seats if seat.member]

    def fits(self, states: Sequence[TrialState], like: Batch) -> bool:
        """Whether the program can train these trials: they include its members, and fill over half of its seats."""
        if self.is_broken:
            return False
        is_alike = self._every_token == (states[0].spec.cell.supervision == "every_token")
        if not is_alike or self._batch.tokens.shape[1:] != like.tokens.shape or 2 * len(states) <= len(self.seats):
            return False
        members, free = self.members, [seat for seat in self.seats if not seat.member]
        if any(member not in states for member in members):
            return False
        for state in states:
            if state not in members:
                seat = next((seat for seat in free if seat.suits(state)), None)
                if seat is None or len(self.seats) == 1:  # the graph of a lone trial is that of its own module
                    return False
                free.remove(seat)
        return True

    def step(self, states: Sequence[TrialState], batches: Sequence[Batch]) -> None:
        """Update the weights of some trials once, each with its own batch; they must fit."""
        self._arrange(states)
        batch_of = dict(zip(states, batches, strict=True))
        each = [batch_of[seat.member] if seat.member else batches[0] for seat in self.seats]
        torch.stack([batch.tokens for batch in each], out=self._batch.tokens)
        torch.stack([batch.targets for batch in each], out=self._batch.targets)
        torch.stack([batch.num_tokens for batch in each], out=self._batch.num_tokens)
        for state in states:
            state.lr = lr_at(state.spec.cell.train, state.spec.lr, state.step)
        rates = [seat.member.lr if seat.member else 0.0 for seat in self.seats]
        # from pinned memory, the copy does not wait for the GPU
        self._rates.copy_(torch.tensor(rates, pin_memory=self._rates.is_cuda), non_blocking=True)
        if self._can_be_captured and self._graph is None:
            self._capture()
        if self._graph:
            self._graph.replay()
        else:
            found = self._differentiate()
            with updating():
                self._update(*found)
        for state in states:
            state.step += 1

    def vacate(self, states: Sequence[TrialState]) -> None:
        """Free the seats of some trials, which take their tensors with them."""
        for seat in self.seats:
            if seat.member and seat.member in states:
                state = seat.member
                Stack.detach(state.model)
                state.means = [tensor.clone() for tensor in state.means]
                state.squares = [tensor.clone() for tensor in state.squares]
                state.num_updates, state.loss_sum = state.num_updates.clone(), state.loss_sum.clone()
                seat.member = None  # last: if there is no memory for the copies, nobody else may sit here

    def _arrange(self, states: Sequence[TrialState]) -> None:
        members = self.members
        for state in states:
            if state not in members:
                self._move_in(next(seat for seat in self.seats if not seat.member and seat.suits(state)), state)

    def _move_in(self, seat: Seat, state: TrialState) -> None:
        """Move the tensors of a trial into a seat."""
        seat.member, fixed = state, seat.tensors
        if isinstance(self._model, Stack):
            self._model.put(self.seats.index(seat), state.model)
        for own, place in zip((*state.means, *state.squares), (*fixed.means, *fixed.squares), strict=True):
            place.copy_(own)
        fixed.loss_sum.copy_(state.loss_sum)
        fixed.num_updates.fill_(state.step)
        state.means, state.squares = [*fixed.means], [*fixed.squares]
        state.loss_sum, state.num_updates = fixed.loss_sum, fixed.num_updates

    def _compute(self) -> None:
        """Make one step of all seats with the inputs that are there."""
        self._update(*self._differentiate())

    def _update(self, losses: Tensor, gradients: Sequence[Sequence[Tensor]]) -> None:
        for seat, loss, grads, lr in zip(self.seats, losses, gradients, self._rates, strict=True):
            seat.tensors.num_updates.add_(1)
            update(seat.tensors, grads, lr)
            seat.tensors.loss_sum.add_(loss)

    def _differentiate(self) -> tuple[Tensor, Sequence[Sequence[Tensor]]]:
        self.seats[0].tensors.model.train()  # the one whose code a stack runs
        return differentiate(self._model, self._weights, self._batch, every_token=self._every_token)

    def _capture(self) -> None:
        """Capture the step, without making one. If that is impossible, every step runs as it is written."""
        on_a_stream_of_its_own(self.warm_up)
        reason = "it draws random numbers of Python or numpy, which a graph would repeat"
        if self._can_be_captured:
            self._graph, reason = captured(self._compute)
        if self._graph is None:
            self._can_be_captured = False
            tier = self.seats[0].tensors.spec.cell.model.tier
            warnings.warn(f"{tier} trains without a CUDA graph, several times slower: {reason}", stacklevel=2)

    def warm_up(self) -> None:
        """Compute gradients a few times, and leave everything as it was; find out whether a graph would repeat it."""
        model = self._model
        buffers = [*(model.buffers.values() if isinstance(model, Stack) else model.buffers())]
        kept, drawn = [buffer.clone() for buffer in buffers], _python_generators()
        with torch.random.fork_rng(devices=[self._rates.device] if self._rates.is_cuda else []):
            for _ in range(WARM_UP_STEPS):
                self._differentiate()
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)
        self._can_be_captured &= drawn == _python_generators()


class Pass:
    """The forward pass of a stack over sequences of one shape; on a CUDA device, it becomes a graph.

    Args:
        stack: Its members are the places. Their weights may change, but do not move.
        like: A request of the shape that all have.
    """

    def __init__(self, stack: Stack, like: Forward) -> None:
        self._stack, self._every_token = stack, like.every_token
        num_places = len(next(iter(stack.weights.values())))
        self._tokens, self._num_tokens = (
            torch.stack([tensor] * num_places) for tensor in (like.tokens, like.num_tokens)
        )
        self._logits: Tensor | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self.can_be_captured = self._tokens.is_cuda and stack.model.capturable

    @torch.no_grad()
    def __call__(self, requests: Sequence[Forward]) -> list[Tensor]:
        """Return the logits of each request, with the weights in the first places; all have the same shape."""
        for place, request in enumerate(requests):
            self._tokens[place].copy_(request.tokens)
            self._num_tokens[place].copy_(request.num_tokens)
        self._stack.model.eval()
        if self.can_be_captured and self._graph is None:
            on_a_stream_of_its_own(self._compute)
            self._graph, reason = captured(self._compute)
            self.can_be_captured = self._graph is not None
            if reason:
                name = type(self._stack.model).__name__
                warnings.warn(f"{name} is evaluated without a CUDA graph, several times slower: {reason}", stacklevel=2)
        if self._graph:
            self._graph.replay()
        else:
            self._compute()
        assert self._logits is not None
        return [logits.clone() for logits in self._logits[: len(requests)]]  # the next replay writes over them

    def _compute(self) -> None:
        self._logits = self._stack(self._tokens, self._num_tokens, every_token=self._every_token)


class Passes:
    """The forward passes of evaluations, by the shape of their sequences and the number of places.

    A pass is made when its shape comes for the second time: many shapes come once, and a graph takes memory.
    """

    def __init__(self) -> None:
        self._places: Stack | None = None
        self._by_shape: dict[tuple[object, int], Pass | None] = {}

    def logits(self, requests: Sequence[Forward]) -> Sequence[Tensor]:
        """Return the logits of each request; all have the same shape."""
        if len(requests) == 1 and self._places is None:
            return logits_of(requests)
        num_places = 2 ** max(1, (len(requests) - 1).bit_length())  # few sizes, so that few graphs are captured
        shape = requests[0].alike, num_places
        if shape not in self._by_shape:
            self._by_shape[shape] = None
            return logits_of(requests)
        if self._places is None or num_places > len(next(iter(self._places.weights.values()))):
            models = [request.model for request in requests]
            self._places = Stack([*models, *models[:1] * (num_places - len(models))], share=False)
            self._by_shape = dict.fromkeys(self._by_shape)
        found = self._by_shape[shape] or Pass(self._places.first(num_places), requests[0])
        self._by_shape[shape] = found
        for place, request in enumerate(requests):
            self._places.put(place, request.model, share=False)
        return found(requests)


@dataclass(slots=True)
class Programs:
    """The programs that are in use on a GPU. A trial has a seat in one of them at most."""

    _programs: list[Program] = field(default_factory=list)
    _passes: Passes = field(default_factory=Passes)

    def logits(self, requests: Sequence[Forward]) -> Sequence[Tensor]:
        """Return the logits of each request; all have the same shape."""
        try:
            return self._passes.logits(requests)
        except BaseException:
            self._passes = Passes()  # memory may be what was lacking
            raise

    def keep(self, models: Sequence[SequenceModel]) -> None:
        """Free the seats of all other models, which have ended, and forget the programs that nobody uses."""
        running = set(models)
        for program in self._programs:
            program.vacate([state for state in program.members if state.model not in running])
        self._forget_empty()

    def step(self, states: Sequence[TrialState], batches: Sequence[Batch]) -> None:
        """Update the weights of some trials once, each with its own batch; all batches have the same shape."""
        program = self._program_of(states, batches[0])
        try:
            program.step(states, batches)
        except BaseException:
            program.is_broken = True  # its members leave it when the error, which holds much memory, is gone
            raise

    def _program_of(self, states: Sequence[TrialState], like: Batch) -> Program:
        """Return the program that the trials fit in, or a new one; they leave all others."""
        found = next((program for program in self._programs if program.fits(states, like)), None)
        for program in self._programs:
            if program is not found:
                program.vacate(states)
        self._forget_empty()
        if found is None:
            found = Program(states, like)
            self._programs.append(found)
        return found

    def _forget_empty(self) -> None:
        self._programs = [program for program in self._programs if program.members]


def on_a_stream_of_its_own(compute: Callable[[], None]) -> None:
    """Compute something before it is captured, as torch requires."""
    current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(current)
    with torch.cuda.stream(aside):
        compute()
    current.wait_stream(aside)


def captured(compute: Callable[[], None]) -> tuple[torch.cuda.CUDAGraph | None, str]:
    """Return a graph of what is computed, or None and why there is none; nothing is computed."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            compute()
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        return None, one_line(error)
    return graph, ""


def _fixed(state: TrialState, model: SequenceModel) -> TrialState:
    """Return a state with the weights of a trial, where they are, and tensors of its own for all else."""
    return replace(
        state,
        model=model,
        weights=[weight.data for weight in state.weights],
        means=[torch.empty_like(mean) for mean in state.means],
        squares=[torch.empty_like(square) for square in state.squares],
        num_updates=torch.empty_like(state.num_updates),
        loss_sum=torch.empty_like(state.loss_sum),
    )


def _constants(state: TrialState) -> tuple[object, ...]:
    """Return the settings that the kernels of an update have as constants."""
    train = state.spec.cell.train
    return train.optimizer, state.decays, train.clip_norm


def _python_generators() -> tuple[object, ...]:
    """Return the states of the global generators of Python and of numpy, if it is loaded."""
    numpy = sys.modules.get("numpy")
    return random.getstate(), str(numpy.random.get_state()) if numpy else None
