"""The pool that runs one group of trials after the other in this process; it needs no Ray."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext

from bilin.spec import Resources
from bilin.workers.events import Emit, ignore
from bilin.workers.output import Outputs, copied
from bilin.workers.pool import Group, RunTrial
from bilin.workers.runner import TrialRunner
from bilin.workers.training.checkpoint import Checkpoints


class InlinePool:
    """Runs each group inside `wait`, which therefore returns when the group has ended."""

    def __init__(
        self,
        run: RunTrial | None,
        *,
        emit: Emit = ignore,
        checkpoints: Checkpoints | None = None,
        outputs: Outputs | None = None,
    ) -> None:
        self._runner = TrialRunner(
            run,
            emit,
            checkpoints=checkpoints,
            output=lambda trial_id: copied(outputs.folder.trial_log(trial_id)) if outputs else nullcontext(),
        )
        self._group: Group | None = None

    def num_workers(self, resources: Resources) -> int:  # noqa: ARG002 (one at a time)
        """One."""
        return 1

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:  # noqa: ARG002 (one at a time)
        """Whether no group waits to be run."""
        return self._group is None

    def submit(self, group: Group) -> None:
        """Keep the group for the next `wait`."""
        self._group = group

    def wait(self, timeout_s: float) -> None:  # noqa: ARG002 (nothing else happens meanwhile)
        """Run the group that was submitted, to its end."""
        group, self._group = self._group, None
        if group:
            self._runner.run(group.trials)

    def cancel(self, trial_id: str) -> None:
        """End a trial; while one runs, that is from inside its emit."""
        self._runner.cancel(trial_id)

    def keep(self, timeout_s: float) -> None:
        """Do nothing: what runs here runs inside `wait`, and wrote its checkpoints when they were due."""

    def close(self) -> None:
        """Forget the group that waits."""
        self._group = None
