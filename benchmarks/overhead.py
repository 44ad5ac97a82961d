"""Overhead of a trial: bilin, a bare pool of Ray actors, and Ray Tune, in one run.

    python -m benchmarks.overhead [--trials 1000 10000] [--tune-trials 100] [--json overhead.json]

Each row is the wall time of trials of no work on two workers, divided by their number, after the workers are up.
bilin's figure includes storing the result on disk (fsynced). The bare pool stores nothing. Tune stores what it
stores by default. Ray Tune needs pandas (`pip install 'ray[tune]'`); without it, its rows are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.no_op import Listener, no_op, sweep, warm_up
from benchmarks.output import Table
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from bilin.spec import Resources

WORKERS = 2


def measure_bare(count: int) -> float:
    """Return the seconds for calls of two actors, one call for each trial, storing nothing."""
    import ray

    @ray.remote(num_cpus=0)
    class Bare:
        def run(self, number: int) -> int:
            return number

    actors = [Bare.remote() for _ in range(WORKERS)]
    ray.get([actor.run.remote(0) for actor in actors])
    started = time.perf_counter()
    running = {actor.run.remote(number): actor for number, actor in enumerate(actors)}
    for number in range(WORKERS, count):
        (done,), _ = ray.wait(list(running), num_returns=1)
        ray.get(done)
        actor = running.pop(done)
        running[actor.run.remote(number)] = actor
    ray.get(list(running))
    return time.perf_counter() - started


def measure_tune(count: int, *, reuse_actors: bool) -> float:
    """Return the seconds of a Tune run of trivial trials with OptunaSearch on the same Ray."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Trivial(tune.Trainable):
        def step(self) -> dict[str, object]:
            return {"score": 1.0, "done": True}

        def reset_config(self, new_config: dict[str, object]) -> bool:
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: object) -> None:
            return None

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            Trivial,
            param_space={"lr": tune.loguniform(1e-5, 1e-2)},
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(),
                metric="score",
                mode="max",
                num_samples=count,
                reuse_actors=reuse_actors,
                max_concurrent_trials=WORKERS,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        started = time.perf_counter()
        tuner.fit()
        return time.perf_counter() - started


def rows(trials: list[int], tune_trials: int) -> Iterator[tuple[str, int, float]]:
    """Yield the measurements, one after the other on one Ray."""
    cluster = ClusterSpec(workers=WORKERS)
    listener = Listener()
    with open_pool(cluster, PoolSpec(run=no_op, demand=[Resources()], emit=listener)) as pool:
        warm_up(pool, listener, WORKERS)
        for count in trials:
            yield "bilin", count, sweep(pool, listener, count)
            yield "bare pool of actors", count, measure_bare(count)
        if importlib.util.find_spec("pandas") is None:
            return
        pool.close()  # Tune's trials need the CPUs
        for reuse in (True, False):
            name = f"Ray Tune, actors {'reused' if reuse else 'not reused'}"
            yield name, tune_trials, measure_tune(tune_trials, reuse_actors=reuse)


def main() -> None:
    """Print a table of milliseconds for each trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--tune-trials", type=int, default=100)
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    table = Table("what", "trials", "seconds", "ms a trial")
    for name, count, seconds in rows(arguments.trials, arguments.tune_trials):
        table.add(name, count, seconds, 1000 * seconds / count)
    table.write(arguments.json)


if __name__ == "__main__":
    main()
