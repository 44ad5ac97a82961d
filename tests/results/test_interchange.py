"""Exports, read back by the tools that they are for."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.errors import InputError, QueryError
from bilin.record import MIXED_LENGTHS, Curve, CurvePoint
from bilin.results import SweepWriter, export_optuna, export_tensorboard, query
from tests.results.samples import cell, failed, pair

CURVE = (
    CurvePoint(100, None, 0.5, 0.75),
    CurvePoint(200, None, 0.1, 1.0),
    CurvePoint(200, 50, 0.2, 0.875),
    CurvePoint(200, MIXED_LENGTHS, 0.15, 0.9375),
)


@pytest.fixture
def store(tmp_path):
    """Two cells; in the first, two rates, of which one has a seed that diverged."""
    store = tmp_path / "store"
    with SweepWriter(store, "sweep") as writer:
        spec, result = pair(lr=1e-3, accuracy=0.875, steps=200)
        writer.append([(spec, dataclasses.replace(result, curve=Curve.of(CURVE)))])
        writer.append([pair(lr=1e-2, accuracy=0.5), failed(lr=1e-2, seed=1, status="diverged")])
        writer.append([pair(cell("cp", m=2, rank=8))])
    return store


def studies(path: Path) -> dict[str, optuna.Study]:
    storage = JournalStorage(JournalFileBackend(str(path)))
    names = optuna.get_all_study_names(storage)
    return {name.partition(" (")[0]: optuna.load_study(study_name=name, storage=storage) for name in names}


def test_optuna_loads_a_study_for_each_cell(store, tmp_path):
    assert export_optuna(tmp_path / "journal.log", store) == 2
    found = studies(tmp_path / "journal.log")
    assert list(found) == ["sweep: modular_addition m=2, cp rank=8", "sweep: modular_addition m=5, full"]
    study = found["sweep: modular_addition m=5, full"]
    (first, *_) = query(store=store, view="trials", where="m = 5", sort="lr").to_pylist()
    assert study.user_attrs["cell_id"] == first["cell_id"]
    assert (study.user_attrs["m"], study.user_attrs["train_lengths"]) == (5, [2, 10])
    assert "rank" not in study.user_attrs
    assert study.metric_names == ["validation_accuracy"]
    assert study.best_params == {"lr": 1e-3}
    assert study.best_value == 0.875
    best = study.best_trial
    assert best.intermediate_values == {100: 0.75, 200: 0.875}
    assert best.datetime_start == first["started_at"]
    assert best.user_attrs["trial_id"] == first["trial_id"]
    assert (best.user_attrs["seed"], best.user_attrs["accuracy_scaled@500"]) == (0, pytest.approx((0.875 - 0.2) / 0.8))


def test_optuna_gets_a_failed_trial_as_failed(store, tmp_path):
    export_optuna(tmp_path / "journal.log", store, where="m = 5")
    (study,) = studies(tmp_path / "journal.log").values()
    states = [(trial.params["lr"], trial.user_attrs["seed"], trial.state) for trial in study.trials]
    assert sorted(states) == [
        (1e-3, 0, TrialState.COMPLETE), (1e-2, 0, TrialState.COMPLETE), (1e-2, 1, TrialState.FAIL)
    ]  # fmt: skip
    (lost,) = study.get_trials(states=[TrialState.FAIL])
    assert (lost.value, lost.user_attrs["status"]) == (None, "diverged")
    assert lost.distributions["lr"] == optuna.distributions.FloatDistribution(1e-3, 1e-2, log=True)


def test_optuna_gets_a_pruned_trial_as_pruned(tmp_path):
    with SweepWriter(tmp_path / "store", "sweep") as writer:
        writer.append([pair(), pair(lr=1e-2, accuracy=0.25, status="pruned", stop_reason="rung", lengths=())])
    export_optuna(tmp_path / "journal.log", tmp_path / "store")
    (study,) = studies(tmp_path / "journal.log").values()
    (pruned,) = study.get_trials(states=[TrialState.PRUNED])
    assert (pruned.value, pruned.params) == (0.25, {"lr": 1e-2})


def test_a_searched_field_is_a_parameter_of_optuna(tmp_path):
    of: Any = dataclasses.replace(cell(), searched=("init_scale",))
    with SweepWriter(tmp_path / "store", "sweep") as writer:
        for scale in (0.5, 2.0):
            model = dataclasses.replace(of.model, init_scale=scale)
            writer.append([pair(dataclasses.replace(of, model=model))])
    export_optuna(tmp_path / "journal.log", tmp_path / "store")
    (study,) = studies(tmp_path / "journal.log").values()
    assert sorted(trial.params["init_scale"] for trial in study.trials) == [0.5, 2.0]
    assert "init_scale" not in study.user_attrs


def test_a_journal_is_replaced(store, tmp_path):
    for _ in range(2):
        export_optuna(tmp_path / "journal.log", store)
    assert len(studies(tmp_path / "journal.log")) == 2


def events(folder: Path) -> list[Event]:
    """The events of a run, each with its checksum verified."""
    (file,) = folder.glob("*tfevents*")
    content, found, at = file.read_bytes(), [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        record = content[at + 12 : at + 12 + length]
        crc = crc32c(record)
        assert struct.unpack_from("<I", content, at + 12 + length) == (
            (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32,
        )
        found.append(Event.FromString(record))
        at += 16 + length
    return found


def test_tensorboard_has_a_run_for_each_trial(store, tmp_path):
    assert export_tensorboard(tmp_path / "runs", store) == 4
    folders = sorted(
        str(path.parent.relative_to(tmp_path / "runs")) for path in (tmp_path / "runs").rglob("*tfevents*")
    )
    assert folders == [
        "sweep/modular_addition_m=2/cp_rank=8/lr=0.001,seed=0",
        "sweep/modular_addition_m=5/full/lr=0.001,seed=0",
        "sweep/modular_addition_m=5/full/lr=0.01,seed=0",
        "sweep/modular_addition_m=5/full/lr=0.01,seed=1",
    ]
    found = events(tmp_path / "runs" / folders[1])
    scalars = {
        (value.tag, event.step): value.simple_value
        for event in found
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    }
    assert scalars == pytest.approx(
        {
            ("loss/train", 100): 0.5, ("accuracy/train", 100): 0.75,
            ("loss/train", 200): 0.1, ("accuracy/train", 200): 1.0,
            ("loss/length_50", 200): 0.2, ("accuracy/length_50", 200): 0.875,
            ("loss/mixed_lengths", 200): 0.15, ("accuracy/mixed_lengths", 200): 0.9375,
            ("test/length_10", 200): 0.84375, ("test/length_500", 200): 0.84375,
            ("validation_accuracy", 200): 0.875,
        },
        rel=1e-6,
    )  # fmt: skip
    plugins = [value.metadata.plugin_data for event in found for value in event.summary.value]
    data = [HParamsPluginData.FromString(plugin.content) for plugin in plugins if plugin.plugin_name == "hparams"]
    (settings,) = [each.session_start_info.hparams for each in data if each.HasField("session_start_info")]
    assert (settings["m"].number_value, settings["lr"].number_value, settings["seed"].number_value) == (5, 1e-3, 0)
    assert settings["train_lengths"].string_value == "2, 10"
    assert "rank" not in settings


def test_event_files_are_not_mixed_with_others(store, tmp_path):
    (tmp_path / "runs").mkdir()
    export_tensorboard(tmp_path / "runs", store, where="m = 2")
    with pytest.raises(InputError, match="accepted: a folder that is empty or does not exist"):
        export_tensorboard(tmp_path / "runs", store)


def test_a_folder_for_event_files_that_is_a_file_is_named_as_one(store, tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(InputError, match=r"found the file .*; accepted: a folder that is empty"):
        export_tensorboard(tmp_path / "runs", store)


@pytest.mark.parametrize("export", [export_optuna, export_tensorboard])
def test_what_cannot_be_written_to_the_end_leaves_nothing(store, tmp_path, export):
    code = (
        "import resource, sys, pathlib; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "from bilin import errors, results\n"
        f"try: results.{export.__name__}(pathlib.Path(sys.argv[2]), sys.argv[1])\n"
        "except errors.InputError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(store), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path / 'out'} cannot be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("export", [export_optuna, export_tensorboard])
def test_nothing_to_export_is_said_and_leaves_nothing(store, tmp_path, export):
    with pytest.raises(QueryError, match="nothing to export: no trial meets 'm = 77'; `bilin results query"):
        export(tmp_path / "out", store, where="m = 77")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_without_tensorboardx_the_export_says_how_to_get_it(store, tmp_path):
    code = (
        "import sys, pathlib; sys.modules['tensorboardX'] = None\n"
        "from bilin import errors, results\n"
        "try: results.export_tensorboard(pathlib.Path(sys.argv[2]), sys.argv[1])\n"
        "except errors.InputError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(store), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("event files need tensorboardX: pip install 'bilin[tensorboard]'")


def test_the_commands_say_how_to_look_at_what_they_wrote(store, tmp_path):
    for kind, what in (("optuna", "2 studies; show them with: optuna-dashboard"), ("tensorboard", "4 runs")):
        arguments = ["export", kind, "-o", str(tmp_path / kind), "--store", str(store)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0
        assert what in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize(("command", "extra"), [(["plot"], "plot"), (["export", "tensorboard"], "tensorboard")])
def test_the_help_names_the_extra_that_a_command_needs(command, extra):
    text = CliRunner().invoke(app, [*command, "--help"]).stdout
    assert f"pip install 'bilin[{extra}]'" in " ".join(text.split())
