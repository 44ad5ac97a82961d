"""Clusters: where trials run. Each kind starts a pool of workers, and later ends all that it started.

    backends       the kinds of clusters, and how each brings up workers
    session        a pool on a Ray: one of our own, or a running one; `ray_internals`: Ray's private names
    slurm/         a sweep as a Slurm job, and Ray on the nodes of that job
    jobs           a sweep as a job of a running Ray
    inquiry        checks of nodes; `nodes` asks those of a Ray, `slurm/probe_step` those of a Slurm job
    capacity       whether a node can hold a trial

May import the grid, `bilin.results`, `bilin.workers`, `bilin.machine` and the modules of `bilin`; ray in `session`,
`ray_internals`, `nodes` and `jobs` only.
"""

from bilin.orchestrator.clusters.backends import ClusterSpec as ClusterSpec
from bilin.orchestrator.clusters.backends import PoolSpec as PoolSpec
from bilin.orchestrator.clusters.backends import check_nodes as check_nodes
from bilin.orchestrator.clusters.backends import open_pool as open_pool
