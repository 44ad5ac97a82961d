"""Examines a cluster before a launch: `bilin cluster doctor`.

    examine: what a launch needs ──> checks of `bilin.machine.probe` on every node ──> findings, and what follows for
             all nodes together
    slurm:   the same for Slurm itself

May import every part of the orchestrator but `background` and `monitor`; not ray.
"""

from bilin.orchestrator.clusters.inquiry import Finding as Finding
from bilin.orchestrator.doctor.examine import examine as examine
