"""What is made of a node's answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.inquiry import Answers
from bilin.orchestrator.doctor import Finding, findings
from bilin.orchestrator.doctor.needs import Needs
from bilin.orchestrator.grid import ClusterSettings, parse_grid
from bilin.orchestrator.planning.plan import Estimate, make_plan
from bilin.spec import Resources
from bilin.workers.actors.node import Node
from tests.orchestrator.conftest import TINY

HERE = {"python": "3.12", "bilin": "1", "torch": "2.6", "ray": "2.60"}
WANTED = Needs(
    cluster=ClusterSpec(),
    store=Path("store"),
    settings=ClusterSettings(),
    plan=None,
    demand=(Resources(cpus=2),),
    versions=HERE,
)
IN_JOB = replace(WANTED, cluster=ClusterSpec(kind="allocation"))
ON_GPU = replace(WANTED, demand=(Resources(gpus=0.5),))
CPU = {"version": "2.6+cpu", "cuda": None, "names": [], "error": "", "driver": "", "smi": ""}
TOO_OLD = CPU | {"version": "2.6", "cuda": "12.8", "smi": "470.1", "error": "The NVIDIA driver is too old"}
TWO = CPU | {"version": "2.6", "cuda": "12.8", "names": ["H200", "H200"], "smi": "570.1", "driver": "12.8"}


NODE = Node("", {"CPU": 1.0})


def levels(found: Any) -> list[str]:
    """The levels of findings, or of verdicts, which begin with them."""
    return [each.level if isinstance(each, Finding) else each[0] for each in found]


def with_room(cpus: float, gpus: float = 0, has: dict[str, float] | None = None) -> Node:
    return findings.node_of("", Answers("", {"room": {"cpus": cpus, "gpus": gpus, "has": has}}))


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        (WANTED, {}, ["ok"]),
        (WANTED, {"bilin": "2"}, ["error", "ok"]),
        (WANTED, {"ray": "2.61"}, ["error", "ok"]),
        (IN_JOB, {"ray": "2.61"}, ["warning", "ok"]),
        (IN_JOB, {"bilin": "2"}, ["error", "ok"]),
        (IN_JOB, {"torch": "2.6+cu128"}, ["warning", "ok"]),
        (IN_JOB, {"torch": None}, ["error", "ok"]),
    ],
)
def test_another_version_matters_where_results_or_rays_would(
    wanted: Needs, there: dict[str, Any], expected: list[str]
) -> None:
    found = list(findings.versions({**HERE, **there}, NODE, wanted))
    assert levels(found) == expected
    for name, version in there.items():
        assert f"has {'no ' if version is None else ''}{name}" in found[0][1]


@pytest.mark.parametrize(
    ("said", "given", "wanted", "level", "words"),
    [
        (CPU, 0, WANTED, "ok", "no GPU"),
        (CPU, 2, WANTED, "warning", "sees 0 of 2 GPUs"),
        (CPU | {"smi": "570.1"}, 2, ON_GPU, "error", "install a CUDA build"),
        (CPU, 2, ON_GPU, "error", "finds no driver"),
        (TOO_OLD, 1, ON_GPU, "error", "too old"),
        (TWO, 2, ON_GPU, "ok", "2 × H200; torch 2.6, CUDA 12.8, driver 570.1 for CUDA up to 12.8"),  # noqa: RUF001
        (TWO, 4, ON_GPU, "error", "sees 2 of 4 GPUs"),
        (TWO | {"error": "out of memory"}, 2, ON_GPU, "error", "out of memory"),
        ({"failed": "libcudart.so.12 is missing"}, 0, WANTED, "error", "libcudart"),
    ],
)
def test_torch_and_the_gpus_that_are_given(
    said: dict[str, Any], given: float, wanted: Needs, level: str, words: str
) -> None:
    (found,) = findings.torch(said, with_room(1, given), wanted)
    assert found[0] == level
    assert words in f"{found[1]} {found[2]}"


@pytest.mark.parametrize(("ahead_s", "words"), [(3.0, "within"), (40.0, "40 s ahead of"), (-40.0, "40 s behind")])
def test_a_clock_that_is_off_is_said(ahead_s: float, words: str) -> None:
    (found,) = findings.clock(ahead_s)
    assert (found[0], words in found[1]) == ("ok" if ahead_s == 3 else "warning", True)


def test_memory_for_ray_and_its_workers() -> None:
    def found(available: float) -> findings.Verdict:
        (only,) = findings.memory({"total": 1e12, "available": available}, with_room(20), WANTED)
        return only

    assert levels(map(found, (1e11, 2e9, 5e8))) == ["ok", "warning", "error"]
    assert "Ray and 10 at once" in found(1e11)[1]
    assert "enough for 4: free some" in found(2e9)[2]


def test_shared_memory_disk_and_sockets() -> None:
    small = findings.shared_memory({"path": "/dev/shm", "free": 64e6}, NODE, WANTED)
    assert levels(small) == ["warning"]
    for free, level in ((1e6, "error"), (5e8, "warning"), (5e9, "ok")):
        assert levels(findings.temporary({"path": "/tmp", "free": free}, NODE, WANTED)) == [level]
    too_long = {"path": "/long", "free": 5e9, "error": "AF_UNIX path too long"}
    assert levels(findings.temporary(too_long, NODE, WANTED)) == ["error"]
    assert levels(findings.temporary(too_long, NODE, replace(WANTED, cluster=ClusterSpec(kind="inline")))) == ["ok"]


def test_every_trial_has_room_on_some_node_or_not() -> None:
    one, two = (with_room(cpus, 8) for cpus in (1, 2))
    assert levels(findings.fits([one, two], WANTED)) == ["ok"]
    (found,) = findings.fits([one, one], WANTED)
    assert found.level == "error"
    assert "2 CPUs of one node, but the largest of the 2 nodes" in found.found
    assert levels(findings.room({}, one, WANTED)) == ["warning"]


def test_what_a_trial_asks_for_beside_cpus_and_gpus_counts_too() -> None:
    small = replace(WANTED, demand=(Resources(memory="8GB"),))
    for has, level in ((4e9, "error"), (9e9, "ok")):
        node = with_room(2, has={"CPU": 2.0, "memory": has})
        assert levels(findings.fits([node], small)) == [level]
    job = replace(IN_JOB, demand=small.demand, settings=ClusterSettings(memory="4G"))
    (found,) = findings.fits([], job)
    assert "8 GB of memory" in found.found


def test_a_sweep_that_is_longer_than_its_job() -> None:
    text = TINY.format(m="[2]", rate="{choices: [1e-2, 1e-3]}", seeds="[0, 1]", lengths="[10]")
    unknown = make_plan(parse_grid(text), {})
    plan = replace(unknown, estimate=Estimate(seconds=7200, num_stored=3, num_unknown=0))
    found = findings.duration(2, 1800.0, plan, ClusterSettings())
    assert (found.level, found.found) == ("warning", "about 60 min for 4 trials, 2 at once; a job has 30 min")
    for once, limit_s in ((2, None), (2, 3800.0), (8, 2000.0)):
        assert findings.duration(once, limit_s, plan, ClusterSettings()).level == "ok"
    found = findings.duration(2, 60.0, unknown, ClusterSettings())
    assert (found.level, found.found.partition(":")[0]) == ("ok", "not known")
