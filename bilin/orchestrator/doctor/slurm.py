"""What Slurm itself says of a job before it is submitted: asked on the machine that would submit it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping

from bilin.orchestrator.clusters.slurm.queue import ask, own_environment
from bilin.orchestrator.clusters.slurm.script import options
from bilin.orchestrator.doctor.finding import Finding, error, ok, warning
from bilin.orchestrator.grid import ClusterSettings, seconds

SLURM = "Slurm"
COMMANDS = ("sbatch", "scancel", "scontrol", "srun")
OLDEST = (22, 5)
"""The oldest Slurm that bilin is run with."""

DOWN = frozenset(("DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING"))
"""States of nodes that take no job until somebody sees to them."""

ANSWER_S = 30.0

Shown = Mapping[str, str]
"""What `scontrol show` says of one thing, by name."""


def is_here() -> bool:
    """Whether all of Slurm's commands that are needed are here."""
    return not _missing()


def slurm(settings: ClusterSettings) -> Iterator[Finding]:
    """What Slurm says of itself and of a job with these settings."""
    if missing := _missing():
        yield error(SLURM, "commands", f"no {', '.join(missing)} here", "run this on a login node of the cluster")
        return
    code, said = _said("sbatch", "--version")
    digits = tuple(int(number) for number in re.findall(r"\d+", said)[:2])
    if code == 0 and digits >= OLDEST:
        yield ok(SLURM, "commands", f"{', '.join(COMMANDS)}; {said}")
    else:
        yield warning(SLURM, "commands", said or "no version is said", "Slurm 22.05 and later are known to work")
    code, said = _said("scontrol", "-o", "show", "partition")
    if code:
        yield error(SLURM, "controller", said or "does not answer", "see that slurmctld is up: scontrol ping")
    elif "SLURM_JOB_ID" in os.environ:
        yield ok(SLURM, "job", f"this is in job {os.environ['SLURM_JOB_ID']}: its nodes are asked")
    else:
        yield from _partitions(settings, _shown(said, "PartitionName"))
        yield from _accepted(settings)
        yield from _charged(settings)


def time_limit(settings: ClusterSettings) -> float | None:
    """Seconds that a job has, or that are left of the one that this is in; None where nothing limits it."""
    if job_id := os.environ.get("SLURM_JOB_ID"):
        status = ask(job_id)
        return status.left_s if status else None
    if settings.time:
        return seconds(settings.time)
    _, said = _said("scontrol", "-o", "show", "partition")
    shown = _shown(said, "PartitionName")
    for name in _names(settings, shown):
        limits = (shown.get(name, {}).get(key, "") for key in ("DefaultTime", "MaxTime"))
        for limit in limits:
            if re.match(r"\d", limit):
                return seconds(limit)
    return None


def _partitions(settings: ClusterSettings, shown: Mapping[str, Shown]) -> Iterator[Finding]:
    names = _names(settings, shown)
    if not names:
        yield error(SLURM, "partition", "none is the default", f"name one in cluster.partition: {_listed(shown)}")
    too_short = {name for name in names if _is_too_short(shown.get(name, {}), settings)}
    level = error if too_short == set(names) else warning  # Slurm takes any of several
    for name in names:
        found = shown.get(name)
        if found is None:
            yield error(SLURM, "partition", f"there is no {name}", f"name one of {_listed(shown)}")
            continue
        most = found.get("MaxTime", "")
        if name in too_short:
            asked = f"{settings.time} are asked for, {name} gives {most} at most: a job would wait there for ever"
            yield level(SLURM, "partition", asked, "lower cluster.time: a sweep goes on in the next job by itself")
        elif found.get("State") != "UP":
            yield warning(SLURM, "partition", f"{name} is {found.get('State')}", "jobs wait until it is up")
        else:
            said = f"{name}: {found.get('TotalNodes')} nodes ({found.get('Nodes')}), MaxTime {most}"
            yield ok(SLURM, "partition", said)


def _is_too_short(partition: Shown, settings: ClusterSettings) -> bool:
    most = partition.get("MaxTime", "")
    return bool(settings.time and re.match(r"\d", most)) and seconds(settings.time or "") > seconds(most)


