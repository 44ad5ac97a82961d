"""A process that appends trials until it is killed; it says each number once it is durable, ``ready`` first."""

from __future__ import annotations

import sys

from bilin.results import SweepWriter
from tests.results.samples import cell, pair

store, first = sys.argv[1], int(sys.argv[2])
of = cell()
with SweepWriter(store, "sweep", command="the appending process") as writer:
    for seed in range(first, first + 100_000):
        writer.append([pair(of, seed=seed, curve=2)])
        print("ready" if seed == first else seed, flush=True)
