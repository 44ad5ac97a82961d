"""What the doctor concludes: from a node's answers, one function a question, and from all nodes together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bilin.machine.ray_node import OBJECT_STORE_BYTES
from bilin.orchestrator.clusters.capacity import ADVICE, job_shortfalls, shortfall
from bilin.orchestrator.clusters.inquiry import Answers, Beacon, Questions, other_versions
from bilin.orchestrator.doctor.needs import Needs
from bilin.orchestrator.grid import ClusterSettings
from bilin.orchestrator.planning.plan import Plan
from bilin.workers.actors.node import Node

Level = Literal["ok", "warning", "error"]

HERE = "here"  # place of a finding about this machine
SWEEP = "sweep"  # place of a finding about all nodes together
WORKER_BYTES = 300 * 2**20  # a worker with torch loaded, without its model
RAY_BYTES = 400 * 2**20  # the processes of a Ray
LOW_DISK_BYTES = 2**30  # free disk space below which the doctor warns

LEAST_DISK_BYTES = 100 * 2**20

SKEW_S = 10.0  # how far two clocks may differ: bilin relies on none, but rows and logs contain times
DIGITS_ONLY = ("torch", "numpy")  # packages that may differ between nodes: only the last bits of results depend on them

LEASE = "two launches then know each other by their lease alone: taking over from one that died takes a minute"


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


Verdict = tuple[Level, str, str]
"""The level of a finding, what was found, and what to do."""


def of_node(
    place: str, answers: Answers, questions: Questions, beacon: Beacon | None, needs: Needs
) -> Iterator[Finding]:
    """Yield what is concluded from the answers of one node to questions."""
    records, node = answers.records, node_of(place, answers)
    if silent := [question.replace("_", " ") for question in questions if question not in records]:
        why = f" ({answers.error})" if answers.error else ""
        advice = "see that node: what does not answer hangs, or never began"
        yield Finding("error", answers.name, "answers", f"none about {', '.join(silent)}{why}", advice)
    for question in (question for question in questions if question in records):
        record, check = records[question], CHECKS.get(question, question.replace("_", " "))
        verdicts: Iterator[Verdict]
        if question == "store":
            verdicts = store(place, record, beacon) if beacon else iter(())
        elif set(record) == {"error"}:
            verdicts = iter([("error", record["error"], "correct this on that node")])
        elif question == "clock":
            verdicts = clock(answers.ahead_s)
        else:
            verdicts = JUDGES[question](record, node, needs)
        yield from (Finding(level, answers.name, check, found, advice) for level, found, advice in verdicts)


def node_of(place: str, answers: Answers) -> Node:
    """Return what a node has: all that its Ray says, or the CPUs and GPUs that it says itself."""
    room = answers.records.get("room", {})
    return Node(place, room.get("has") or {"CPU": float(room.get("cpus", 0)), "GPU": float(room.get("gpus", 0))})


def room(_: Mapping[str, Any], node: Node, needs: Needs) -> Iterator[Verdict]:
    """How many trials a node has room for."""
    count = needs.num_trials(node)
    given = f"{node.cpus:g} CPUs, {node.gpus:g} GPUs"
    if count:
        yield "ok", f"{given}: {count} at once" if count > 1 else f"{given}: one trial at once", ""
    else:
        yield "warning", f"{given}: no trial has room", "it would stay idle"


def versions(record: Mapping[str, Any], _: Node, needs: Needs) -> Iterator[Verdict]:
    """Whether a node has the versions of this machine."""
    others = other_versions(needs.versions, record)
    for package, fault in others.items():
        found, _dot, advice = fault.partition(". ")
        if record.get(package) is not None and package in DIGITS_ONLY:
            yield "warning", found, "results may differ in their last bits"
        elif record.get(package) is not None and needs.is_job and package in ("python", "ray"):
            yield "warning", found, "a job uses that of its nodes: see that all have the same"
        else:
            yield "error", found, advice
    if same := [f"{package} {version}" for package, version in needs.versions.items() if package not in others]:
        yield "ok", f"{', '.join(same)}: as here", ""


def memory(record: Mapping[str, Any], node: Node, needs: Needs) -> Iterator[Verdict]:
    """Whether there is memory for Ray and as many workers as the node has room for."""
    own = RAY_BYTES + OBJECT_STORE_BYTES if needs.starts_ray else 0
    count, free = needs.num_trials(node), record["available"]
    needed = own + count * WORKER_BYTES
    found = f"{size(free)} free of {size(record['total'])}"
    purpose = f"{'Ray and ' if own else ''}{count} at once hold {size(needed)} before their models"
    if free >= needed:
        yield "ok", f"{found}; {purpose}", ""
    elif free < own + WORKER_BYTES:
        yield "error", f"{found}; one trial holds {size(own + WORKER_BYTES)}", "free some, or ask for more"
    else:
        advice = "ask for more with cluster.memory" if needs.is_job else "free some, or launch with fewer --workers"
        yield "warning", f"{found}; {purpose}", f"there is enough for {(free - own) // WORKER_BYTES:.0f}: {advice}"


def shared_memory(record: Mapping[str, Any], _: Node, __: Needs) -> Iterator[Verdict]:
    """Whether Ray's object store has room in shared memory."""
    found = f"{record['path']}: {size(record['free'])} free; Ray's object store takes {size(OBJECT_STORE_BYTES)}"
    if record["free"] > OBJECT_STORE_BYTES:
        yield "ok", found, ""
    else:
        yield "warning", found, "Ray uses a disk instead: give it more (docker: --shm-size=1g)"


