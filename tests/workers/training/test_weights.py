"""Kept weights: a length tested later gives what it would have given at once, and damaged weights are not used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bilin.errors import InputError
from bilin.fields import fields_of
from bilin.folder import weights_name
from bilin.models import MODELS, tier_settings
from bilin.record import TrialResult, microseconds
from bilin.spec import TrialSpec
from bilin.workers.training.weights import load_model
from bilin.workers.trial import run_trial
from tests.models.variants import SMALL, VARIANTS

Make = Callable[..., TrialSpec]

SHORT = {"steps": 2, "stop_when_solved": False}
"""Accuracies stay far from 0 and 1, so that other sequences or other weights show."""


@pytest.fixture
def kept(make: Make, tmp_path: Path) -> Callable[..., TrialSpec]:
    """Train a trial, and return its spec, which asks for a test of the weights at length 25."""

    def train(**blocks: object) -> TrialSpec:
        spec = make(**{"train": SHORT, **blocks})
        spec = dataclasses.replace(spec, weights=tmp_path / "weights")
        result = run_trial(spec)
        assert result.note is None
        test = dataclasses.replace(spec.test, lengths=(*spec.test.lengths, 25))
        kept = tmp_path / "weights" / weights_name((spec.trial_id, microseconds(result.started_at)))
        return dataclasses.replace(spec, test=test, kept=kept, test_only=(25,))

    return train


def file_of(spec: TrialSpec) -> Path:
    assert spec.kept is not None
    return spec.kept


def is_trained_again(spec: TrialSpec, *, because: str) -> bool:
    result: TrialResult = run_trial(spec)
    lengths = [length.length for length in result.lengths]
    return because in (result.note or "") and not result.is_test and lengths == list(spec.test.lengths)


@pytest.mark.parametrize("tier", MODELS)
def test_a_length_tested_later_gives_what_it_would_have_given_at_once(make: Make, kept: Make, tier: str) -> None:
    small = {name: value for name, value in SMALL.items() if name in fields_of(tier_settings(tier))}
    blocks = {"tier": tier, "model": {**small, **VARIANTS[tier][-1]}, "train": SHORT}
    later = run_trial(kept(**blocks))
    at_once = run_trial(make(**blocks, test={"lengths": (10, 25, 30)}))
    assert later.is_test
    assert later.status == "done"
    assert later.lengths == tuple(length for length in at_once.lengths if length.length == 25)


def test_more_sequences_later_give_what_they_would_have_given_at_once(make: Make, kept: Make) -> None:
    spec = kept()
    more = dataclasses.replace(spec.test, num_sequences=300)
    later = run_trial(dataclasses.replace(spec, test=more, test_only=more.lengths))
    assert later.lengths == run_trial(make(train=SHORT, test={"lengths": (10, 30, 25), "num_sequences": 300})).lengths


def test_a_trial_without_a_file_keeps_no_weights(make: Make, tmp_path: Path) -> None:
    run_trial(make(train=SHORT))
    assert not list(tmp_path.iterdir())


def test_a_trial_that_diverges_keeps_no_weights(make: Make, tmp_path: Path) -> None:
    spec = dataclasses.replace(make(lr=1e30, tier="full", train={"normalize": "none"}), weights=tmp_path / "a")
    assert run_trial(spec).status == "diverged"
    assert not (tmp_path / "a").exists()


def test_missing_weights_are_trained_again_and_kept(kept: Make) -> None:
    spec = kept()
    before = load_file(file_of(spec))
    file_of(spec).unlink()
    assert is_trained_again(spec, because="there is no file")
    (again,) = file_of(spec).parent.iterdir()
    after = load_file(again)
    assert again != file_of(spec), "the row of the new training has not been stored"
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("at", [0, 20, 0.5, -1])
def test_damaged_weights_are_trained_again(kept: Make, at: float) -> None:
    spec = kept()
    content = bytearray(file_of(spec).read_bytes())
    content[int(at * len(content)) if at == 0.5 else int(at)] ^= 0xFF
    file_of(spec).write_bytes(content)
    assert is_trained_again(spec, because="its kept weights cannot be used")


def test_truncated_weights_are_trained_again(kept: Make) -> None:
    spec = kept()
    file_of(spec).write_bytes(file_of(spec).read_bytes()[:-5])
    assert is_trained_again(spec, because="damaged")


@pytest.mark.parametrize("name", ["trial_id", "tier_package", "task_package"])
def test_weights_of_another_trial_or_package_are_not_used(kept: Make, name: str) -> None:
    spec = kept()
    with safe_open(file_of(spec), framework="pt") as file:
        metadata = {**file.metadata(), name: "other 0.1"}
    save_file(load_file(file_of(spec)), file_of(spec), metadata)
    assert is_trained_again(spec, because=f"{name} is 'other 0.1'")


def test_weights_of_another_shape_are_not_used(kept: Make) -> None:
    spec = kept()
    with safe_open(file_of(spec), framework="pt") as file:
        metadata = file.metadata()
    wider = dataclasses.replace(spec.cell.model, hidden=32)  # type: ignore[type-var]
    other = kept(model={"hidden": 32})
    with safe_open(file_of(other), framework="pt") as file:
        checksum = file.metadata()["checksum"]
    assert other.cell.model == wider
    save_file(load_file(file_of(other)), file_of(spec), {**metadata, "checksum": checksum})
    assert is_trained_again(spec, because="size mismatch")


def test_weights_that_cannot_be_written_do_not_fail_the_trial(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights").write_text("in the way")
    result = run_trial(dataclasses.replace(make(train=SHORT), weights=tmp_path / "weights"))
    assert result.status == "done"
    assert "weights not kept" in capsys.readouterr().err


@pytest.mark.parametrize(("tier", "fields"), [("cp", {"rank": 4}), ("deltanet", {"start_token": True})])
def test_a_model_is_loaded_from_the_file_alone(kept: Make, tier: str, fields: dict[str, object]) -> None:
    spec = kept(tier=tier, model=fields)
    model = load_model(file_of(spec))
    assert not model.training
    assert model.state_dict().keys() == load_file(file_of(spec)).keys()
    assert model(torch.tensor([[0, 1, 1]]), torch.tensor([3])).shape == (1, 2)


def test_a_file_that_holds_no_trial_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    for name in ("a.safetensors", "none.safetensors"):
        with pytest.raises(InputError, match="no weights of a trial"):
            load_model(tmp_path / name)
