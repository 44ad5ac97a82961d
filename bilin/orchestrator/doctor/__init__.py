"""Looks at a cluster before a launch: `bilin cluster doctor`.

    wanted: what a launch needs ──> questions ──> clusters/inquiry, on every node ──> answers
    ──> software, machine, storage: one finding for each thing that was looked at; slurm and whole: of them all

May import every part of the orchestrator but `background` and `monitor`; ray not at all.
"""

from bilin.orchestrator.doctor.examine import examine as examine
from bilin.orchestrator.doctor.finding import Finding as Finding
