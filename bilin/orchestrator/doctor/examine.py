"""The examination: Slurm, the store from this machine, every node, and all nodes together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from bilin.errors import ClusterError, StoreError
from bilin.machine.ray_node import OBJECT_STORE_BYTES, TEMP_ROOT
from bilin.machine.slurm import SLURM, Slurm, megabytes
from bilin.orchestrator.clusters.inquiry import Answers, Beacon, Questions, ask_here, open_beacon
from bilin.orchestrator.clusters.slurm.probe_step import StepAnswers, ask_job
from bilin.orchestrator.doctor import findings
from bilin.orchestrator.doctor import slurm as slurm_checks
from bilin.orchestrator.doctor.findings import HERE, Finding
from bilin.orchestrator.doctor.needs import Needs, needs_of
from bilin.orchestrator.doctor.slurm import PLACE
from bilin.orchestrator.grid import ClusterSettings
from bilin.orchestrator.request import LaunchRequest
from bilin.results.store.durable import explained

RAY_BYTES = 400 * 2**20 + OBJECT_STORE_BYTES  # the processes of a Ray, and its object store
NUM_PORTS = 16  # about as many as the processes of a Ray listen on, without its workers


def examine(request: LaunchRequest, *, wait_s: float = 60.0, slurm: Slurm = SLURM) -> list[Finding]:
    """Check what a launch would need, on every node where it would run. Changes nothing.

    Args:
        request: The launch; without a grid, what any launch needs is checked. For an ``allocation`` outside of a Slurm
            job, the nodes that a job would get are examined.
        wait_s: How long to wait for Slurm to give nodes, in seconds.
        slurm: Slurm's commands.

    Raises:
        StoreError: The store is a file.
    """
    needs = needs_of(request)
    found: list[Finding] = []
    limit_s = None
    if needs.is_job:
        found += slurm_checks.check(needs.settings, slurm)
        limit_s = None if slurm.missing() else slurm_checks.time_limit_s(needs.settings, slurm)
    with ExitStack() as stack:
        beacon = _check_store(needs, stack, found)
        asked = questions(needs, beacon)
        # If Slurm would refuse the job, it would refuse the step as well.
        if not needs.is_job:
            answers = _ask_ray(needs, asked, found)
        elif any(finding.level == "error" and finding.where == PLACE for finding in found):
            answers = {}
        else:
            step = ask_job(needs.settings, asked, wait_s=wait_s, slurm=slurm)
            found.append(_answering(step, needs.settings, wait_s))
            answers = dict(sorted(step.answers.items()))
        for place, node in answers.items():
            if beacon:
                beacon.check(place, node)
            found += findings.of_node(node, [*asked["questions"], "clock"])
    nodes = [node.facts for node in answers.values() if node.facts]
    found += findings.fits([facts["has"] for facts in nodes], needs)
    if needs.plan:
        num_at_once = sum(facts["num_trials"] for facts in nodes) or 1
        found.append(findings.duration(num_at_once, limit_s, needs.plan, needs.settings))
    return found


def _check_store(needs: Needs, stack: ExitStack, found: list[Finding]) -> Beacon | None:
    """Make a beacon in the store, or in the folder that it would be made in; None if it cannot be written."""
    store, faults, beacon = needs.store, [needs.unreadable] if needs.unreadable else [], None
    folder = next(path for path in (store, *store.parents) if path.exists())
    try:
        with explained(folder, "written"):
            try:
                beacon = stack.enter_context(open_beacon(folder))
            except OSError as error:
                raise OSError(error.errno, error.strerror) from error  # of the store, not of the file in it
    except StoreError as error:
        faults.append(str(error))
    for fault in faults:
        text, closes, advice = fault.partition("): ")
        advice = advice or "repair it, or name another store with --store"
        found.append(Finding("error", HERE, "store", text + closes.removesuffix(": "), advice))
    if beacon:
        yet = "" if folder == store else f"does not exist yet; a launch makes it in {folder}, which "
        found.append(Finding("ok", HERE, "store", f"{store} {yet}can be written"))
    return beacon


def _ask_ray(needs: Needs, asked: Questions, found: list[Finding]) -> Mapping[str, Answers]:
    """Ask every node of the Ray, or this machine if there is none."""
    if needs.cluster.kind == "inline":
        return ask_here(asked)
    from bilin.orchestrator.clusters import nodes, session

    address = needs.cluster.address
    try:
        with session.connected(address):
            answers = dict(nodes.ask(asked))
    except ClusterError as fault:
        found.append(Finding("error", "Ray", "cluster", str(fault), "a launch would fail with the same message"))
        return {} if address else ask_here(asked)
    how = f"reached at {address}" if address else "started one and stopped it"
    found.append(Finding("ok", "Ray", "cluster", f"{how}: {_counted(len(answers))}"))
    return answers


def _answering(step: StepAnswers, settings: ClusterSettings, wait_s: float) -> Finding:
    """Return whether all nodes of a job answer."""
    if step.is_waiting:
        found = f"no place for {settings.nodes} nodes within {wait_s:g} s: they were not examined"
        return Finding("warning", PLACE, "nodes", found, "wait longer with --wait SECONDS, or try again later")
    num_nodes = max((node.facts.get("num_nodes", 0) for node in step.answers.values()), default=0)
    if step.error or len(step.answers) < num_nodes:
        error = " ".join(step.error.split())
        found = f"{len(step.answers)} of {num_nodes or settings.nodes} nodes answer: {error}"
        advice = "see that cluster.python and cluster.setup work on the nodes"
        return Finding("error", PLACE, "nodes", found, advice)
    return Finding("ok", PLACE, "nodes", f"{_counted(len(step.answers))} asked")


def questions(needs: Needs, beacon: Beacon | None) -> Questions:
    """Return what is asked of every node."""
    own, is_linux = needs.starts_ray, sys.platform == "linux"
    may_differ = dict.fromkeys(("torch", "numpy"), "results may differ in their last bits")
    if needs.is_job:
        may_differ |= dict.fromkeys(("python", "ray"), "a job uses that of its nodes: see that all have the same")
    named: dict[str, Mapping[str, Any]] = {
        "room": {},
        "versions": {"own": needs.versions, "may_differ": may_differ},
        "temporary": {"root": TEMP_ROOT if own else None},
    }
    if is_linux:
        limit = megabytes(needs.settings.memory or "0") if needs.is_job else 0
        advice = "ask for more with cluster.memory" if needs.is_job else "free some, or launch with fewer --workers"
        named["memory"] = {"limit": limit, "ray_bytes": RAY_BYTES if own else 0, "advice": advice}
    if own and is_linux:
        named["shared_memory"] = {"path": "/dev/shm"}
    if own:
        named["ports"] = {"host": "" if needs.is_job else "127.0.0.1", "count": NUM_PORTS}
    if beacon and needs.is_job and needs.settings.max_nodes > 1:
        named["reach"] = {"folder": str(beacon.folder)}
    # The call that asks a node of a Ray is given no GPU.
    named["torch"] = {"all_gpus": needs.cluster.kind in ("local", "ray"), "wants_gpus": needs.wants_gpus}
    if beacon:
        named["store"] = beacon.question(thorough=True)
    return {
        "questions": named,
        "demand": [dict(needs.amounts(resources)) for resources in needs.demand],
        "max_trials": 1 if needs.cluster.kind == "inline" else None,
    }


def _counted(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
