"""What nodes are asked, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.inquiry import Answers
from bilin.orchestrator.doctor import Finding, findings
from bilin.orchestrator.doctor.examine import questions
from bilin.orchestrator.doctor.needs import Needs
from bilin.orchestrator.grid import ClusterSettings, parse_grid
from bilin.orchestrator.planning.plan import Estimate, make_plan
from bilin.spec import Resources
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


def levels(found: Iterable[Finding]) -> list[str]:
    return [each.level for each in found]


def asked_of(wanted: Needs) -> dict[str, Any]:
    return dict(questions(wanted, None)["questions"])


def test_versions_of_torch_may_differ_and_in_a_job_those_of_ray() -> None:
    assert set(asked_of(WANTED)["versions"]["may_differ"]) == {"torch", "numpy"}
    assert set(asked_of(IN_JOB)["versions"]["may_differ"]) == {"torch", "numpy", "python", "ray"}


def test_what_is_asked_depends_on_the_launch() -> None:
    inline = replace(WANTED, cluster=ClusterSpec(kind="inline"))
    assert "ports" in asked_of(WANTED)
    assert "ports" not in asked_of(inline)
    assert asked_of(inline)["temporary"] == {"root": None}
    assert asked_of(inline)["torch"] == {"all_gpus": False, "wants_gpus": False}
    assert asked_of(replace(WANTED, demand=(Resources(gpus=0.5),)))["torch"]["wants_gpus"]
    assert questions(inline, None)["max_trials"] == 1
    assert questions(WANTED, None)["demand"] == [{"CPU": 2.0}]


def test_a_question_without_an_answer_is_an_error() -> None:
    node = Answers("n", verdicts={"temporary": [("ok", "/tmp: 5 GB free", "")]}, error="killed")
    silent, temporary = findings.of_node(node, ["temporary", "shared_memory"])
    assert (silent.level, silent.check, silent.found) == ("error", "answers", "none about shared memory (killed)")
    assert temporary == Finding("ok", "n", "temp directory", "/tmp: 5 GB free")


def test_every_trial_has_room_on_some_node_or_not() -> None:
    one, two = ({"CPU": cpus, "GPU": 8.0} for cpus in (1.0, 2.0))
    assert levels(findings.fits([one, two], WANTED)) == ["ok"]
    (found,) = findings.fits([one, one], WANTED)
    assert found.level == "error"
    assert "2 CPUs of one node, but the largest of the 2 nodes" in found.found


def test_what_a_trial_asks_for_beside_cpus_and_gpus_counts_too() -> None:
    small = replace(WANTED, demand=(Resources(memory="8GB"),))
    for memory, level in ((4e9, "error"), (9e9, "ok")):
        assert levels(findings.fits([{"CPU": 2.0, "memory": memory}], small)) == [level]
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
