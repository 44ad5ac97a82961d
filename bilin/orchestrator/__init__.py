"""The orchestrator: from a grid to results in the store.

    grid ──> planning ──> sweep on clusters          background: the same, in another process
                               └── the store ──> monitor        doctor: what a launch would find

May import every room but `bilin.cli`; numpy only in `planning.gaussian`, optuna only in `planning.optuna_samplers`,
ruamel.yaml only in `grid.yaml`, ray only in `clusters`.
"""

from bilin.machine.slurm import JobStatus as JobStatus
from bilin.orchestrator.background.submit import Submission as Submission
from bilin.orchestrator.background.submit import script as script
from bilin.orchestrator.background.submit import submit as submit
from bilin.orchestrator.clusters import ClusterSpec as ClusterSpec
from bilin.orchestrator.clusters.slurm.job import Job as Job
from bilin.orchestrator.grid import Grid as Grid
from bilin.orchestrator.grid import read_grid as read_grid
from bilin.orchestrator.monitor.spectrum import spectrum as spectrum
from bilin.orchestrator.monitor.sweep import Ended as Ended
from bilin.orchestrator.monitor.sweep import NotInstalledError as NotInstalledError
from bilin.orchestrator.monitor.sweep import Queued as Queued
from bilin.orchestrator.monitor.sweep import SweepStatus as SweepStatus
from bilin.orchestrator.monitor.sweep import status as status
from bilin.orchestrator.monitor.sweep import statuses as statuses
from bilin.orchestrator.monitor.sweep import watch as watch
from bilin.orchestrator.monitor.trial import Why as Why
from bilin.orchestrator.monitor.trial import find_trial as find_trial
from bilin.orchestrator.monitor.trial import output as output
from bilin.orchestrator.monitor.trial import repeat_grid as repeat_grid
from bilin.orchestrator.monitor.trial import why as why
from bilin.orchestrator.planning.plan import Plan as Plan
from bilin.orchestrator.planning.reasons import Explanation as Explanation
from bilin.orchestrator.planning.reasons import Reason as Reason
from bilin.orchestrator.planning.reasons import ReasonCount as ReasonCount
from bilin.orchestrator.planning.reasons import TrialReason as TrialReason
from bilin.orchestrator.planning.state import SweepState as SweepState
from bilin.orchestrator.request import LaunchRequest as LaunchRequest
from bilin.orchestrator.sweep.launch import Summary as Summary
from bilin.orchestrator.sweep.launch import launch as launch
from bilin.orchestrator.sweep.launch import plan as plan
from bilin.orchestrator.sweep.rename import rename as rename
from bilin.orchestrator.sweep.snapshot import Observer as Observer
from bilin.orchestrator.sweep.snapshot import Snapshot as Snapshot
from bilin.orchestrator.template import grid_template as grid_template
from bilin.orchestrator.template import write_grid_template as write_grid_template
from bilin.results import Failure as Failure
from bilin.results import failures as failures
