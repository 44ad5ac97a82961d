"""Trials to store: small, whole, and told apart by their numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bilin.models import tier_settings
from bilin.record import Curve, CurvePoint, Environment, LengthResult, TrialResult
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks import task_settings

ENVIRONMENT = Environment(
    host="node7", pid=4711, worker="worker-0", device="cpu", threads=1, cpu="a cpu", python="3.11.7", torch="2.13.0",
    version="0.1.0", commit=None,
)  # fmt: skip

Pair = tuple[TrialSpec, TrialResult]


def cell(tier: str = "full", *, task: str = "modular_addition", m: int = 5, steps: int = 500, **fields: Any) -> Cell:
    task_class: Any = task_settings(task)
    return Cell(
        task=task_class(m=m),
        model=tier_settings(tier)(**fields),
        train=TrainSpec(steps=steps),
        validate=ValidateSpec(),
    )


def pair(
    of: Cell | None = None, *, lr: float = 1e-3, seed: int = 0, accuracy: float = 1.0, curve: int = 2, **result: Any
) -> Pair:
    """A trial and its result; `accuracy` is that of its validation and of every tested length."""
    of = of or cell()
    spec = TrialSpec(cell=of, lr=lr, seed=seed, test=TestSpec(), resources=Resources())
    task: Any = of.task
    values: dict[str, Any] = {
        "status": "done",
        "stop_reason": "solved" if accuracy == 1.0 else "budget",
        "solved": accuracy == 1.0,
        "steps": 250,
        "params": 1000,
        "recurrent_params": 100,
        "validation_accuracy": accuracy,
        "training_loss": 1.0 - accuracy,
        "lengths": tuple(LengthResult(at, round(2048 * accuracy), 2048, task.num_classes) for at in (10, 500)),
        "curve": Curve.of([CurvePoint(250 * step, None, 1 / (step + 1), accuracy) for step in range(curve)]),
        "wall_s": 1.5,
        "started_at": 1_790_000_000.25,
        "finished_at": 1_790_000_001.75,
        "environment": ENVIRONMENT,
    }
    return spec, TrialResult(trial_id=spec.trial_id, **{**values, **result})


def failed(of: Cell | None = None, *, status: str = "failed", lr: float = 1e-3, seed: int = 0, **result: Any) -> Pair:
    """A trial that has no result."""
    values: dict[str, Any] = {
        "stop_reason": "diverged" if status == "diverged" else None,
        "solved": False,
        "validation_accuracy": None,
        "training_loss": None,
        "lengths": (),
        "error": "boom" if status == "failed" else None,
    }
    return pair(of, lr=lr, seed=seed, curve=0, status=status, **{**values, **result})


def seeds(count: int, of: Cell | None = None, *, start: int = 0, **result: Any) -> list[Pair]:
    """The same cell under several seeds."""
    of = of or cell()
    return [pair(of, seed=seed, **result) for seed in range(start, start + count)]


def forget_checksums(sweep: Path) -> None:
    """Have a sweep's manifest say what version 0.1.0 said: nothing of what its files are known by."""
    path = sweep / "manifest.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({name: document[name] for name in ("schema_version", "parts", "next_number")}))


def ids(pairs: Sequence[Pair]) -> set[str]:
    return {result.trial_id for _, result in pairs}
