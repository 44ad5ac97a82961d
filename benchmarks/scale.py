"""How the Ray pool scales: many trials, many nodes, and the load of the driver for a thousand nodes with eight GPUs.

    python -m benchmarks.scale [--trials 100000] [--nodes 80]

1. Many trials of no work on two workers: time and memory of the driver, tenth by tenth.
2. Many logical nodes, each a raylet of its own on this machine with one worker (about 250 MB for each node): the
   time until all are working, and the time of trials on all of them.
3. The parts of the driver's work, measured one by one, and the load of 8,000 workers calculated from them.

The driver is the sweep process. Its time is processor time, over all of its threads.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ray

from benchmarks.no_op import Listener, no_op, sweep, warm_up
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from bilin.orchestrator.sweep.snapshot import Snapshot
from bilin.spec import Resources
from bilin.workers.actors.node import Node, amounts_of
from bilin.workers.actors.pool import LOOK_PERIOD_S, Placement, RayPool
from bilin.workers.actors.worker import ASKED_AT_ONCE, PERIOD_S, Poller, Worker
from bilin.workers.events import ignore

TENTHS = 10
NODES, GPUS = 1000, 8
WORKERS = NODES * GPUS


@dataclass(slots=True)
class Driver:
    """Resources that the sweep process has used up to a point of a sweep."""

    ended: int
    wall_s: float
    cpu_s: float
    memory_mb: float

    @staticmethod
    def now(ended: int) -> Driver:
        """Return the resources used so far."""
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return Driver(ended, time.perf_counter(), time.process_time(), resident / 1e6)


class Tenths:
    """An observer that measures the driver at every tenth of a sweep."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.looks = [Driver.now(0)]

    def __call__(self, snapshot: Snapshot) -> None:
        """Measure if another tenth is done."""
        ended = self._count - snapshot.num_open
        if ended * TENTHS // self._count > self.looks[-1].ended * TENTHS // self._count:
            self.looks.append(Driver.now(ended))


def many_trials(count: int) -> float:
    """Run trials on two workers and print the driver's tenths; return its seconds for each trial."""
    listener = Listener()
    with open_pool(ClusterSpec(workers=2), PoolSpec(run=no_op, demand=[Resources()], emit=listener)) as pool:
        warm_up(pool, listener, 2)
        tenths = Tenths(count)
        sweep(pool, listener, count, observer=tenths)
    print(
        f"\n{count} no-op trials on 2 workers\n{'trials':>10}{'ms a trial':>12}{'of the driver':>15}{'driver MB':>11}"
    )
    for before, after in zip(tenths.looks, tenths.looks[1:], strict=False):
        share = after.ended - before.ended
        wall, cpu = 1000 * (after.wall_s - before.wall_s) / share, 1000 * (after.cpu_s - before.cpu_s) / share
        print(f"{after.ended:10}{wall:12.2f}{cpu:15.2f}{after.memory_mb:11.0f}", flush=True)
    return (tenths.looks[-1].cpu_s - tenths.looks[0].cpu_s) / count


def many_nodes(nodes: int, trials: int) -> Iterator[tuple[str, float]]:
    """Run trials on a Ray of many nodes with one worker each; return the costs of the driver by name."""
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_prestart_worker_first_driver="0")  # as bilin does: nodes start no workers by themselves
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        started = time.perf_counter()
        for _ in range(nodes):
            cluster.add_node(wait=False, num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)
        cluster.wait_for_nodes(timeout=600)
        up = time.perf_counter() - started
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        listener = Listener()
        pool = RayPool(no_op, num_workers=None, emit=listener)
        started = time.perf_counter()
        warm_up(pool, listener, nodes)
        warm = time.perf_counter() - started
        began, before = Driver.now(0), len(ray.nodes())
        sweep(pool, listener, trials)
        ended = Driver.now(trials)
        wall, cpu = ended.wall_s - began.wall_s, ended.cpu_s - began.cpu_s
        print(
            f"\n{nodes} nodes of one worker: up in {up:.0f} s, each worker's first trial done after {warm:.0f} s more"
        )
        print(
            f"{trials} trials: {1000 * wall / trials:.2f} ms each, {1000 * cpu / trials:.2f} of the driver", flush=True
        )
        yield "a trial, on many nodes", cpu / trials
        yield "ray.nodes(), a node", cost(ray.nodes) / before
        pool.close()
    finally:
        ray.shutdown()
        cluster.shutdown()


