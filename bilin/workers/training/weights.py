"""Final weights of trials, as safetensors files: written when a trial ends, tested again later, and handed out.

The metadata of a file says which trial it is of and what made it, and has a checksum of the weights. A file with
another trial, other versions of the packages of the task and tier, other shapes or another checksum is not used.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bilin.errors import InputError, one_line
from bilin.fields import fields_of
from bilin.folder import partial_of, weights_name
from bilin.models import tier_settings
from bilin.record import microseconds
from bilin.registry import package_of
from bilin.spec import Cell, TrialSpec, derive_seed, describe
from bilin.tasks import task_settings
from bilin.version import __version__

if TYPE_CHECKING:
    import torch

    from bilin.models.module import SequenceModel
    from bilin.tasks.task import Task

    State = Mapping[str, torch.Tensor]


class UnusableWeightsError(Exception):
    """Kept weights are missing, damaged, or not those of the trial; the text says which."""


def write_weights(spec: TrialSpec, model: SequenceModel, *, started_at: float) -> None:
    """Write the weights of a training, which started then, if they are kept.

    Each training has a file of its own: weights of an earlier one stay with its row until a new row replaces that.
    A fault is printed: the trial has its result.
    """
    if spec.weights is None:
        return
    from safetensors.torch import save

    path = spec.weights / weights_name((spec.trial_id, microseconds(started_at)))
    beside = partial_of(path, unique=True)
    try:
        state = {name: weight.detach().cpu().contiguous().clone() for name, weight in model.state_dict().items()}
        content = save(state, {**_made_by(spec), "checksum": _checksum(state)})
        spec.weights.mkdir(exist_ok=True)
        beside.write_bytes(content)  # not synced: a crash costs the weights, which the checksum notices
        beside.replace(path)
    except Exception as error:  # a full disk, or a state of another package that holds no tensors
        print(f"weights not kept: {one_line(error)}", file=sys.stderr)
    finally:
        with suppress(OSError):
            beside.unlink()


def restore_weights(spec: TrialSpec, model: SequenceModel) -> None:
    """Give a model the kept weights of its trial.

    Raises:
        UnusableWeightsError: They cannot be used.
    """
    if spec.kept is None:
        raise UnusableWeightsError("none are kept")
    metadata, state = _read(spec.kept)
    for name, value in _made_by(spec).items():
        if name in ("trial_id", "task_package", "tier_package") and metadata.get(name) != value:
            raise UnusableWeightsError(f"{name} is {metadata.get(name)!r}, expected {value!r}")
    _load(model, state)


def load_trial(path: Path | str) -> tuple[Task, SequenceModel]:
    """Return the task of a trial, and its model; see `load_model`."""
    import torch

    try:
        metadata, state = _read(Path(path))
        blocks = json.loads(metadata["cell"])
        task: Task = _settings(task_settings(blocks["task"].pop("name")), blocks["task"])
        tier = _settings(tier_settings(blocks["model"].pop("tier")), blocks["model"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(metadata["init_seed"]))
            model: SequenceModel = tier.build(vocab_size=task.vocab_size, num_classes=task.num_classes)
        model.normalize = blocks["train"]["normalize"]
        _load(model, state)
    except (UnusableWeightsError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no weights of a trial that can be loaded here: {one_line(error)}") from error
    model.eval()
    return task, model


def load_model(path: Path | str) -> SequenceModel:
    """Return the model of a trial with its final weights, on the CPU and in evaluation mode.

    Call it with tokens of shape (sequences, time) and the number of tokens in each sequence; see
    `bilin.models.module.SequenceModel`.

    Args:
        path: A file that ``bilin results weights`` wrote, or one in the folder ``weights`` of a sweep.

    Raises:
        InputError: The file is missing, damaged or not one of bilin, or its task or tier is not installed.
    """
    return load_trial(path)[1]


def _made_by(spec: TrialSpec) -> dict[str, str]:
    cell = spec.cell
    return {
        "trial_id": spec.trial_id,
        "cell": json.dumps(describe(cell)),
        "lr": repr(spec.lr),
        "seed": str(spec.seed),
        "init_seed": str(init_seed(cell, spec.seed)),
        "task_package": package_of(type(cell.task)) or "",
        "tier_package": package_of(type(cell.model)) or "",
        "bilin": __version__,
        "torch": _version_of_torch(),
    }


def init_seed(cell: Cell, seed: int) -> int:
    """Return the seed from which the initial weights of a trial are drawn."""
    return derive_seed(cell.cell_id, seed, "init")


def _version_of_torch() -> str:
    import torch

    return str(torch.__version__)


def _checksum(state: State) -> str:
    import torch

    checksum = 0
    for name in sorted(state):
        checksum = zlib.crc32(state[name].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"


def _read(path: Path) -> tuple[Mapping[str, str], State]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UnusableWeightsError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, SafetensorError) as error:
        raise UnusableWeightsError(f"{path} is damaged or not readable: {one_line(error)}") from error
    if metadata.get("checksum") != _checksum(state):
        raise UnusableWeightsError(f"{path} is damaged: its checksum differs")
    return metadata, state


def _load(model: SequenceModel, state: State) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # other names or shapes
        raise UnusableWeightsError(one_line(error)) from error


def _settings(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Return settings from what `bilin.spec.describe` wrote as JSON."""
    fields = fields_of(kind)
    return kind(**{name: fields[name].convert(value) for name, value in values.items()})
