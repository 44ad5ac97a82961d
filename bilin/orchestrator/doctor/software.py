"""What runs on a node: versions, torch and its GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bilin.orchestrator.clusters.inquiry.answers import other_versions
from bilin.orchestrator.doctor.finding import Finding, error, ok, warning
from bilin.orchestrator.doctor.needs import Needs

DIGITS_ONLY = ("torch", "numpy")
"""Packages that may differ from one node to another: results then may in their last bits, and rows say torch's."""


def versions(name: str, said: Mapping[str, Any], wanted: Needs) -> Iterator[Finding]:
    """Whether a node has what is here."""
    others = other_versions(wanted.versions, said)
    for package, fault in others.items():
        found, _, advice = fault.partition(". ")
        if said.get(package) is not None and package in DIGITS_ONLY:
            yield warning(name, "versions", found, "results may differ in their last bits")
        elif said.get(package) is not None and wanted.is_job and package in ("python", "ray"):
            yield warning(name, "versions", found, "a job runs with that of its nodes: see that all have the same")
        else:
            yield error(name, "versions", found, advice)
    same = [f"{package} {version}" for package, version in wanted.versions.items() if package not in others]
    if same:
        yield ok(name, "versions", f"{', '.join(same)}: as here")


def torch(name: str, said: Mapping[str, Any], num_given: float, wanted: Needs) -> Iterator[Finding]:
    """Whether torch can be loaded on a node, and computes on the GPUs that are given out there.

    Args:
        name: The node.
        said: Its answer.
        num_given: How many GPUs Ray or Slurm gives out there.
        wanted: What a launch needs.
    """
    if "failed" in said:
        yield error(name, "torch", f"cannot be loaded: {said['failed']}", "install it there anew")
        return
    build = f"torch {said['version']}" + (f", CUDA {said['cuda']}" if said["cuda"] else ", for the CPU alone")
    seen = len(said["names"])
    if seen >= num_given > 0 and not said["error"]:
        driver = f", driver {said['smi'] or '?'} for CUDA up to {said['driver']}" if said["driver"] else ""
        yield ok(name, "torch", f"{_listed(said['names'])}; {build}{driver}")
    elif num_given:
        say = error if wanted.wants_gpus else warning
        yield say(name, "torch", f"sees {seen} of {num_given:g} GPUs; {build}{_said(said)}", _advice(said, wanted))
    else:
        unused = "no GPU is given out" if seen or said["smi"] else "no GPU"
        yield ok(name, "torch", f"{unused}; {build}: trials compute on the CPU")


def _listed(names: list[str]) -> str:
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))  # noqa: RUF001


def _said(said: Mapping[str, Any]) -> str:
    return f": {said['error'][:300]}" if said["error"] else ""


def _advice(said: Mapping[str, Any], wanted: Needs) -> str:
    if not said["smi"]:
        advice = "nvidia-smi reaches no driver there: see that the node has one, and this job its devices"
    elif not said["cuda"]:
        advice = f"install a CUDA build of torch there (driver {said['smi']})"
    else:
        advice = f"install a build of torch for the driver there ({said['smi']}), or a newer driver"
    return advice if wanted.wants_gpus else f"trials that want none run; for others: {advice}"
