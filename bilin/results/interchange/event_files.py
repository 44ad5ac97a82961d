"""Event files of TensorBoard: a folder for each trial, with its curves, its tests and its hyperparameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bilin.errors import InputError
from bilin.folder import DEFAULT_STORE, partial_of
from bilin.record import MIXED_LENGTHS
from bilin.results.interchange.trials import ExportedTrial, read_trials
from bilin.results.scratch import scratch

_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+")

_LONGEST_NAME = 150


def export_tensorboard(
    folder: Path,
    store: Path | str = DEFAULT_STORE,
    *,
    sweep: str | None = None,
    where: str | None = None,
    everything: bool = False,
) -> int:
    """Write trials to event files, which ``tensorboard --logdir`` shows.

    Each trial is a run: ``SWEEP/TASK/MODEL/lr=…,seed=…``. Its scalars are ``loss/…`` and ``accuracy/…`` by step, of the
    training lengths, of each validation length and of mixed lengths, and at the last step ``test/length_…``, the
    scaled accuracy at each tested length. Its fields and its validation accuracy are in the tab of hyperparameters.

    Args:
        folder: Where to write; it must be empty or not exist.
        store: Directory of the store.
        sweep: The sweep to look at; None looks at all.
        where: A condition in SQL on trials.
        everything: Include rows that the grid of the last launch does not ask for.

    Returns:
        The number of trials.

    Raises:
        InputError: tensorboardX is not installed, or the folder cannot be written or has files.
        QueryError: The condition is not valid, or no trial meets it.
        StoreError: The store or sweep does not exist, or cannot be read.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise InputError(f"event files need tensorboardX: pip install 'bilin[tensorboard]' ({error})") from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = f"files in {folder}" if folder.is_dir() else f"the file {folder}"
        raise InputError(f"found {found}; accepted: a folder that is empty or does not exist")
    trials = read_trials(store, sweep=sweep, where=where, everything=everything)
    with scratch(partial_of(folder.resolve(), unique=True)) as partial:
        try:
            for trial in trials:
                _write(trial, partial / _place(trial))
            partial.replace(folder.resolve())
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return len(trials)


def _place(trial: ExportedTrial) -> Path:
    point = ",".join(f"{name}={value:g}" for name, value in trial.point.items())
    parts = (trial.row["sweep"], trial.task, trial.model, f"{point},seed={trial.row['seed']}")
    return Path(*(_safe(part, trial.row["cell_id"]) for part in parts))


def _safe(name: str, cell_id: str) -> str:
    """Return a name for a folder; one that is cut has the id of the cell."""
    safe = _UNSAFE.sub("_", name).strip("_")
    return safe if len(safe) <= _LONGEST_NAME else f"{safe[:_LONGEST_NAME]}_{cell_id}"


def _write(trial: ExportedTrial, folder: Path) -> None:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import hparams

    folder.mkdir(parents=True, exist_ok=True)
    finished = trial.row["finished_at"]
    time_s = finished.timestamp() if finished else 0.0
    writer = EventsWriter(str(folder / "events"))
    score = (
        {} if trial.row["validation_accuracy"] is None else {"validation_accuracy": trial.row["validation_accuracy"]}
    )
    settings = {
        name: _setting(value) for name, value in {**trial.cell, **trial.point, "seed": trial.row["seed"]}.items()
    }
    for summary in hparams(settings, score):
        writer.write_event(Event(wall_time=time_s, summary=summary))
    for tag, step, value in [*_scalars(trial), *((name, trial.row["steps"], value) for name, value in score.items())]:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.write_event(Event(wall_time=time_s, step=step, summary=summary))
    writer.flush()
    writer.close()


_NAMES = {None: "train", MIXED_LENGTHS: "mixed_lengths"}


def _scalars(trial: ExportedTrial) -> Iterator[tuple[str, int, float]]:
    for point in trial.curve:
        where = _NAMES.get(point["length"], f"length_{point['length']}")
        for name in ("loss", "accuracy"):
            yield f"{name}/{where}", point["step"], point[name]
    for length, score in trial.tests.items():
        yield f"test/length_{length}", trial.row["steps"], score


def _setting(value: Any) -> Any:
    """Return a value of a field as TensorBoard takes it."""
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value
