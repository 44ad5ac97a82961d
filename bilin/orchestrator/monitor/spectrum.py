"""The spectrum of a kept trial."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bilin.folder import DEFAULT_STORE, WEIGHTS_SUFFIX
from bilin.orchestrator.monitor.trial import find_trial
from bilin.results import ResultTable, copy_weights, spectrum_table
from bilin.workers import spectrum as eigenvalues


def spectrum(trial_id: str, *, store: Path | str = DEFAULT_STORE, sweep: str | None = None) -> ResultTable:
    """Return the eigenvalues of the matrix of each token of a kept trial, beside those of an exact solution.

    There is an exact solution if the task is a finite state machine: it maps each state to the next one.

    Raises:
        StoreError: No trial, or more than one, has such an id, or its weights are not kept.
        InputError: The tier is not bilinear, or the weights cannot be loaded here.
    """
    row = find_trial(trial_id, store=store, sweep=sweep)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / f"kept{WEIGHTS_SUFFIX}"
        copy_weights(store, row["sweep"], row["trial_id"], weights)
        found = eigenvalues(weights)
    return spectrum_table([(one.token, one.is_exact, one.value) for one in found])
