"""What state a sweep is in: the one answer that plans, launches, displays and exit codes share."""

from __future__ import annotations

from enum import StrEnum

from bilin.errors import BilinError, InterruptedSweepError


class SweepState(StrEnum):
    """The state of a sweep; docs/cli.md has a table of them."""

    QUEUED = "queued"
    RUNNING = "running"
    SILENT = "silent"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    COMPLETE = "complete"

    @classmethod
    def of(
        cls,
        *,
        num_to_run: int,
        num_failed: int,
        is_queued: bool = False,
        is_running: bool = False,
        is_silent: bool = False,
    ) -> SweepState:
        """Return the state of a sweep.

        Args:
            num_to_run: Trials to run.
            num_failed: Trials that ended without a result and are left alone.
            is_queued: Whether Slurm has a job for the sweep.
            is_running: Whether a process runs it.
            is_silent: Whether that process has given no sign of life for too long.
        """
        if is_queued:
            return cls.QUEUED
        if is_running:
            return cls.SILENT if is_silent else cls.RUNNING
        if num_to_run:
            return cls.INCOMPLETE
        return cls.FAILED if num_failed else cls.COMPLETE

    @property
    def exit_code(self) -> int:
        """The exit code of a launch or a watch that ends in this state."""
        if self is SweepState.COMPLETE:
            return 0
        return BilinError.exit_code if self is SweepState.FAILED else InterruptedSweepError.exit_code
