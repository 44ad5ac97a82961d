"""What nodes are asked, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bilin.orchestrator import ClusterSpec, LaunchRequest
from bilin.orchestrator.doctor import Finding
from bilin.orchestrator.doctor.examine import check_duration, fits, questions
from bilin.orchestrator.grid import ClusterSettings, parse_grid
from bilin.orchestrator.planning.plan import Estimate, make_plan
from tests.orchestrator.conftest import TINY


def launch_on(kind: str, *, resources: str = "{cpus: 2}", **settings: str) -> LaunchRequest:
    text = TINY.format(m="[2]", rate="{choices: [1e-2]}", seeds="[0]", lengths="[10]")
    grid = replace(parse_grid(f"{text}resources: {resources}\n"), cluster=settings)
    return LaunchRequest.read(grid, cluster=ClusterSpec(kind=kind))


def levels(found: Iterable[Finding]) -> list[str]:
    return [each.level for each in found]


def checks(kind: str, **options: Any) -> dict[str, Any]:
    return dict(questions(launch_on(kind, **options), (), None)["checks"])


def test_versions_of_torch_may_differ_and_in_a_job_those_of_ray() -> None:
    assert set(checks("local")["versions"]["may_differ"]) == {"torch", "numpy"}
    assert set(checks("allocation")["versions"]["may_differ"]) == {"torch", "numpy", "python", "ray"}


def test_what_is_asked_depends_on_the_launch() -> None:
    assert "ports" in checks("local")
    assert "ports" not in checks("inline")
    assert checks("inline")["temp directory"] == {"for_ray": False}
    assert checks("inline")["torch"] == {"all_gpus": False, "wants_gpus": False}
    assert checks("local", resources="{gpus: 0.5}")["torch"]["wants_gpus"]
    assert questions(launch_on("inline"), (), None)["max_trials"] == 1
    assert questions(launch_on("local"), (), None)["demand"] == [{"CPU": 2.0}]
    assert "plugin" in questions(launch_on("local"), ("plugin 1.0",), None)["checks"]["versions"]["own"]


def test_every_trial_has_room_on_some_node_or_not() -> None:
    one, two = ({"CPU": cpus, "GPU": 8.0} for cpus in (1.0, 2.0))
    assert levels(fits([one, two], launch_on("local"))) == ["ok"]
    (found,) = fits([one, one], launch_on("local"))
    assert found.level == "error"
    assert "2 CPUs of one node, but the largest of the 2 nodes" in found.found


def test_what_a_trial_asks_for_beside_cpus_and_gpus_counts_too() -> None:
    for memory, level in ((4e9, "error"), (9e9, "ok")):
        has = {"CPU": 2.0, "memory": memory}
        assert levels(fits([has], launch_on("local", resources="{memory: 8GB}"))) == [level]
    (found,) = fits([], launch_on("allocation", resources="{memory: 8GB}", memory="4G"))
    assert "8 GB of memory" in found.found


def test_a_sweep_that_is_longer_than_its_job() -> None:
    text = TINY.format(m="[2]", rate="{choices: [1e-2, 1e-3]}", seeds="[0, 1]", lengths="[10]")
    unknown = make_plan(parse_grid(text), {})
    plan = replace(unknown, estimate=Estimate(seconds=7200, num_stored=3, num_unknown=0))
    found = check_duration(2, 1800.0, plan, ClusterSettings())
    assert (found.level, found.found) == ("warning", "about 1 h for 4 trials, 2 at once; a job has 30 min")
    for once, limit_s in ((2, None), (2, 3800.0), (8, 2000.0)):
        assert check_duration(once, limit_s, plan, ClusterSettings()).level == "ok"
    found = check_duration(2, 60.0, unknown, ClusterSettings())
    assert (found.level, found.found.partition(":")[0]) == ("ok", "not known")
