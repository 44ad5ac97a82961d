"""Sweeps that run in another process: submitted to Slurm or Ray, or detached from the terminal; and how they end."""

from bilin.orchestrator.background.cancellation import Cancelled as Cancelled
from bilin.orchestrator.background.cancellation import cancel as cancel
from bilin.orchestrator.background.detach import Detached as Detached
from bilin.orchestrator.background.detach import RayJob as RayJob
from bilin.orchestrator.background.detach import detach as detach
from bilin.orchestrator.background.detach import submit_job as submit_job