def _accepted(settings: ClusterSettings) -> Iterator[Finding]:
    """Whether Slurm would take the job: it says itself, without taking it."""
    asked = list(options(settings, nodes=settings.min_nodes, signal=True))
    script = "".join(f"{line}\n" for line in ["#!/bin/bash", *(f"#SBATCH {option}" for option in asked), "true"])
    code, said = _said("sbatch", "--test-only", script=script)
    said = re.sub(r"^(sbatch|allocation failure): (error: )?", "", said.splitlines()[-1]) if said else ""
    wanted = " ".join(option for option in asked if not option.startswith(("--signal", "--open-mode", "--no-kill")))
    if code == 0:
        yield ok(SLURM, "job", re.sub(r"^Job \d+", "would be taken,", said))
        return
    nodes = _nodes(settings)
    num_up = sum(not _states(node) & DOWN for node in nodes)
    if num_up < min(settings.min_nodes, len(nodes)):
        found = f"{num_up} of {len(nodes)} nodes are up: it would wait, as far as Slurm says ({said})"
        yield warning(SLURM, "job", found, "see why: sinfo --list-reasons")
        return
    advice = f"it asks for {wanted}; the largest nodes have {_largest(nodes)}"
    yield error(SLURM, "job", f"Slurm would refuse it: {said}", advice)


def _charged(settings: ClusterSettings) -> Iterator[Finding]:
    """Whether anybody looks at the account and the quality of service that were named."""
    named = {"account": settings.account, "qos": settings.qos}
    asked = " and ".join(f"{name} {value}" for name, value in named.items() if value)
    if not asked:
        return
    _, said = _said("scontrol", "show", "config")
    enforced = re.search(r"^AccountingStorageEnforce\s*=\s*(\S+)", said, re.MULTILINE)
    if enforced and enforced.group(1) != "none":
        yield ok(SLURM, "account", f"{asked}: Slurm looks at them when it takes a job, as above")
    else:
        yield warning(SLURM, "account", f"{asked}: this Slurm looks at neither", "leave them out, or see their names")


def _nodes(settings: ClusterSettings) -> list[Shown]:
    """The nodes of the partitions that are named; all where none is."""
    _, said = _said("scontrol", "-o", "show", "node")
    named = set(settings.partition.split(",")) if settings.partition else set()
    nodes = _shown(said, "NodeName").values()
    return [node for node in nodes if not named or named & set(node.get("Partitions", "").split(","))]


def _states(node: Shown) -> set[str]:
    """Slurm's words for how a node is, without its marks."""
    return {word.rstrip("*~#!%$@^-") for word in node.get("State", "").split("+")}


def _largest(nodes: Iterable[Shown]) -> str:
    """What the largest nodes have."""
    sizes = {(int(node.get("CPUTot", 0)), int(node.get("RealMemory", 0)), node.get("Gres", "")) for node in nodes}
    found = [
        f"{cpus} CPUs, {memory} MB" + (f", {gres}" if gres not in ("", "(null)") else "")
        for cpus, memory, gres in sorted(sizes, reverse=True)[:3]
    ]
    return "; or ".join(found) or "nothing that is known"


def _names(settings: ClusterSettings, shown: Mapping[str, Shown]) -> list[str]:
    if settings.partition:
        return settings.partition.split(",")
    return [name for name, found in shown.items() if found.get("Default") == "YES"]


def _shown(said: str, key: str) -> dict[str, Shown]:
    """What lines of ``scontrol -o show`` say, by the first word's value."""
    lines = [dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line)) for line in said.splitlines()]
    return {found[key]: found for found in lines if key in found}


def _listed(shown: Mapping[str, Shown]) -> str:
    return ", ".join(sorted(shown)) or "there are none"


def _missing() -> list[str]:
    return [name for name in COMMANDS if shutil.which(name) is None]


def _said(*command: str, script: str | None = None) -> tuple[int, str]:
    """Exit code and words of one of Slurm's commands."""
    try:
        ended = subprocess.run(
            command,
            input=script,
            env=own_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_S,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return 1, f"{command[0]} does not answer ({type(fault).__name__})"
    return ended.returncode, (ended.stdout.strip() + "\n" + ended.stderr.strip()).strip()
