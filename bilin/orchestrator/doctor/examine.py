"""The examination: Slurm, the store from this machine, every node, and all nodes together."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bilin.errors import ClusterError, StoreError
from bilin.folder import SweepFolder
from bilin.machine.host import num_fitting
from bilin.machine.probe import installed_versions
from bilin.machine.ray_node import OBJECT_STORE_BYTES
from bilin.machine.slurm import SLURM, Slurm, megabytes
from bilin.orchestrator.clusters.capacity import ADVICE, job_shortfalls, shortfall
from bilin.orchestrator.clusters.inquiry import Answers, Finding, Questions, ask_here, open_beacon
from bilin.orchestrator.clusters.slurm.probe_step import PLACE, ask_job
from bilin.orchestrator.doctor import slurm as slurm_checks
from bilin.orchestrator.grid import ClusterSettings
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.request import LaunchRequest
from bilin.results.store.durable import explained
from bilin.spec import Resources
from bilin.units import duration, plural
from bilin.workers.actors.node import Node, amounts_of

HERE = "here"  # place of a finding about this machine
SWEEP = "sweep"  # place of a finding about all nodes together

ALWAYS_LOADED = ("bilin", "torch", "ray", "numpy")  # packages that every trial loads
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
    SweepFolder.of(request.store, request.grid.name or "any")
    found: list[Finding] = []
    plan = None
    try:
        plan = request.plan() if request.grid.cells else None
    except StoreError as error:
        plan = make_plan(request.grid, {})
        found.append(_store_fault(error))
    is_job = request.cluster.in_job
    if is_job:
        found = [*slurm_checks.check(request.job, slurm), *found]
    with ExitStack() as stack:
        beacon = _check_store(request.store.absolute(), stack, found)
        asked = questions(request, plan.packages if plan else (), beacon)
        answers: Mapping[str, Answers] = {}
        if request.cluster.is_inline:
            answers = ask_here(asked)
        elif not is_job:
            answers = _ask_ray(request.cluster.address, asked, found)
        elif not any(finding.level == "error" and finding.where == PLACE for finding in found):
            # If Slurm would refuse the job, it would refuse the step as well.
            finding, answers = ask_job(request.job, asked, wait_s=wait_s, slurm=slurm)
            found.append(finding)
        for place, node in answers.items():
            found += node.conclude(place, [*asked["checks"], "clock"], beacon)
    nodes = [node.facts for node in answers.values() if node.facts]
    found += fits([facts["has"] for facts in nodes], request)
    if plan:
        limit_s = slurm_checks.time_limit_s(request.job, slurm) if is_job and not slurm.missing() else None
        num_at_once = sum(facts["num_trials"] for facts in nodes) or 1
        found.append(check_duration(num_at_once, limit_s, plan, request.job))
    return found


def _check_store(store: Path, stack: ExitStack, found: list[Finding]) -> Path | None:
    """Make a beacon in the store, or in the folder that it would be made in; None if it cannot be written."""
    folder = next(path for path in (store, *store.parents) if path.exists())
    try:
        with explained(folder, "written"):
            try:
                beacon = stack.enter_context(open_beacon(folder))
            except OSError as error:
                raise OSError(error.errno, error.strerror) from error  # of the store, not of the file in it
    except StoreError as error:
        found.append(_store_fault(error))
        return None
    yet = "" if folder == store else f"does not exist yet; a launch makes it in {folder}, which "
    found.append(Finding("ok", HERE, "store", f"{store} {yet}can be written"))
    return beacon


def _store_fault(error: StoreError) -> Finding:
    text, closes, advice = str(error).partition("): ")
    advice = advice or "repair it, or name another store with --store"
    return Finding("error", HERE, "store", text + closes.removesuffix(": "), advice)


def _ask_ray(address: str | None, asked: Questions, found: list[Finding]) -> Mapping[str, Answers]:
    """Ask every node of the Ray at an address, or of one of our own; if that does not start, this machine."""
    from bilin.orchestrator.clusters import nodes, session

    try:
        with session.connected(address):
            answers = dict(nodes.ask(asked))
    except ClusterError as fault:
        found.append(Finding("error", "Ray", "cluster", str(fault), "a launch would fail with the same message"))
        return {} if address else ask_here(asked)
    how = f"reached at {address}" if address else "started one and stopped it"
    found.append(Finding("ok", "Ray", "cluster", f"{how}: {plural(len(answers), 'node')}"))
    return answers


def questions(request: LaunchRequest, packages: Iterable[str], beacon: Path | None) -> Questions:
    """Return what is asked of every node; packages are names with versions that the trials load."""
    cluster, job, demand = request.cluster, request.job, _demand(request)
    is_job, starts_ray, is_linux = cluster.in_job, cluster.starts_ray, sys.platform == "linux"
    may_differ = dict.fromkeys(("torch", "numpy"), "results may differ in their last bits")
    if is_job:
        may_differ |= dict.fromkeys(("python", "ray"), "a job uses that of its nodes: check that all have the same")
    versions = installed_versions([*ALWAYS_LOADED, *(package.partition(" ")[0] for package in packages)])
    checks: dict[str, Mapping[str, Any]] = {
        "room": {},
        "versions": {"own": versions, "may_differ": may_differ},
        "temp directory": {"for_ray": starts_ray},
    }
    if is_linux:
        limit = megabytes(job.memory or "0") if is_job else 0
        advice = "ask for more with cluster.memory" if is_job else "free some, or launch with fewer --workers"
        checks["memory"] = {"limit": limit, "ray_bytes": RAY_BYTES if starts_ray else 0, "advice": advice}
    if starts_ray and is_linux:
        checks["shared memory"] = {}
    if starts_ray:
        checks["ports"] = {"host": "" if is_job else "127.0.0.1", "count": NUM_PORTS}
    if beacon and is_job and job.max_nodes > 1:
        checks["other nodes"] = {"folder": str(beacon)}
    if beacon:
        checks["store"] = {"folder": str(beacon), "thorough": True}
    wants_gpus = any(resources.gpus > 0 or resources.device == "cuda" for resources in demand)
    # The call that asks a node of a Ray is given no GPU.
    checks["torch"] = {"all_gpus": not (is_job or cluster.is_inline), "wants_gpus": wants_gpus}
    return {
        "checks": checks,
        "demand": [dict(amounts) for amounts in demand.values()],
        "max_trials": 1 if cluster.is_inline else None,
    }


def _demand(request: LaunchRequest) -> dict[Resources, Mapping[str, float]]:
    """Return what single trials ask for, and what each takes of a node; without a grid, what a default trial does.

    A node of Slurm reports only its CPUs and GPUs.
    """
    demand = dict.fromkeys(cell.resources for cell in request.grid.cells) or [Resources()]
    if request.cluster.in_job:
        return {each: amounts_of(Resources(cpus=each.cpus, gpus=each.gpus)) for each in demand}
    return {each: amounts_of(each) for each in demand}


def fits(nodes: Sequence[Mapping[str, float]], request: LaunchRequest) -> Iterator[Finding]:
    """Yield whether every trial fits on some node and, by the settings of a job, on one of the job's nodes.

    A node is given as how much it has of each of Ray's resources.
    """
    if request.cluster.is_inline:
        return
    is_job, demand = request.cluster.in_job, _demand(request)
    faults = list(job_shortfalls(request.job, demand)) if is_job else []
    if nodes and not faults:
        faults = [
            shortfall(resources, [Node("", has) for has in nodes], of="those that were asked")
            for resources, amounts in demand.items()
            if all(num_fitting(has, amounts) < 1 for has in nodes)
        ]
    advice = f"{ADVICE}; for a job, `cluster` says how large" if is_job else ADVICE
    yield from (Finding("error", SWEEP, "resources", fault, advice) for fault in faults)
    if not faults and (nodes or (is_job and request.job.cpus)):
        yield Finding("ok", SWEEP, "resources", "every trial fits on some node")


def check_duration(num_at_once: int, limit_s: float | None, plan: Plan, settings: ClusterSettings) -> Finding:
    """Return whether a job, with a time limit or none, is long enough for the sweep, estimated from stored trials."""
    estimate = plan.estimate
    limit = f"; a job has {duration(limit_s)}" if limit_s is not None else ""
    needed_s = estimate.seconds / max(min(num_at_once, plan.num_to_run), 1)
    if not plan.num_to_run:
        without = f"{plural(plan.num_failed, 'trial')} without a result, run again only with --retry"
        found = f"{without if plan.num_failed else 'nothing is missing'}: there is nothing to run"
    elif estimate.num_unknown == plan.num_to_run:
        found = (
            f"not known: no stored trial has the same task, model and training as the {plan.num_to_run} to run{limit}"
        )
    else:
        unknown = f", and {estimate.num_unknown} of unknown shape" if estimate.num_unknown else ""
        trials = plural(plan.num_to_run, "trial")
        found = f"about {duration(needed_s)} for {trials}, {num_at_once} at once{unknown}{limit}"
        if limit_s is not None and needed_s + settings.warning_s > limit_s:
            jobs = "further jobs by itself" if settings.requeue else "further jobs, each of which waits in the queue"
            advice = f"it continues in {jobs}; for a single job, raise cluster.time"
            return Finding("warning", SWEEP, "time", found, advice)
    return Finding("ok", SWEEP, "time", found)
