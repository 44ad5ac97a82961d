"""Sweeps that run in another process: handed to the background, to Ray or to Slurm, and ended there."""

from bilin.orchestrator.background.as_job import RayJob as RayJob
from bilin.orchestrator.background.as_job import submit_job as submit_job
from bilin.orchestrator.background.cancel import Cancelled as Cancelled
from bilin.orchestrator.background.cancel import cancel as cancel
from bilin.orchestrator.background.detach import Detached as Detached
from bilin.orchestrator.background.detach import detach as detach
