"""What nodes have room for."""

from __future__ import annotations

import pytest

from bilin.fields import Amounts
from bilin.spec import Resources
from bilin.workers.actors.node import Node, amounts_of, describe_amounts, hold
from bilin.workers.actors.pool import Placement

LICENSE = Amounts((("license", 2.0),))
NODE = Node("a", {"CPU": 8.0, "GPU": 2.0, "memory": 10e9, "accelerator_type:H100": 1.0, "license": 3.0})


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        (Resources(), 8),
        (Resources(cpus=3), 2),
        (Resources(cpus=0.5, gpus=0.4), 4),
        (Resources(gpus=2), 1),
        (Resources(memory="4GB"), 2),
        (Resources(memory="11GB"), 0),
        (Resources(custom=LICENSE), 1),
        (Resources(gpus=1, accelerator="H100"), 2),
        (Resources(gpus=1, accelerator="A100"), 0),
    ],
)
def test_a_node_holds_as_many_as_the_scarcest_allows(resources: Resources, count: int) -> None:
    assert NODE.holds(resources) == count


def test_nodes_hold_what_they_have_in_sum() -> None:
    licensed = amounts_of(Resources(custom=LICENSE))
    assert hold([NODE], [licensed])
    assert not hold([NODE], [licensed, licensed])
    assert hold([NODE, NODE], [licensed] * 3)
    assert not hold([], [licensed])


def test_amounts_as_text() -> None:
    resources = Resources(cpus=2, gpus=0.5, accelerator="H100", memory="4.5GB", custom=LICENSE)
    assert describe_amounts(amounts_of(resources)) == "2 CPUs, 0.5 GPUs (H100), 4.5 GB of memory and 2 of license"
    assert describe_amounts(amounts_of(Resources())) == "1 CPU"
    assert describe_amounts({}) == "nothing"


@pytest.mark.parametrize(
    ("limit", "resources", "count"),
    [
        (None, Resources(), 16),
        (None, Resources(gpus=1), 4),
        (None, Resources(gpus=0.25), 16),
        (3, Resources(gpus=1), 3),
        (None, Resources(cpus=0), 16),
        (None, Resources(gpus=8), 1),
    ],
)
def test_there_are_as_many_workers_as_gpus_if_each_takes_one(
    limit: int | None, resources: Resources, count: int
) -> None:
    placement = Placement(limit)
    placement.nodes = [NODE, NODE]
    assert placement.num_workers(resources) == count
