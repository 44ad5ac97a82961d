"""Texts and JSON about plans: what a launch would run, and why."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bilin.cli.sweep.describe import (
    NOT_AGAIN,
    WIDTH,
    columns,
    describe_plan_state,
    describe_time,
    describe_versions,
    wrapped,
)
from bilin.cli.text import wrap
from bilin.fields import format_value
from bilin.orchestrator import Explanation, Plan, Reason, ReasonCount, TrialReason
from bilin.orchestrator.sweep.queues import MAX_PACK
from bilin.orchestrator.sweep.snapshot import Labels
from bilin.results import DEFAULT_STORE, Holder, store_option
from bilin.spec import Resources
from bilin.units import plural
from bilin.workers.actors.node import amounts_of, describe_amounts
from bilin.workers.environment import device_of

MAX_VALUES = 12

_SHOWN_BY_POINT_OR_SEED = {
    Reason.NEW_LR, Reason.NEW_POINT, Reason.NEW_SEED, Reason.LR_LEFT, Reason.POINT_LEFT, Reason.SEED_LEFT
}  # fmt: skip


def describe_plan(explanation: Explanation, holder: Holder | None = None, *, store: Path = DEFAULT_STORE) -> str:
    """Describe what a launch would run, and why; ``holder`` is the process that runs the sweep now."""
    plan = explanation.plan
    counts, rows = plan.grid.counts, []
    ranges = dict.fromkeys(str(range_) for cell in plan.cells for range_ in cell.wanted.ranges)
    for number, axes in enumerate(counts.axes):
        label = "axes" if len(counts.axes) == 1 else f"axes {number + 1}"
        for index, axis in enumerate(axes):
            rows.append(("" if index else label, f"{axis.name}: {_shown([*map(format_value, axis.values)])}"))
    for index, range_ in enumerate(ranges):
        rows.append(("" if index else "searched", range_))
    rows.append(("cells", _cells(plan)))
    limit = "at most " if plan.may_end_early else ""
    rows.append(("trials", f"{limit}{plan.num_wanted}: {_product(plan)}"))
    rows.append(("", ", ".join(f"{count} {what}" for what, count in plan.counts().items())))
    wanted = [cell.wanted for cell in plan.cells if cell.wanted.pruner.kind != "none"]
    pruners = dict.fromkeys((cell.pruner, cell.rungs) for cell in wanted)
    for index, (pruner, rungs) in enumerate(pruners):
        kind = f"{pruner.kind}, asynchronous," if pruner.asynchronous else pruner.kind
        at = f"at step{'s' * (len(rungs) > 1)} {_shown([*map(str, rungs)])}"
        text = at if rungs else f"without effect: its first rung is step {pruner.first}, where training has ended"
        rows.append(("" if index else "pruner", f"{kind} {text}"))
    if plan.share_of_steps < 1:
        about = "at least about" if any(pruner.asynchronous for pruner, _ in pruners) else "about"
        rows.append(("", f"leaves {about} {plan.share_of_steps:.0%} of the training steps, if no trial ends earlier"))
    if plan.num_failed:
        rows.append(("", NOT_AGAIN.format(plan.num_failed)))
    for index, (name, trial_ids) in enumerate(plan.to_copy.items()):
        rows.append(("" if index else "copies", f"{plural(len(trial_ids), 'result')} found in {name}"))
    if earlier := explanation.earlier_name:
        rows.append(("", f"if the sweep {earlier} was this grid under another name, rename it:"))
        rows.append(("", shlex.join(["bilin", "sweep", "rename", earlier, plan.grid.name, *store_option(store)])))
    rows += [("versions", text)] if (text := describe_versions(plan.stale, plan.num_mixed)) else []
    if count := plan.num_mixed_hardware:
        rows.append(("hardware", f"{plural(count, 'cell')} with trials of several CPUs or GPUs"))
    if explanation.is_renumbered:
        why = "a new version of bilin or of a package computes other numbers for what the last launch asked for"
        rows.append(("versions", f"{why}: every cell is new"))
    rows.append(("state", describe_plan_state(plan, holder)))
    rows += _headed("to run", explanation.reasons)
    if plan.num_tests:
        rows.append(("tests", f"{plan.num_tests} of those to run are only tested, with their kept weights"))
    if plan.num_retrained:
        why = "their weights are not kept, or are of another version"
        rows.append(("", f"{plan.num_retrained} of them are trained again for a tested length: {why}"))
    rows += _headed("leave the results", explanation.leaves)
    if count := explanation.num_weights_lost:
        text = f"{count} of them lose their kept weights: if the grid asks for them again, their rows count again, but "
        rows.append(("", text + "a new tested length trains them again"))
    sizes = dict.fromkeys(each.occupied for each in dict.fromkeys(cell.wanted.resources for cell in plan.cells))
    for index, size in enumerate(list(sizes)[:MAX_VALUES]):
        rows.append(("" if index else "a trial takes", describe_amounts(amounts_of(size))))
    rows += [("packs", text)] if (text := _packs(plan)) else []
    rows += [("" if index else "too large", text) for index, text in enumerate(explanation.shortfalls)]
    rows.append(("time", describe_time(plan)))
    return "\n".join([plan.grid.name, *columns(wrapped(rows))])


def _packs(plan: Plan) -> str:
    """Return how many shapes the trials to run have, and how many trials of one shape train as one program."""
    sizes = {_pack_size(cell.wanted.resources) for cell in plan.cells if cell.to_run}
    if not sizes:
        return ""
    if sizes == {1}:
        return "none: every trial trains alone"
    largest = " or ".join(map(str, sorted(sizes)))
    return f"of at most {largest} trials; the trials have {plural(plan.num_shapes, 'shape')}"


def _pack_size(resources: Resources) -> int:
    return resources.pack or MAX_PACK[device_of(resources)]


def list_trials(explanation: Explanation) -> list[str]:
    """Return a line for each trial that would run now, and for each that leaves the results.

    Lines with the cell, and with what happens to its trials and why, stand above them.
    """
    groups: dict[str, dict[str, list[TrialReason]]] = defaultdict(lambda: defaultdict(list))
    for what, trial, label in _labelled(explanation):
        details = [trial.detail] if trial.detail and trial.reason not in _SHOWN_BY_POINT_OR_SEED else []
        groups[label][f"{what}: {_because(trial.reason, details)}"].append(trial)
    lines: list[str] = []
    for label, by_reason in groups.items():
        lines += wrap(label, WIDTH)
        for reason, trials in by_reason.items():
            lines += wrap(f"  {reason}", WIDTH)
            rows = [(f"{trial.trial_id}  seed {trial.seed}", str(trial.point)) for trial in trials]
            lines += columns(wrapped(rows, indent=4), indent="    ")
    return lines or ["nothing to run, and nothing leaves the results"]


def plan_json(explanation: Explanation, *, trials: bool) -> dict[str, Any]:
    """Return a plan as plain values, with its trials or without."""
    plan, estimate = explanation.plan, explanation.plan.estimate
    document: dict[str, Any] = {
        "sweep": plan.grid.name,
        "cells": len(plan.cells),
        "learning_rates": sorted({cell.wanted.max_points for cell in plan.cells}),
        "seeds": sorted({len(cell.wanted.seeds) for cell in plan.cells}),
        "trials": {
            "asked_for": plan.num_wanted,
            "may_end_early": plan.may_end_early,
            "share_of_steps": plan.share_of_steps,
            "done": plan.num_done,
            "failed": plan.num_failed,
            "to_run_now": plan.num_to_run_now,
            "only_tested": plan.num_tests,
            "trained_again_for_a_length": plan.num_retrained,
            "in_later_rounds": plan.num_later - plan.num_if_unsolved,
            "only_if_unsolved": plan.num_if_unsolved,
            "trained_again_if_selected": plan.num_more,
        },
        "shapes": plan.num_shapes,
        "state": str(plan.state),
        "found_in": {name: len(trial_ids) for name, trial_ids in plan.to_copy.items()},
        "all_cells_renumbered": explanation.is_renumbered,
        "earlier_name": explanation.earlier_name,
        "other_versions": dict(plan.stale),
        "cells_of_mixed_versions": plan.num_mixed,
        "cells_of_mixed_hardware": plan.num_mixed_hardware,
        "to_run": [_reason_json(count) for count in explanation.reasons],
        "leave_the_results": [_reason_json(count) for count in explanation.leaves],
        "weights_lost": explanation.num_weights_lost,
        "shortfalls": list(explanation.shortfalls),
        "time": {
            "seconds_on_one_worker": estimate.seconds,
            "from_stored_trials": estimate.num_stored,
            "trials_unlike_any_stored": estimate.num_unknown,
        },
    }
    if trials:
        document["list"] = [
            {
                "trial_id": trial.trial_id,
                "cell_id": trial.cell_id,
                "cell": label,
                "lr": trial.point.lr,
                "searched": dict(trial.point.searched),
                "seed": trial.seed,
                "what": what,
                "reason": str(trial.reason),
                "detail": trial.detail,
            }
            for what, trial, label in _labelled(explanation)
        ]
    return document


def _labelled(explanation: Explanation) -> Iterator[tuple[str, TrialReason, str]]:
    """Each trial with what happens to it, and the label of its cell; a cell that left the grid has its id."""
    cells = {cell.wanted.cell_id: cell.wanted.cell for cell in explanation.plan.cells}
    labels = Labels(cells.values())
    tested = {trial.trial_id for cell in explanation.plan.cells for trial in cell.tests}
    for what, trials in (("trains", explanation.due()), ("leaves", explanation.leaving())):
        for trial in trials:
            cell, is_test = cells.get(trial.cell_id), what == "trains" and trial.trial_id in tested
            yield "tests" if is_test else what, trial, labels.label(cell) if cell else trial.cell_id


def _reason_json(count: ReasonCount) -> dict[str, Any]:
    return {
        "reason": str(count.reason),
        "trials": count.num_trials,
        "cells": count.num_cells,
        "details": dict(count.details),
    }


def _headed(heading: str, counts: Sequence[ReasonCount]) -> Iterator[tuple[str, str]]:
    for index, count in enumerate(counts):
        cells = plural(count.num_cells, "cell")
        yield "" if index else heading, f"{count.num_trials} in {cells}: {_because(count.reason, count.details)}"


def _because(reason: Reason, details: Iterable[str]) -> str:
    """Return a reason with its details, without those that it has in its words, such as ``failed before``."""
    shown = [detail for detail in details if detail not in str(reason).split()]
    return f"{reason}: {_shown(shown)}" if shown else str(reason)


def _cells(plan: Plan) -> str:
    """Return how many cells there are, and how they came about if combinations were left out."""
    counts = plan.grid.counts
    text = str(counts.after_deduplication)
    if counts.after_deduplication != counts.combinations:
        others = f", {counts.after_exclusion} after exclusion" * (counts.after_exclusion != counts.combinations)
        text = f"{text}: {plural(counts.combinations, 'combination')}{others}"
        if counts.after_deduplication != counts.after_exclusion:
            text = f"{text}, {counts.after_deduplication} different"
    return text if plan.grid.is_whole else f"{text}; {len(plan.cells)} of them selected by --only"


def _product(plan: Plan) -> str:
    """Return the numbers of cells, learning rates and seeds, as a product."""
    points = {cell.wanted.max_points for cell in plan.cells}
    what = "point" if any(cell.wanted.ranges for cell in plan.cells) else "learning rate"
    seeds = {len(cell.wanted.seeds) for cell in plan.cells}
    cells = _counted({len(plan.cells)}, "cell")
    return " × ".join([cells, _counted(points, what), _counted(seeds, "seed")])  # noqa: RUF001


def _counted(numbers: Collection[int], what: str) -> str:
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{'' if low == high else f'{low} to '}{plural(high, what)}"


def _shown(values: Sequence[str]) -> str:
    rest = "" if len(values) <= MAX_VALUES else f", … ({len(values)} values)"
    return ", ".join(values[:MAX_VALUES]) + rest
