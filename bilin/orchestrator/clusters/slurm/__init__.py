"""Slurm: a sweep as one job, with Ray on all nodes of it.

    background/submit ── script ──> sbatch ──> the job: `bilin sweep launch - --cluster allocation`
                                          └── allocation: one srun step ──> node, once on each node

`script` is pure, `queue` asks Slurm, `job` keeps the job's id in the store; `allocation` runs inside the job,
and `node` on each of its nodes. `again` has the next job where one ends before its sweep, `timed` begins nothing
for which the time until then is short, and `more` asks for nodes that come to a sweep that runs.

`end` ends what its user cancels, `size` says what no node of the job could hold, `step` asks nodes of Slurm's.

May import what `bilin.orchestrator.clusters` may, but for ray: `node` starts it as a program.
"""
