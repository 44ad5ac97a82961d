"""What Slurm says about a job before it is submitted, on the machine that would submit it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from bilin.machine.slurm import COMMANDS, Slurm, parse_lines, seconds
from bilin.orchestrator.clusters.inquiry import Finding
from bilin.orchestrator.clusters.slurm.probe_step import PLACE
from bilin.orchestrator.clusters.slurm.script import sbatch_options
from bilin.orchestrator.grid import ClusterSettings

OLDEST = (22, 5)  # the oldest Slurm that bilin was tested with

DOWN = frozenset(("DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING"))
"""States of nodes that take no job until an administrator acts."""

Shown = Mapping[str, str]
"""What `scontrol show` says about one thing, by name."""


def check(settings: ClusterSettings, slurm: Slurm) -> Iterator[Finding]:
    """Yield what Slurm says about itself and about a job with these settings."""
    if missing := slurm.missing():
        found, advice = f"no {', '.join(missing)} here", "run this on a login node of the cluster"
        yield Finding("error", PLACE, "commands", found, advice)
        return
    code, text = _run(slurm, "sbatch", "--version")
    digits = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if code == 0 and digits >= OLDEST:
        yield Finding("ok", PLACE, "commands", f"{', '.join(COMMANDS)}; {text}")
    else:
        yield Finding("warning", PLACE, "commands", text or "no version", "Slurm 22.05 and later are known to work")
    code, text = _run(slurm, "scontrol", "-o", "show", "partition")
    if code:
        yield Finding(
            "error", PLACE, "controller", text or "does not answer", "check that slurmctld runs: scontrol ping"
        )
    elif "SLURM_JOB_ID" in os.environ:
        yield Finding("ok", PLACE, "job", f"this is in job {os.environ['SLURM_JOB_ID']}: its nodes are asked")
    else:
        yield from _partitions(settings, parse_lines(text, "PartitionName"))
        yield _accepted(settings, slurm)
        charged = {"account": settings.account, "qos": settings.qos}
        if asked := " and ".join(f"{name} {value}" for name, value in charged.items() if value):
            _, text = _run(slurm, "scontrol", "show", "config")
            enforced = re.search(r"^AccountingStorageEnforce\s*=\s*(\S+)", text, re.MULTILINE)
            if enforced and enforced.group(1) != "none":
                yield Finding("ok", PLACE, "account", f"{asked}: Slurm checks them when it accepts a job, as above")
            else:
                found, advice = f"{asked}: this Slurm checks neither", "leave them out, or check their names"
                yield Finding("warning", PLACE, "account", found, advice)


def time_limit_s(settings: ClusterSettings, slurm: Slurm) -> float | None:
    """Return the seconds that a job has, or that are left of the one of this process; None without a limit."""
    if job_id := os.environ.get("SLURM_JOB_ID"):
        status = slurm.status(job_id)
        return status.left_s if status else None
    if settings.time:
        return seconds(settings.time)
    _, text = _run(slurm, "scontrol", "-o", "show", "partition")
    shown = parse_lines(text, "PartitionName")
    limits = (
        shown.get(name, {}).get(key, "") for name in _names(settings, shown) for key in ("DefaultTime", "MaxTime")
    )
    return next((seconds(limit) for limit in limits if re.match(r"\d", limit)), None)


def _partitions(settings: ClusterSettings, shown: Mapping[str, Shown]) -> Iterator[Finding]:
    names, listed = _names(settings, shown), ", ".join(sorted(shown)) or "there are none"
    if not names:
        yield Finding("error", PLACE, "partition", "none is the default", f"name one in cluster.partition: {listed}")
    limits = {name: shown.get(name, {}).get("MaxTime", "") for name in names}
    too_short = {
        name
        for name, limit in limits.items()
        if settings.time and re.match(r"\d", limit) and seconds(settings.time) > seconds(limit)
    }
    for name in names:
        partition = shown.get(name)
        if partition is None:
            yield Finding("error", PLACE, "partition", f"there is no {name}", f"name one of {listed}")
            continue
        if name in too_short:
            found = (
                f"the job requests {settings.time}, but {name} allows at most {limits[name]}: the job would never start"
            )
            advice = "lower cluster.time: a sweep continues in the next job by itself"
            # Slurm uses any of several partitions.
            yield Finding("error" if too_short == set(names) else "warning", PLACE, "partition", found, advice)
        elif partition.get("State") != "UP":
            found = f"{name} is {partition.get('State')}"
            yield Finding("warning", PLACE, "partition", found, "jobs wait until it is up")
        else:
            found = f"{name}: {partition.get('TotalNodes')} nodes ({partition.get('Nodes')}), MaxTime {limits[name]}"
            yield Finding("ok", PLACE, "partition", found)


def _accepted(settings: ClusterSettings, slurm: Slurm) -> Finding:
    """Return whether Slurm would accept the job: `sbatch --test-only` says so, and submits nothing."""
    asked = list(sbatch_options(settings, nodes=settings.min_nodes, signal=True))
    script = "".join(f"{line}\n" for line in ["#!/bin/bash", *(f"#SBATCH {option}" for option in asked), "true"])
    code, text = _run(slurm, "sbatch", "--test-only", script=script)
    text = re.sub(r"^(sbatch|allocation failure): (error: )?", "", text.splitlines()[-1]) if text else ""
    if code == 0:
        return Finding("ok", PLACE, "job", re.sub(r"^Job \d+", "would be accepted,", text))
    _, listed = _run(slurm, "scontrol", "-o", "show", "node")
    named = set(settings.partition.split(",")) if settings.partition else set()
    nodes = [
        node
        for node in parse_lines(listed, "NodeName").values()
        if not named or named & set(node.get("Partitions", "").split(","))
    ]
    states = ({word.rstrip("*~#!%$@^-") for word in node.get("State", "").split("+")} for node in nodes)
    num_up = sum(not words & DOWN for words in states)
    if num_up < min(settings.min_nodes, len(nodes)):
        found = f"{num_up} of {len(nodes)} nodes are up: the job would wait, according to Slurm ({text})"
        return Finding("warning", PLACE, "job", found, "see why: sinfo --list-reasons")
    shown = " ".join(option for option in asked if not option.startswith(("--signal", "--open-mode", "--no-kill")))
    advice = f"the job requests {shown}; the largest nodes have {_largest(nodes)}"
    return Finding("error", PLACE, "job", f"Slurm would refuse it: {text}", advice)


def _largest(nodes: Iterable[Shown]) -> str:
    """Return what the largest nodes have."""
    sizes = {(int(node.get("CPUTot", 0)), int(node.get("RealMemory", 0)), node.get("Gres", "")) for node in nodes}
    texts = [
        f"{cpus} CPUs, {memory} MB" + (f", {gres}" if gres not in ("", "(null)") else "")
        for cpus, memory, gres in sorted(sizes, reverse=True)[:3]
    ]
    return "; or ".join(texts) or "an unknown size"


def _names(settings: ClusterSettings, shown: Mapping[str, Shown]) -> list[str]:
    if settings.partition:
        return settings.partition.split(",")
    return [name for name, partition in shown.items() if partition.get("Default") == "YES"]


def _run(slurm: Slurm, *command: str, script: str | None = None) -> tuple[int, str]:
    """Return the exit code and the text of a command."""
    ended = slurm.run(*command, script=script)
    return ended.returncode, f"{ended.stdout.strip()}\n{ended.stderr.strip()}".strip()
