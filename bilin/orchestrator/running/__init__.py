"""Sweeps that run in another process: started in the background, watched, ended."""

from bilin.orchestrator.running.as_job import RayJob as RayJob
from bilin.orchestrator.running.as_job import submit_job as submit_job
from bilin.orchestrator.running.cancel import Cancelled as Cancelled
from bilin.orchestrator.running.cancel import cancel as cancel
from bilin.orchestrator.running.detach import Detached as Detached
from bilin.orchestrator.running.detach import detach as detach
from bilin.orchestrator.running.detach import own_command as own_command
from bilin.orchestrator.running.watch import INTERRUPTED as INTERRUPTED
from bilin.orchestrator.running.watch import Ended as Ended
from bilin.orchestrator.running.watch import watch as watch
