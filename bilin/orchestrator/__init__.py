"""The orchestrator: from a grid to results in the store.

May import every room but `bilin.cli`; optuna in `search` only, ray in `clusters.session` and `clusters.nodes` only.
"""

from bilin.orchestrator.clusters import ClusterSpec as ClusterSpec
from bilin.orchestrator.clusters.slurm.job import describe_job as describe_job
from bilin.orchestrator.grid import Grid as Grid
from bilin.orchestrator.grid import read_grid as read_grid
from bilin.orchestrator.inspect import SweepStatus as SweepStatus
from bilin.orchestrator.inspect import find_trial as find_trial
from bilin.orchestrator.inspect import repeat_grid as repeat_grid
from bilin.orchestrator.inspect import status as status
from bilin.orchestrator.inspect import statuses as statuses
from bilin.orchestrator.inspect import sweeps as sweeps
from bilin.orchestrator.labels import Labels as Labels
from bilin.orchestrator.launch import Summary as Summary
from bilin.orchestrator.launch import launch as launch
from bilin.orchestrator.launch import plan as plan
from bilin.orchestrator.output import output as output
from bilin.orchestrator.plan import Plan as Plan
from bilin.orchestrator.progress import Observer as Observer
from bilin.orchestrator.progress import SweepState as SweepState
from bilin.orchestrator.submit import Submission as Submission
from bilin.orchestrator.submit import script as script
from bilin.orchestrator.submit import submit as submit
from bilin.orchestrator.why import Why as Why
from bilin.orchestrator.why import why as why