def temporary(record: Mapping[str, Any], _: Node, needs: Needs) -> Iterator[Verdict]:
    """Whether Ray's sockets, and other temporary files, have a place."""
    if needs.starts_ray and (fault := record.get("error")):
        yield "error", f"{record['path']}: Ray cannot make a socket there: {fault}", "a shorter path is needed"
    else:
        low, free = _disk_level(record), f"{record['path']}: {size(record['free'])} free"
        yield low or "ok", free, "make room on its disk: Ray writes its logs there" if low else ""


def ports(record: Mapping[str, Any], _: Node, __: Needs) -> Iterator[Verdict]:
    """Whether there are ports for Ray."""
    where = record["host"] or "all interfaces"
    if record["error"]:
        yield "error", f"{record['error']}, on {where}", "see what takes them: ss -lntp"
    else:
        yield "ok", f"{record['count']} bound at once on {where}", ""


def reach(record: Mapping[str, Any], _: Node, __: Needs) -> Iterator[Verdict]:
    """Whether a node can connect to the others of its job."""
    num_others = record["num_nodes"] - 1
    if failed := record["failed"]:
        found = f"no connection to {', '.join(failed[:3])}{', …' * (len(failed) > 3)}"
        yield "error", found, "check the firewall between the nodes: Ray needs every port above 1024 in both directions"
    elif record["met"] <= num_others:
        found = f"{record['met'] - 1} of {num_others} reached; the others left nothing in the store"
        yield "warning", found, "see their own lines, and those about the store"
    elif num_others:
        yield "ok", f"{num_others} reached, at a port that was free there", ""


def torch(record: Mapping[str, Any], node: Node, needs: Needs) -> Iterator[Verdict]:
    """Whether torch loads on a node, and computes on the GPUs that Ray or Slurm gives out there."""
    if "failed" in record:
        yield "error", f"cannot be loaded: {record['failed']}", "reinstall it there"
        return
    names, driver = record["names"], record["smi"]
    build = f"torch {record['version']}" + (f", CUDA {record['cuda']}" if record["cuda"] else ", CPU only")
    if len(names) >= node.gpus > 0 and not record["error"]:
        gpus = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))  # noqa: RUF001
        supports = f", driver {driver or '?'} for CUDA up to {record['driver']}" if record["driver"] else ""
        yield "ok", f"{gpus}; {build}{supports}", ""
    elif node.gpus:
        if not driver:
            advice = "nvidia-smi finds no driver there: see that the node has one, and this job its devices"
        elif not record["cuda"]:
            advice = f"install a CUDA build of torch there (driver {driver})"
        else:
            advice = f"install a build of torch for the driver there ({driver}), or a newer driver"
        why = f": {record['error'][:300]}" if record["error"] else ""
        found = f"sees {len(names)} of {node.gpus:g} GPUs; {build}{why}"
        if needs.wants_gpus:
            yield "error", found, advice
        else:
            yield "warning", found, f"trials without GPUs run; for others: {advice}"
    else:
        unused = "no GPU is given out" if names or driver else "no GPU"
        yield "ok", f"{unused}; {build}: trials compute on the CPU", ""


