"""Sweeps as jobs of a Ray that is up: its job server runs the sweep process, which needs no terminal then.

The job server and its client come with ``ray[default]``, the extra ``bilin[jobs]``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ray.job_submission import JobSubmissionClient

from bilin.errors import ClusterError

OVER = frozenset(("STOPPED", "SUCCEEDED", "FAILED"))


def submit(address: str, command: str, *, job_id: str, environment: Mapping[str, str]) -> None:
    """Hand a command to the job server of the Ray at an address.

    Args:
        address: As `ClusterSpec` takes it.
        command: For a shell on one of the nodes.
        job_id: The job's name.
        environment: What it finds in its environment.

    Raises:
        ClusterError: There is no job server, or it refuses.
    """
    with _server(address) as client:
        client.submit_job(
            entrypoint=command, submission_id=job_id, runtime_env={"env_vars": dict(environment)}, entrypoint_num_cpus=0
        )


def state(address: str, job_id: str) -> str:
    """Ray's word for how a job stands, such as ``RUNNING``. Raises ClusterError where it cannot be asked."""
    with _server(address) as client:
        return str(client.get_job_status(job_id).value)


def said(address: str, job_id: str) -> str:
    """What a job and its server had to say. Raises ClusterError where they cannot be asked."""
    with _server(address) as client:
        message = client.get_job_info(job_id).message or ""
        return "\n".join(part for part in (client.get_job_logs(job_id).strip(), message.strip()) if part)


def stop(address: str, job_id: str) -> None:
    """End a job: SIGTERM, and SIGKILL where that is not enough. Raises ClusterError where it cannot be asked."""
    with _server(address) as client:
        client.stop_job(job_id)


@contextmanager
def _server(address: str) -> Iterator[Any]:
    before = os.environ.pop("RAY_ADDRESS", None) if address != "auto" else None  # it would count more than ours
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # Ray logs tracebacks of what it raises too
    try:
        yield JobSubmissionClient(None if address == "auto" else address)
    except Exception as error:  # Ray raises all kinds
        words = " ".join(str(error).split()) or type(error).__name__
        lacks = "the optional dependency" in words or isinstance(error, ImportError) or "ray[default]" in words
        advice = "install bilin[jobs], here and where Ray's head runs" if lacks else "is its dashboard up?"
        raise ClusterError(f"the job server of the Ray at {address} cannot be used: {words[:300]}; {advice}") from error
    finally:
        logging.disable(disabled)
        if before is not None:
            with suppress(KeyError):
                os.environ["RAY_ADDRESS"] = before
