from __future__ import annotations

import socket

import pytest

from bilin.errors import ClusterError, InputError
from bilin.fields import Amounts
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from bilin.spec import Resources
from tests.workers.pool_runs import by_seed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "slum"}, "local, inline, ray, allocation, slurm"),
        ({"kind": "slurm"}, "submit"),
        ({"workers": 0}, "at least 1"),
        ({"kind": "ray"}, "--address"),
        ({"kind": "local", "address": "10.0.0.1:6379"}, "drop one"),
        ({"kind": "inline", "workers": 2}, "one trial at a time"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClusterSpec(**settings)  # type: ignore[arg-type]


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = ClusterSpec(kind="ray", address=address)
    with pytest.raises(ClusterError, match=address), open_pool(cluster, PoolSpec(run=by_seed, demand=[], emit=print)):
        pass


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("node1", "it has no port"),
        (":6379", "it has no host"),
        ("10.0.0.1:port", "'port'"),
        ("ray://10.0.0.1:66000", "0-65535"),
        ("[10.0.0.1:6379", "IPv6"),
    ],
)
def test_a_mistyped_address_is_refused(address: str, fault: str) -> None:
    with pytest.raises(InputError, match=f"{fault}.*; accepted: HOST:PORT, ray://HOST:PORT or auto"):
        ClusterSpec(kind="ray", address=address)


@pytest.mark.ray
def test_a_demand_that_can_never_be_met_is_said_at_once() -> None:
    demand = [Resources(), Resources(gpus=4.0, memory="2TB", custom=Amounts((("license", 1.0),)))]
    asked = r"asks for 1 CPU, 4 GPUs, 2 TB of memory and 1 of license, but this machine has \d+ CPUs?, \d+ GPUs?"
    with (
        pytest.raises(ClusterError, match=rf"{asked} .*\(license: on no node\): lower `resources`"),
        open_pool(ClusterSpec(workers=1), PoolSpec(run=by_seed, demand=demand, emit=print)),
    ):
        pass
