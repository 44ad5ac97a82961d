"""Examines a cluster before a launch: `bilin cluster doctor`.

    needs: what a launch needs ──> examine: questions to every node ──> verdicts of `bilin.machine.probe`
    findings: those verdicts with the names of nodes, and what follows for all nodes together
    slurm: the same for Slurm itself

May import every part of the orchestrator but `background` and `monitor`; not ray.
"""

from bilin.orchestrator.doctor.examine import examine as examine
from bilin.orchestrator.doctor.findings import Finding as Finding
