"""The examination: Slurm, the store from this machine, every node, and all nodes together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from bilin.errors import ClusterError, StoreError
from bilin.machine.ray_node import TEMP_ROOT
from bilin.machine.slurm import SLURM, Slurm, megabytes
from bilin.orchestrator.clusters.inquiry import Answers, Beacon, Questions, ask_here, open_beacon
from bilin.orchestrator.clusters.slurm.probe_step import ask_job
from bilin.orchestrator.doctor import findings
from bilin.orchestrator.doctor import slurm as slurm_checks
from bilin.orchestrator.doctor.findings import HERE, Finding, Level
from bilin.orchestrator.doctor.needs import Needs, needs_of
from bilin.orchestrator.doctor.slurm import PLACE
from bilin.orchestrator.request import LaunchRequest
from bilin.results.store.durable import explained

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
    examination = _Examination(needs, slurm)
    limit_s = None
    if needs.is_job:
        examination.findings += slurm_checks.check(needs.settings, slurm)
        limit_s = None if slurm.missing() else slurm_checks.time_limit_s(needs.settings, slurm)
    with ExitStack() as stack:
        beacon = examination.check_store(stack)
        answers = examination.ask(beacon, wait_s)
        for place, node in answers.items():
            examination.findings += findings.of_node(place, node, questions(needs, beacon, place), beacon, needs)
    nodes = [findings.node_of(place, node) for place, node in answers.items() if "room" in node.records]
    examination.findings += findings.fits(nodes, needs)
    if needs.plan:
        num_at_once = sum(needs.num_trials(node) for node in nodes) or 1
        examination.findings.append(findings.duration(num_at_once, limit_s, needs.plan, needs.settings))
    return examination.findings


class _Examination:
    """The findings so far."""

    def __init__(self, needs: Needs, slurm: Slurm) -> None:
        self.findings: list[Finding] = []
        self._needs = needs
        self._slurm = slurm

    def _add(self, level: Level, where: str, check: str, found: str, advice: str = "") -> None:
        self.findings.append(Finding(level, where, check, found, advice))

    def check_store(self, stack: ExitStack) -> Beacon | None:
        """Make a beacon in the store, or in the folder that it would be made in; None if it cannot be written."""
        if fault := self._needs.unreadable:
            self._add_store_error(fault)
        store = self._needs.store
        folder = next(path for path in (store, *store.parents) if path.exists())
        try:
            with explained(folder, "written"):
                try:
                    beacon = stack.enter_context(open_beacon(folder))
                except OSError as error:
                    raise OSError(error.errno, error.strerror) from error  # of the store, not of the file in it
        except StoreError as error:
            self._add_store_error(str(error))
            return None
        yet = "" if folder == store else f"does not exist yet; a launch makes it in {folder}, which "
        self._add("ok", HERE, "store", f"{store} {yet}can be written")
        return beacon

    def _add_store_error(self, fault: str) -> None:
        found, closes, advice = fault.partition("): ")
        advice = advice or "repair it, or name another store with --store"
        self._add("error", HERE, "store", found + closes.removesuffix(": "), advice)

    def ask(self, beacon: Beacon | None, wait_s: float) -> Mapping[str, Answers]:
        """Return the answers of every node, by its place; what prevents them is a finding."""
        needs, address = self._needs, self._needs.cluster.address
        if needs.is_job:
            # If Slurm would refuse the job, it would refuse the step as well.
            refuses = any(finding.level == "error" and finding.where == PLACE for finding in self.findings)
            return {} if refuses else self._ask_job(beacon, wait_s)
        if needs.cluster.kind == "inline":
            return {"0": ask_here(questions(needs, beacon, "0"), place="0")}
        from bilin.orchestrator.clusters import nodes, session

        try:
            with session.connected(address):
                answers = dict(nodes.ask(lambda place: questions(needs, beacon, place)))
        except ClusterError as fault:
            self._add("error", "Ray", "cluster", str(fault), "a launch would fail with the same message")
            return {} if address else {"0": ask_here(questions(needs, beacon, "0"), place="0")}
        found = f"reached at {address}" if address else "started one and stopped it"
        self._add("ok", "Ray", "cluster", f"{found}: {_counted(len(answers))}")
        return answers

    def _ask_job(self, beacon: Beacon | None, wait_s: float) -> Mapping[str, Answers]:
        settings = self._needs.settings
        step = ask_job(settings, questions(self._needs, beacon, ""), wait_s=wait_s, slurm=self._slurm)
        num_nodes = max((node.records.get("room", {}).get("num_nodes", 0) for node in step.answers.values()), default=0)
        if step.is_waiting:
            found = f"no place for {settings.nodes} nodes within {wait_s:g} s: they were not examined"
            self._add("warning", PLACE, "nodes", found, "wait longer with --wait SECONDS, or try again later")
        elif step.error or len(step.answers) < num_nodes:
            error = " ".join(step.error.split())
            found = f"{len(step.answers)} of {num_nodes or settings.nodes} nodes answer: {error}"
            self._add("error", PLACE, "nodes", found, "see that cluster.python and cluster.setup work on the nodes")
        else:
            self._add("ok", PLACE, "nodes", f"{_counted(len(step.answers))} asked")
        return dict(sorted(step.answers.items()))


def questions(needs: Needs, beacon: Beacon | None, place: str) -> Questions:
    """Return what is asked of the node at a place; without a place, of every node of a Slurm step."""
    own, is_linux = needs.starts_ray, sys.platform == "linux"
    named: dict[str, Mapping[str, Any]] = {
        "room": {},
        "versions": {"packages": [name for name in needs.versions if name != "python"]},
        "temporary": {"root": TEMP_ROOT if own else None},
    }
    if is_linux:
        named["memory"] = {"limit": megabytes(needs.settings.memory or "0") if needs.is_job else 0}
    if own and is_linux:
        named["shared_memory"] = {"path": "/dev/shm"}
    if own:
        named["ports"] = {"host": "" if needs.is_job else "127.0.0.1", "count": NUM_PORTS}
    if beacon and needs.is_job and needs.settings.max_nodes > 1:
        named["reach"] = {"folder": str(beacon.folder)}
    named["torch"] = {"all_gpus": needs.cluster.kind in ("local", "ray")}  # the call that asks is given none
    if beacon:
        named["store"] = beacon.question(place)
    named["clock"] = {}  # last: it is compared with the time at which the answers arrive
    return named


def _counted(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
