from __future__ import annotations

import subprocess
import sys

from bilin.errors import InputError, SweepRunningError
from bilin.results import SweepWriter, stored


def test_trials_are_removed(bilin, store):
    result = bilin("delete", "--where", "status = 'failed'", "--yes")
    assert (result.exit_code, result.stdout) == (0, "sweep: 1 trial removed\n")
    assert {trial.status for trial in stored(store, "sweep").values()} == {"done"}


def test_a_dry_run_shows_them_and_changes_nothing(bilin, store):
    result = bilin("delete", "--where", "tier = 'cp'", "--dry-run")
    assert "cp" in result.stdout
    assert result.stderr == "1 trial would be removed\n"
    assert len(stored(store, "sweep")) == 3


def test_nothing_to_remove_is_said(bilin):
    assert (
        bilin("delete", "--where", "m = 999", "--yes").stdout == "no trial meets the condition; nothing was removed\n"
    )


def test_a_running_sweep_is_left_alone(bilin, store):
    with SweepWriter(store, "sweep"):
        result = bilin("delete", "--where", "true", "--yes")
    assert isinstance(result.exception, SweepRunningError)
    assert len(stored(store, "sweep")) == 3


def test_without_a_terminal_nothing_is_removed_unless_yes_is_given(bilin, store):
    result = bilin("delete", "--where", "true")
    assert isinstance(result.exception, InputError)
    assert len(stored(store, "sweep")) == 3


def test_a_closed_standard_input_is_no_terminal(store):
    command = f"{sys.executable} -m bilin results delete --where true --store {store} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("bilin: there is no terminal to ask for confirmation")


def test_a_condition_must_be_given(bilin):
    assert bilin("delete").exit_code == 2
