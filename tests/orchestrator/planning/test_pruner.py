"""What a pruner stops: decided at a rung, whatever the order in which trials reach it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilin.errors import GridError
from bilin.orchestrator.grid import WantedCell, parse_grid
from bilin.orchestrator.planning.search import Ask, Key, decide, min_steps
from bilin.record import Rung
from bilin.rules import Outcome
from bilin.spec import Point
from tests.examples import examples

LRS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
GRID = """
name: pruned
tasks: [{{name: modular_addition, m: 2}}]
models: [{{tier: rotation, hidden: 4, embedding: 4}}]
train: {{steps: 100}}
validate: {{every: 5}}
learning_rate: {rate}
pruner: {pruner}
seeds: {seeds}
"""


def cell(pruner: str = "{kind: halving, first: 10}", rate: str = f"{{choices: {[*LRS]}}}", seeds: str = "[0, 1]"):
    """A cell whose rungs are the steps 10, 30 and 90, by default."""
    (wanted,) = parse_grid(GRID.format(pruner=pruner, rate=rate, seeds=seeds)).cells
    return wanted


def accuracy(lr: float, seed: int, step: int) -> float:
    """How good a trial is at a step: 3e-3 is the best rate in the end, 1e-1 at the first rung."""
    if lr == 1e-1 and step == 10:
        return 0.99
    return 0.5 + 0.4 / (1 + abs(LRS.index(lr) - LRS.index(3e-3))) + 0.001 * seed - 0.0001 * LRS.index(lr)


def run(wanted: WantedCell, ask: Ask, before: Outcome | None) -> Outcome:
    """The outcome of a trial up to its rung, or to its end."""
    end = ask.until or 100
    done = [rung.step for rung in before.rungs] if before else []
    steps = [*done, *(step for step in wanted.rungs if step <= end and step not in done)]
    rungs = tuple(Rung(step, accuracy(ask.point.lr, ask.seed, step), 0.1) for step in steps)
    return Outcome(
        *ask.key,
        is_done=ask.until is None,
        solved=False,
        validation_accuracy=accuracy(ask.point.lr, ask.seed, end),
        training_loss=0.1,
        has_result=ask.until is None,
        paused_at=ask.until,
        rungs=rungs,
    )


def run_all(wanted: WantedCell, order: st.DataObject | None = None) -> tuple[dict[Key, Outcome], int]:
    """Run trials one by one, in any order, until nothing is asked for; also return the steps that they took."""
    known: dict[Key, Outcome] = {}
    asked, num_steps = list[Point](), 0
    while due := [ask for ask in decide(wanted, known, asked) if not ask.is_met(known)]:
        asked = list(dict.fromkeys([*asked, *(ask.point for ask in due)]))
        ask = order.draw(st.sampled_from(due)) if order else due[0]
        before = known.get(ask.key)
        known[ask.key] = run(wanted, ask, before)
        num_steps += (ask.until or 100) - (before.paused_at or 0 if before else 0)
    return known, num_steps


def ends(known: Mapping[Key, Outcome]) -> dict[float, int | None]:
    """The rung at which each learning rate stopped."""
    return {point.lr: outcome.paused_at for (point, _), outcome in known.items()}


def test_halving_keeps_a_third_at_each_rung_and_one_to_the_end():
    known, num_steps = run_all(cell())
    stopped_at = ends(known)
    assert sorted(stopped_at.values(), key=lambda step: step or 100) == [10] * 6 + [30] * 2 + [None]
    assert stopped_at[3e-3] is None
    assert stopped_at[1e-1] == 30, "it was among the best at the first rung alone"
    assert num_steps == min_steps(cell()) == 2 * (6 * 10 + 2 * 30 + 100)


def test_the_median_keeps_those_that_are_not_below_it():
    known, num_steps = run_all(cell("{kind: median, first: 10}"))
    assert sorted(ends(known).values(), key=lambda step: step or 100) == [10] * 4 + [30] * 2 + [90] + [None] * 2
    assert num_steps == min_steps(cell("{kind: median, first: 10}"))


@examples(60)
@given(data=st.data())
def test_what_is_stopped_does_not_depend_on_the_order_of_the_trials(data):
    assert run_all(cell(), data) == run_all(cell())


ASYNCHRONOUS = "{kind: halving, first: 10, asynchronous: true}"


@examples(60)
@given(data=st.data())
def test_an_asynchronous_pruner_stops_at_most_as_many(data):
    wanted = cell(ASYNCHRONOUS)
    known, num_steps = run_all(wanted, data)
    stopped_at = [*ends(known).values()]
    assert 1 <= stopped_at.count(10) <= 6
    assert None in stopped_at
    assert num_steps >= min_steps(wanted)
    assert all(ask.is_met(known) for ask in decide(wanted, known)), "a relaunch runs nothing"


def test_an_asynchronous_rung_does_not_wait_and_decides_by_those_that_have_reached_it():
    wanted = cell(ASYNCHRONOUS, seeds="[0]")
    asks = decide(wanted, {})
    known = {ask.key: run(wanted, ask, None) for ask in asks[4:6]}
    assert {ask.until for ask in decide(wanted, known)} == {10}, "of two, no third goes on"
    known |= {ask.key: run(wanted, ask, None) for ask in asks[6:7]}
    assert [ask.point.lr for ask in decide(wanted, known) if ask.until == 30] == [1e-3]
    known |= {ask.key: run(wanted, ask, None) for ask in asks[1:4]}
    goes_on = Ask(Point(1e-3), 0, 30)
    assert [ask.point.lr for ask in decide(wanted, known) if ask.until == 30] == [1e-2, 3e-3]
    known[goes_on.key] = run(wanted, goes_on, known[goes_on.key])
    assert [ask.point.lr for ask in decide(wanted, known) if ask.until == 30] == [1e-2, 3e-3, 1e-3]


def test_what_went_on_and_was_solved_before_the_next_rung_is_compared_there():
    wanted = cell(ASYNCHRONOUS, seeds="[0]")
    asks = decide(wanted, {})
    known = {ask.key: run(wanted, ask, None) for ask in asks[4:7]}
    (goes_on,) = (ask for ask in decide(wanted, known) if ask.until == 30)
    known[goes_on.key] = dataclasses.replace(
        known[goes_on.key], is_done=True, solved=True, paused_at=None, validation_accuracy=1.0
    )
    known |= {ask.key: run(wanted, ask, None) for ask in asks[:4]}
    assert goes_on.point.lr not in [ask.point.lr for ask in decide(wanted, known) if ask.until == 10]


def test_an_asynchronous_median_compares_with_those_before():
    wanted = cell("{kind: median, first: 10, asynchronous: true}", seeds="[0]")
    asks = decide(wanted, {})
    known = {ask.key: run(wanted, ask, None) for ask in (asks[0], asks[8])}
    assert [ask.point.lr for ask in decide(wanted, known) if ask.until == 30] == [1e-1]


def test_a_rung_waits_for_every_seed_of_every_rate_that_goes_on_to_it():
    wanted = cell()
    (first, *others) = decide(wanted, {})
    assert {ask.until for ask in (first, *others)} == {10}
    known = {ask.key: run(wanted, ask, None) for ask in others}
    assert [ask for ask in decide(wanted, known) if not ask.is_met(known)] == [first]


def test_the_next_round_of_a_search_waits_for_those_that_go_on():
    wanted = cell(rate="{log_uniform: [1e-5, 1e-1], trials: 6, round: 3}", seeds="[0]")
    asks = decide(wanted, {})
    points = [ask.point for ask in asks]
    paused = {ask.key: paused_at(ask, 10, score=0.6 + index / 10) for index, ask in enumerate(asks)}
    again = decide(wanted, paused, points)
    assert [ask.until for ask in again] == [10, 10, 30]
    ended = {**paused, again[2].key: dataclasses.replace(paused[again[2].key], is_done=True, paused_at=None)}
    assert len(decide(wanted, ended, points)) == 6


def paused_at(ask: Ask, step: int, *, score: float) -> Outcome:
    rungs = (Rung(step, score, 0.1),)
    return Outcome(*ask.key, False, False, score, 0.1, has_result=False, paused_at=step, rungs=rungs)


def test_a_solved_trial_counts_at_later_rungs_with_what_it_reached():
    wanted = cell(seeds="[0]")
    known = {ask.key: run(wanted, ask, None) for ask in decide(wanted, {})}
    best = (Point(1e-5), 0)
    known[best] = Outcome(*best, is_done=True, solved=True, validation_accuracy=1.0, training_loss=0.0)
    due = [ask for ask in decide(wanted, known) if not ask.is_met(known)]
    assert [(ask.point.lr, ask.until) for ask in due] == [(1e-1, 30), (3e-3, 30)]
    known |= {ask.key: run(wanted, ask, known[ask.key]) for ask in due}
    assert all(ask.is_met(known) for ask in decide(wanted, known)), "the solved one is the best: nothing goes on"


def test_a_trial_that_was_trained_without_the_pruner_is_not_trained_again():
    wanted = cell(seeds="[0]")
    whole = {ask.key: run(wanted, Ask(*ask.key), None) for ask in decide(wanted, {})}
    plain = {key: dataclasses.replace(outcome, rungs=()) for key, outcome in whole.items()}
    assert all(ask.is_met(plain) for ask in decide(wanted, plain))


@pytest.mark.parametrize(
    ("pruner", "rate", "message"),
    [
        ("{kind: halving, first: 7}", "{}", "pruner.first: found 7, but trials are evaluated every 5 steps; accepted"),
        (
            "{kind: halving}",
            "{until_solved: true}",
            "until_solved: true, which tries one learning rate after the other",
        ),
        ("{kind: halving, reduction: 1}", "{}", "pruner.reduction: found 1; accepted: a whole number of at least 2"),
        ("{kind: halfing}", "{}", "did you mean halving?"),
        ("{first: 5}", "{}", "pruner.kind: missing; accepted: none, halving, median"),
    ],
)
def test_a_grid_with_a_pruner_that_cannot_be_has_one_clear_error(pruner: str, rate: str, message: str):
    with pytest.raises(GridError) as caught:
        cell(pruner, rate)
    assert message in str(caught.value)