def store(place: str, record: Mapping[str, Any], beacon: Beacon) -> Iterator[Verdict]:
    """Whether a node sees the store, and can work with it."""
    if fault := beacon.fault(place, record):
        found, _, advice = fault.partition(". ")
        yield "error", found, advice or "mount the same file system there"
        return
    if record["num_torn"]:
        found = f"a file that was replaced many times was missing or torn {record['num_torn']} times"
        yield "error", found, "use a file system on which a rename is atomic"
    if record["lock"] == "taken":
        yield "warning", "a lock that this machine holds was granted there again", LEASE
    elif record["lock"] != "held":
        yield "warning", f"its file system has no locks ({record['lock']})", LEASE
    free, low = f"{size(record['free'])} free", _disk_level(record)
    if low:
        yield low, free, "make room: a checkpoint of a wide trial holds 200 MB"
    if not record["num_torn"] and low != "error":
        yield "ok", f"written there, read here, replaced whole; {free}", ""


def clock(ahead_s: float) -> Iterator[Verdict]:
    """Whether a clock agrees with that of this machine."""
    if abs(ahead_s) <= SKEW_S:
        yield "ok", f"within {SKEW_S:g} s of that here", ""
    else:
        found = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} that here"
        yield "warning", found, "set it (NTP): the times in rows and logs are wrong, Slurm may refuse it"


JUDGES: Mapping[str, Callable[[Mapping[str, Any], Node, Needs], Iterator[Verdict]]] = {
    "room": room,
    "versions": versions,
    "memory": memory,
    "temporary": temporary,
    "shared_memory": shared_memory,
    "ports": ports,
    "reach": reach,
    "torch": torch,
}

CHECKS = {"temporary": "temp directory", "reach": "other nodes"}  # what a check is called, if not like its question


def fits(nodes: Sequence[Node], needs: Needs) -> Iterator[Finding]:
    """Yield whether every trial has room on some node and, by the settings of a job, on one of the job's nodes."""
    if needs.cluster.kind == "inline":
        return
    faults = list(job_shortfalls(needs.settings, needs.demand)) if needs.is_job else []
    if nodes and not faults:
        too_large = (each for each in needs.demand if all(needs.room_for(each, node) < 1 for node in nodes))
        faults = [shortfall(resources, nodes, of="those that were asked") for resources in too_large]
    advice = f"{ADVICE}; for a job, `cluster` says how large" if needs.is_job else ADVICE
    yield from (Finding("error", SWEEP, "resources", fault, advice) for fault in faults)
    if not faults and (nodes or (needs.is_job and needs.settings.cpus)):
        yield Finding("ok", SWEEP, "resources", "every trial has room on some node")


def duration(num_at_once: int, limit_s: float | None, plan: Plan, settings: ClusterSettings) -> Finding:
    """Return whether a job lasts as long as the sweep, as far as stored trials tell.

    Args:
        num_at_once: How many trials the nodes have room for.
        limit_s: Seconds that the job has; None without a limit.
        plan: What would run.
        settings: What the job would ask for.
    """
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


def size(num_bytes: float) -> str:
    """Return bytes with a unit."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


def _disk_level(record: Mapping[str, Any]) -> Literal["warning", "error"] | None:
    """Return how bad it is that a disk is nearly full; None if it is not."""
    if record["free"] < LEAST_DISK_BYTES:
        return "error"
    return "warning" if record["free"] < LOW_DISK_BYTES else None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
