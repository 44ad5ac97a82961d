"""What the doctor finds on a node, and about all nodes together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bilin.machine.host import num_fitting
from bilin.machine.probe import Level
from bilin.orchestrator.clusters.capacity import ADVICE, job_shortfalls, shortfall
from bilin.orchestrator.clusters.inquiry import Answers
from bilin.orchestrator.doctor.needs import Needs
from bilin.orchestrator.grid import ClusterSettings
from bilin.orchestrator.planning.plan import Plan
from bilin.workers.actors.node import Node

HERE = "here"  # place of a finding about this machine
SWEEP = "sweep"  # place of a finding about all nodes together

LABELS = {"temporary": "temp directory", "reach": "other nodes"}  # what a check is called, if not like its question


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        level: ``error`` if a launch would fail or its results be lost, ``warning`` if it would run, but not well.
        where: A node, `HERE`, or what the nodes belong to, such as ``Slurm``.
        check: What was checked, in a word or two.
        found: What was found.
        advice: What to do; empty if nothing is to be done.
    """

    level: Level
    where: str
    check: str
    found: str
    advice: str = ""


def of_node(node: Answers, questions: Iterable[str]) -> Iterator[Finding]:
    """Yield what one node answers, and whether it answers all questions."""
    labels = {question: LABELS.get(question, question.replace("_", " ")) for question in questions}
    if silent := [question.replace("_", " ") for question in labels if question not in node.verdicts]:
        why = f" ({node.error})" if node.error else ""
        advice = "see that node: what does not answer hangs, or never began"
        yield Finding("error", node.name, "answers", f"none about {', '.join(silent)}{why}", advice)
    for question, label in labels.items():
        for level, found, advice in node.verdicts.get(question, ()):
            yield Finding(level, node.name, label, found, advice)


def fits(nodes: Sequence[Mapping[str, float]], needs: Needs) -> Iterator[Finding]:
    """Yield whether every trial has room on some node and, by the settings of a job, on one of the job's nodes.

    A node is given as how much it has of each of Ray's resources.
    """
    if needs.cluster.kind == "inline":
        return
    faults = list(job_shortfalls(needs.settings, needs.demand)) if needs.is_job else []
    if nodes and not faults:
        faults = [
            shortfall(resources, [Node("", has) for has in nodes], of="those that were asked")
            for resources in needs.demand
            if all(num_fitting(has, needs.amounts(resources)) < 1 for has in nodes)
        ]
    advice = f"{ADVICE}; for a job, `cluster` says how large" if needs.is_job else ADVICE
    yield from (Finding("error", SWEEP, "resources", fault, advice) for fault in faults)
    if not faults and (nodes or (needs.is_job and needs.settings.cpus)):
        yield Finding("ok", SWEEP, "resources", "every trial has room on some node")


def duration(num_at_once: int, limit_s: float | None, plan: Plan, settings: ClusterSettings) -> Finding:
    """Return whether a job, with a limit or none, lasts as long as the sweep, as far as stored trials tell."""
    if not plan.num_missing:
        return Finding("ok", SWEEP, "time", "nothing is missing: there is nothing to run")
    estimate = plan.estimate
    limit = f"; a job has {_duration(limit_s)}" if limit_s is not None else ""
    if estimate.num_unknown == plan.num_missing:
        found = f"not known: no stored trial has the shape of the {plan.num_missing} to run{limit}"
        return Finding("ok", SWEEP, "time", found)
    needed_s = estimate.seconds / max(min(num_at_once, plan.num_missing), 1)
    unknown = f", and {estimate.num_unknown} of unknown shape" if estimate.num_unknown else ""
    found = f"about {_duration(needed_s)} for {plan.num_missing} trials, {num_at_once} at once{unknown}{limit}"
    if limit_s is None or needed_s + settings.warning_s <= limit_s:
        return Finding("ok", SWEEP, "time", found)
    jobs = "further jobs by itself" if settings.requeue else "further jobs, each of which waits in the queue"
    return Finding("warning", SWEEP, "time", found, f"it continues in {jobs}; for a single job, raise cluster.time")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
