"""The examination: Slurm, the store from this machine, every node, and all nodes together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from bilin.errors import ClusterError, StoreError
from bilin.machine.ray_node import TEMP_ROOT
from bilin.machine.slurm import SLURM, Slurm, megabytes
from bilin.orchestrator.clusters.inquiry import Answers, Beacon, Questions, ask_here, beacon
from bilin.orchestrator.clusters.slurm.probe_step import ask_job
from bilin.orchestrator.doctor import findings
from bilin.orchestrator.doctor import slurm as slurm_checks
from bilin.orchestrator.doctor.findings import HERE, Finding
from bilin.orchestrator.doctor.needs import Needs, needs_of
from bilin.orchestrator.request import LaunchRequest
from bilin.results.store.durable import explained

NUM_PORTS = 16
"""About as many as the processes of a Ray listen on, without its workers."""


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
    found = list(slurm_checks.check(needs.settings, slurm)) if needs.is_job else []
    with ExitStack() as stack:
        made = _open_beacon(needs, stack, found)
        asked = _ask(needs, made, wait_s, found, slurm)
        for place, answers in asked.items():
            found += findings.of_node(place, answers, questions(needs, made, place), made, needs)
    nodes = [findings.node_of(place, answers) for place, answers in asked.items() if "room" in answers.records]
    found += findings.fits(nodes, needs)
    limit_s = slurm_checks.time_limit_s(needs.settings, slurm) if needs.is_job and not slurm.missing() else None
    if time := findings.duration(sum(needs.num_trials(node) for node in nodes) or 1, limit_s, needs):
        found.append(time)
    return found


def _open_beacon(needs: Needs, stack: ExitStack, found: list[Finding]) -> Beacon | None:
    """Make a beacon in the store, or in the folder that it would be made in; None if it cannot be written."""

    def add_error(fault: str) -> None:
        what, _, advice = fault.partition("): ")
        found.append(
            Finding("error", HERE, "store", f"{what})", advice)
            if advice
            else Finding("error", HERE, "store", fault, "repair it, or name another store with --store")
        )

    if needs.unreadable:
        add_error(needs.unreadable)
    folder = next(path for path in (needs.store, *needs.store.parents) if path.exists())
    try:
        with explained(folder, "written"):
            try:
                made = stack.enter_context(beacon(folder))
            except OSError as fault:
                raise OSError(fault.errno, fault.strerror) from fault  # of the store, not of the file in it
    except StoreError as fault:
        add_error(str(fault))
        return None
    yet = "" if folder == needs.store else f"does not exist yet; a launch makes it in {folder}, which "
    found.append(Finding("ok", HERE, "store", f"{needs.store} {yet}can be written"))
    return made


def _ask(needs: Needs, made: Beacon | None, wait_s: float, found: list[Finding], slurm: Slurm) -> Mapping[str, Answers]:
    """Return the answers of every node, by its place; what prevents them is a finding."""
    if needs.is_job:
        # If Slurm would refuse the job, it would refuse the step as well.
        refuses = any(finding.level == "error" and finding.where == slurm_checks.PLACE for finding in found)
        return {} if refuses else _ask_job(needs, made, wait_s, found, slurm)
    if needs.cluster.kind == "inline":
        return {"0": ask_here(questions(needs, made, "0"), place="0")}
    from bilin.orchestrator.clusters import nodes, session

    address = needs.cluster.address
    try:
        with session.connected(address):
            asked = dict(nodes.ask(lambda place: questions(needs, made, place)))
    except ClusterError as fault:
        found.append(Finding("error", "Ray", "cluster", str(fault), "a launch would fail with the same message"))
        return {} if address else {"0": ask_here(questions(needs, made, "0"), place="0")}
    what = f"reached at {address}" if address else "started one and stopped it"
    found.append(Finding("ok", "Ray", "cluster", f"{what}: {_counted(len(asked))}"))
    return asked


def _ask_job(
    needs: Needs, made: Beacon | None, wait_s: float, found: list[Finding], slurm: Slurm
) -> Mapping[str, Answers]:
    step = ask_job(needs.settings, questions(needs, made, ""), wait_s=wait_s, slurm=slurm)
    rooms = [answers.records["room"] for answers in step.answers.values() if "room" in answers.records]
    num_nodes = max((room["num_nodes"] for room in rooms), default=0)
    if step.is_waiting:
        what = f"no place for {needs.settings.nodes} nodes within {wait_s:g} s: they were not examined"
        finding = Finding(
            "warning", slurm_checks.PLACE, "nodes", what, "wait longer with --wait SECONDS, or try again later"
        )
    elif step.error or len(step.answers) < num_nodes:
        what = (
            f"{len(step.answers)} of {num_nodes or needs.settings.nodes} nodes answer: {' '.join(step.error.split())}"
        )
        advice = "see that cluster.python and cluster.setup work on the nodes"
        finding = Finding("error", slurm_checks.PLACE, "nodes", what, advice)
    else:
        finding = Finding("ok", slurm_checks.PLACE, "nodes", f"{_counted(len(step.answers))} asked")
    found.append(finding)
    return dict(sorted(step.answers.items()))


def questions(needs: Needs, made: Beacon | None, place: str) -> Questions:
    """Return what is asked of the node at a place; without a place, of every node of a Slurm step."""
    own, is_linux = needs.starts_ray, sys.platform == "linux"
    asked: dict[str, Mapping[str, Any]] = {
        "room": {},
        "versions": {"packages": [name for name in needs.versions if name != "python"]},
        "temporary": {"root": TEMP_ROOT if own else None},
    }
    if is_linux:
        asked["memory"] = {"limit": megabytes(needs.settings.memory or "0") if needs.is_job else 0}
    if own and is_linux:
        asked["shared_memory"] = {"path": "/dev/shm"}
    if own:
        asked["ports"] = {"host": "" if needs.is_job else "127.0.0.1", "count": NUM_PORTS}
    if made and needs.is_job and needs.settings.max_nodes > 1:
        asked["reach"] = {"folder": str(made.folder)}
    asked["torch"] = {"all_gpus": needs.cluster.kind in ("local", "ray")}  # the task that asks is given none
    if made:
        asked["store"] = made.question(place)
    asked["clock"] = {}  # last: it is compared with the time at which the answers arrive
    return asked


def _counted(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