def parts() -> Iterator[tuple[str, float]]:
    """Return the driver's costs for each worker, in seconds."""
    cluster = ClusterSpec(workers=2)
    listener = Listener()
    with open_pool(cluster, PoolSpec(run=no_op, demand=[Resources()], emit=listener)) as pool:
        assert isinstance(pool, RayPool)
        warm_up(pool, listener, 2)
        actor = pool._idle[0].actor
        yield "a question and its answer", question(actor)
        refs = [actor.keep.remote(0.0) for _ in range(WORKERS)]
        ray.wait(refs, num_returns=len(refs))
        yield "ray.wait, an open call", cost(lambda: ray.wait(refs, num_returns=len(refs), timeout=0)) / WORKERS
    placement = Placement(None)
    placement.nodes = [Node(str(number), {"CPU": 4 * GPUS, "GPU": GPUS}) for number in range(NODES)]
    size = Resources(gpus=1.0)
    workers = [Worker(str(number), None, amounts_of(size), node=str(number // GPUS)) for number in range(WORKERS)]
    yield "room for one more, a worker", cost(lambda: placement.has_room(size, workers, placement.nodes)) / WORKERS


def question(actor: ray.actor.ActorHandle) -> float:
    """Return the processor seconds that the driver needs to ask a worker and take its answer."""
    poller = Poller(ignore)
    workers = [Worker(str(number), actor, amounts_of(Resources())) for number in range(ASKED_AT_ONCE)]
    rounds, second = 10, 1.0

    def seconds(asked: list[Worker]) -> float:
        began = time.process_time()
        for _ in range(rounds):
            time.sleep(second)  # longer than a period: each round takes all answers of the previous one
            poller.poll(asked)
        return time.process_time() - began

    return (seconds(workers) - seconds([])) / (rounds * len(workers))


def cost(call: Callable[[], object], times: int = 20) -> float:
    """Return the mean processor seconds of a call."""
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times


def calculate(costs: dict[str, float]) -> None:
    """Print the load of the driver for 8,000 workers, as a share of one processor, by the length of trials."""
    trial_s = costs["a trial, on many nodes"]
    fixed = ASKED_AT_ONCE / PERIOD_S * costs["a question and its answer"]
    fixed += NODES / LOOK_PERIOD_S * costs["ray.nodes(), a node"]
    turn = WORKERS * (2 * costs["ray.wait, an open call"] + costs["room for one more, a worker"])
    print(f"\nBy calculation, {NODES} nodes of {GPUS} GPUs, {WORKERS} workers, one driver")
    print(f"asking workers and nodes, independent of the trials: {100 * fixed:.0f} % of a processor")
    print(f"a turn of the loop, which takes all finished trials: {1000 * turn:.0f} ms, the longest wait of a worker")
    for minutes in (1, 5, 30):
        rate = WORKERS / (60 * minutes)
        print(f"trials of {minutes:2} min: {rate:6.1f} end each second, {100 * rate * trial_s:4.0f} % of a processor")
    left = (1 - fixed) / trial_s
    print(
        f"one processor is used up at {left:.0f} trials a second: {WORKERS / left:.0f} s a trial with {WORKERS} workers"
    )


def main() -> None:
    """Print the three parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=80)
    arguments = parser.parse_args()
    costs = {"a trial, on two workers": many_trials(arguments.trials)}
    costs.update(many_nodes(arguments.nodes, trials=max(arguments.nodes, arguments.trials // 20)))
    costs.update(parts())
    print("\nParts of the driver's work, microseconds of a processor")
    for name, seconds in costs.items():
        print(f"{name:32}{1e6 * seconds:10.1f}")
    calculate(costs)


if __name__ == "__main__":
    main()
