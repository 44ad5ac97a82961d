"""A journal of Optuna: a study for each cell, with a trial for each of its trials."""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bilin.folder import DEFAULT_STORE
from bilin.results.export import output_file
from bilin.results.interchange.trials import ExportedTrial, by_cell, read_trials


def export_optuna(
    path: Path,
    store: Path | str = DEFAULT_STORE,
    *,
    sweep: str | None = None,
    where: str | None = None,
    everything: bool = False,
) -> int:
    """Write trials to a journal of Optuna, which ``optuna-dashboard`` and `optuna.load_study` open.

    A study is a cell. The value of a trial is its validation accuracy, and its intermediate values are the lowest
    accuracy over all evaluated lengths by step. A trial that a pruner stopped has the state ``PRUNED``, and one that
    diverged or failed ``FAIL``.

    Args:
        path: The file, which is replaced.
        store: Directory of the store.
        sweep: The sweep to look at; None looks at all.
        where: A condition in SQL on trials.
        everything: Include rows that the grid of the last launch does not ask for.

    Returns:
        The number of studies.

    Raises:
        InputError: The file cannot be written.
        QueryError: The condition is not valid, or no trial meets it.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    trials = read_trials(store, sweep=sweep, where=where, everything=everything)
    with output_file(path) as file, tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        num_studies = _write(trials, journal)
        with journal.open("rb") as written:
            shutil.copyfileobj(written, file)
    return num_studies


def _write(trials: Sequence[ExportedTrial], path: Path) -> int:
    """Write a journal to a new file. In memory until the end: a journal in a file is locked and read at each entry."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
    from optuna.study import StudyDirection

    class Memory(BaseJournalBackend):
        def __init__(self) -> None:
            self.logs: list[dict[str, Any]] = []

        def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
            return self.logs[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.logs += logs

    memory, num_studies = Memory(), 0
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = JournalStorage(memory)
        for cell in by_cell(trials):
            first = cell[0]
            name = f"{first.row['sweep']}: {first.task}, {first.model} ({first.row['cell_id']})"
            study = storage.create_new_study([StudyDirection.MAXIMIZE], name)
            storage.set_study_user_attr(study, "sweep", first.row["sweep"])
            storage.set_study_user_attr(study, "cell_id", first.row["cell_id"])
            for field, value in first.cell.items():
                storage.set_study_user_attr(study, field, value)
            storage.set_study_system_attr(study, "study:metric_names", ["validation_accuracy"])
            for trial in _trials(cell):
                storage.create_new_trial(study, trial)
            num_studies += 1
        JournalFileBackend(str(path)).append_logs(memory.logs)
    return num_studies


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log, which has a line for each study."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _trials(cell: Sequence[ExportedTrial]) -> Iterable[Any]:
    """Yield the trials of a cell for Optuna, in the order in which they started.

    The range of a parameter is that of the values that were tried.
    """
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.trial import FrozenTrial, TrialState

    states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    tried = {name: [trial.point[name] for trial in cell if name in trial.point] for name in cell[0].point}
    space: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(values), max(values), log=min(values) > 0 and name == "lr")
        for name, values in tried.items()
    }
    for number, trial in enumerate(
        sorted(cell, key=lambda trial: (trial.row["started_at"] is None, trial.row["started_at"]))
    ):
        accuracy = trial.row["validation_accuracy"]
        state = states.get(trial.row["status"], TrialState.FAIL) if accuracy is not None else TrialState.FAIL
        tests = {f"accuracy_scaled@{length}": score for length, score in trial.tests.items()}
        yield FrozenTrial(
            number=number,
            trial_id=-1,  # the storage gives it one
            state=state,
            value=None if state is TrialState.FAIL else accuracy,
            datetime_start=trial.row["started_at"],
            datetime_complete=trial.row["finished_at"],
            params=dict(trial.point),
            distributions=space,
            user_attrs=_plain({**trial.facts(), **tests}),
            system_attrs={},
            intermediate_values=trial.lowest_by_step(),
        )


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes without numbers that are not finite, which JSON does not have."""
    return {name: value for name, value in attributes.items() if not isinstance(value, float) or math.isfinite(value)}
