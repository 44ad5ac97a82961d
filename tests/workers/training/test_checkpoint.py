"""A trial that is taken up from where it was kept ends as one that was never interrupted."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from bilin.folder import SweepFolder
from bilin.record import TrialResult
from bilin.spec import TrialSpec
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.trial import run_trial

VARYING: dict[str, Any] = {"wall_s": 0.0, "test_s": None, "started_at": 0.0, "finished_at": 0.0}
ALWAYS, NEVER = 0.0, 1e9


class Ends(BaseException):
    """Ends a trial, as the death of its worker would."""


def ends_at(step: int, spec: TrialSpec, checkpoints: Checkpoints) -> None:
    """Run a trial until it reports a step of at least `step`."""

    def report(progress):
        if progress.step >= step:
            raise Ends

    with pytest.raises(Ends):
        run_trial(spec, report=report, checkpoints=checkpoints)


def first_report(spec: TrialSpec, checkpoints: Checkpoints) -> int:
    """The step that a trial reports first: after its first evaluation."""
    reports = []
    run_trial(spec, report=reports.append, checkpoints=checkpoints)
    return reports[0].step


def keep(path: Path, values: object) -> None:
    """Write what looks whole."""
    content = io.BytesIO()
    content.write(bytes(8))
    torch.save(values, content)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.crc32(content.getvalue()).to_bytes(4) + content.getvalue())


def measured(result: TrialResult) -> TrialResult:
    return dataclasses.replace(result, **VARYING)


@pytest.fixture
def short(make):
    """A trial of 30 steps, evaluated after 10, 20 and 30."""
    return make(tier="positive_diagonal", train={"steps": 30}, validate={"every": 10})


@pytest.mark.parametrize(
    "blocks",
    [
        {"tier": "real_diagonal", "train": {"steps": 200}},
        {"tier": "lstm", "train": {"steps": 40, "optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 1.0}},
        {"tier": "real_diagonal", "model": {"freeze": "recurrent"}, "train": {"steps": 40, "examples": 8}},
        {"tier": "fixed_point", "model": {"iterations": "gamma", "evaluation_iterations": 4}, "train": {"steps": 40}},
    ],
    ids=["ends when solved", "adamw", "frozen, few examples", "draws of its own"],
)
def test_the_result_is_that_of_an_undisturbed_trial_to_the_last_bit(tmp_path, make, blocks):
    spec = make(**blocks, validate={"every": 10})
    for step in (10, 20):
        ends_at(step, spec, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    assert measured(run_trial(spec, checkpoints=Checkpoints(SweepFolder(tmp_path), NEVER))) == measured(run_trial(spec))


def test_it_goes_on_where_it_was_kept(tmp_path, short):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))  # kept before each step: the last time at 19
    assert first_report(short, Checkpoints(SweepFolder(tmp_path), NEVER)) >= 20


def test_what_a_module_draws_goes_on_too(tmp_path, short):
    def drawn(checkpoints: Checkpoints, *, until: int = 1000) -> dict[int, float]:
        seen: dict[int, float] = {}

        def report(progress):
            if progress.step in (10, 20, 30) and progress.step not in seen:
                seen[progress.step] = torch.rand(()).item()  # as dropout would
            if progress.step >= until:
                raise Ends

        with suppress(Ends):
            run_trial(short, report=report, checkpoints=checkpoints)
        return seen

    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = drawn(Checkpoints(SweepFolder(tmp_path / "whole"), NEVER))
    torch.rand(5)
    cut = drawn(Checkpoints(SweepFolder(tmp_path / "cut"), ALWAYS), until=20)
    rest = drawn(Checkpoints(SweepFolder(tmp_path / "cut"), NEVER))
    assert len(whole) == 3
    assert cut | rest == whole
    assert 10 not in rest


def test_the_seconds_before_count_as_its_own(tmp_path, short):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    first, again = (run_trial(short, checkpoints=Checkpoints(SweepFolder(tmp_path), NEVER)) for _ in range(2))
    assert first.started_at == again.started_at < first.finished_at - first.wall_s + 1e-3


def test_it_is_kept_when_asked_though_its_time_has_not_come(tmp_path, make):
    checkpoints, answers = Checkpoints(SweepFolder(tmp_path), NEVER), []
    spec = make(tier="positive_diagonal", train={"steps": 10**9})
    ask = threading.Thread(target=lambda: answers.append(checkpoints.ask(60.0)))

    def report(progress):
        if ask.ident is None:
            ask.start()
        if answers:
            raise Ends

    with pytest.raises(Ends):
        run_trial(spec, report=report, checkpoints=checkpoints)
    assert answers == [True]
    assert SweepFolder(tmp_path).checkpoint(spec.trial_id).exists()


def test_nobody_is_kept_waiting_where_no_trial_runs(tmp_path):
    assert not Checkpoints(SweepFolder(tmp_path), NEVER).ask(0.01)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-7], lambda content: content[:99] + b"x" + content[100:], lambda _: bytes(4)],
    ids=["cut", "flipped", "with the checksum of nothing"],
)
def test_a_damaged_one_counts_as_none(tmp_path, short, damage):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    path = SweepFolder(tmp_path).checkpoint(short.trial_id)
    path.write_bytes(damage(path.read_bytes()))
    assert first_report(short, Checkpoints(SweepFolder(tmp_path), NEVER)) <= 10


@pytest.mark.parametrize("in_the_way", ["folder", "file"])
def test_where_nothing_can_be_kept_a_trial_runs_to_its_end(tmp_path, short, in_the_way, capsys):
    folder = tmp_path / "checkpoints"
    (folder / short.trial_id / "of" if in_the_way == "folder" else folder).mkdir(parents=True)
    if in_the_way == "file":
        folder.rmdir()
        folder.write_text("")
    checkpoints = Checkpoints(SweepFolder(tmp_path), ALWAYS)
    assert measured(run_trial(short, checkpoints=checkpoints)) == measured(run_trial(short))
    assert "checkpoint not written at step 10: " in capsys.readouterr().err
    checkpoints.drop([short.trial_id])


def test_one_that_cannot_be_replaced_stays(tmp_path, short, monkeypatch):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))

    def fails(path, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bilin.workers.training.checkpoint._write", fails)
    ends_at(30, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    assert first_report(short, Checkpoints(SweepFolder(tmp_path), NEVER)) == 20


def test_one_made_with_other_threads_counts_as_none(tmp_path, short):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    other = dataclasses.replace(short, resources=dataclasses.replace(short.resources, threads=2))
    assert first_report(other, Checkpoints(SweepFolder(tmp_path), NEVER)) <= 10


def test_one_of_another_version_counts_as_none(tmp_path, short, monkeypatch):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    monkeypatch.setattr("bilin.workers.training.checkpoint.__version__", "0.0.1")
    assert first_report(short, Checkpoints(SweepFolder(tmp_path), NEVER)) <= 10


@pytest.mark.parametrize(
    "changed",
    [
        lambda kept: {**kept, "made_by": {**kept["made_by"], "shapes": {}}},
        lambda kept: {**kept, "made_by": 1},
        lambda kept: [1],
    ],
)
def test_one_with_other_weights_or_of_another_form_counts_as_none(tmp_path, short, changed):
    ends_at(20, short, Checkpoints(SweepFolder(tmp_path), ALWAYS))
    path = SweepFolder(tmp_path).checkpoint(short.trial_id)
    keep(path, changed(torch.load(io.BytesIO(path.read_bytes()[12:]), weights_only=True)))
    assert first_report(short, Checkpoints(SweepFolder(tmp_path), NEVER)) <= 10


def test_nothing_in_it_is_executed(tmp_path, short):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    keep(SweepFolder(tmp_path).checkpoint(short.trial_id), Bomb())
    assert first_report(short, Checkpoints(SweepFolder(tmp_path), NEVER)) <= 10
    assert not (tmp_path / "executed").exists()


def test_the_step_of_one_is_known_without_loading_it(tmp_path, short):
    checkpoints = Checkpoints(SweepFolder(tmp_path), ALWAYS)
    assert checkpoints.latest(short.trial_id) is None
    ends_at(20, short, checkpoints)
    kept = checkpoints.latest(short.trial_id)
    assert 10 <= kept.step <= 20
    assert abs(kept.at - time.time()) < 600
