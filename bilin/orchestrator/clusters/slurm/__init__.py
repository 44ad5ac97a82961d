"""Slurm: a sweep as one job, with Ray on all of its nodes.

    background/submit ── script ──> sbatch ──> the job: `bilin sweep launch - `, on cluster 'allocation'
                                          └── allocation: one srun step ──> `bilin.machine.ray_node` on each node

    script         batch scripts; pure text
    job            which job runs a sweep, in the sweep's folder
    continuation   the next job, if one ends before its sweep
    allocation     inside the job: Ray on its nodes, and on further ones
    deadline       a pool that starts no trial for which the job has too little time left
    probe_step     asks the nodes that a job would get

May import what `bilin.orchestrator.clusters` may, except ray.
"""
