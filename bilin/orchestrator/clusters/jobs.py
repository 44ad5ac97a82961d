"""Sweeps as jobs of a running Ray: its job server runs the sweep process, which then needs no terminal.

The job server and its client come with ``ray[default]``, the extra ``bilin[jobs]``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.job_submission import JobSubmissionClient

from bilin.errors import ClusterError
from bilin.machine.host import environment as environment_of

OVER = frozenset(("STOPPED", "SUCCEEDED", "FAILED"))


def submit(address: str, command: str, *, job_id: str, environment: Mapping[str, str]) -> None:
    """Submit a shell command to the job server of the Ray at an address, to run with some variables set.

    Raises:
        ClusterError: There is no job server, or it refuses the job.
    """
    with _server(address) as client:
        client.submit_job(
            entrypoint=command, submission_id=job_id, runtime_env={"env_vars": dict(environment)}, entrypoint_num_cpus=0
        )


def state(address: str, job_id: str) -> str:
    """Return Ray's word for the state of a job, such as ``RUNNING``. Raises ClusterError without an answer."""
    with _server(address) as client:
        return str(client.get_job_status(job_id).value)


def output(address: str, job_id: str) -> str:
    """Return what a job printed, and the server's message about it. Raises ClusterError without an answer."""
    with _server(address) as client:
        message = client.get_job_info(job_id).message or ""
        return "\n".join(part for part in (client.get_job_logs(job_id).strip(), message.strip()) if part)


def stop(address: str, job_id: str) -> None:
    """End a job: SIGTERM, then SIGKILL if that is not enough. Raises ClusterError without an answer."""
    with _server(address) as client:
        client.stop_job(job_id)


@contextmanager
def _server(address: str) -> Iterator[Any]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # Ray also logs tracebacks of what it raises
    try:
        if address == "auto":
            yield JobSubmissionClient(None)
        else:
            with environment_of({"RAY_ADDRESS": None}):  # it would override the address
                yield JobSubmissionClient(address)
    except Exception as error:  # Ray raises all kinds
        text = " ".join(str(error).split()) or type(error).__name__
        lacks = "the optional dependency" in text or isinstance(error, ImportError) or "ray[default]" in text
        advice = "install bilin[jobs], here and where Ray's head runs" if lacks else "is its dashboard up?"
        raise ClusterError(f"could not use the job server of the Ray at {address}: {text[:300]}; {advice}") from error
    finally:
        logging.disable(disabled)
