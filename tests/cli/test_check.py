"""`bilin models check`: the contract of a tier, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweeps import bilin, finish

FAULTY = """
from dataclasses import dataclass
from typing import ClassVar

import torch
from bilin.fields import option
from bilin.models import Tier
from bilin.models.module import SequenceModel

class Mean(SequenceModel):
    def __init__(self, tier, vocab_size, num_classes):
        super().__init__()
        self.peek = tier.peek
        self.embedding = torch.nn.Parameter(torch.randn(vocab_size, tier.hidden))
        self.readout = torch.nn.Linear(tier.hidden, num_classes)

    def advance(self, tokens, state=None):
        x = self.embedding[tokens]
        total, count = (torch.zeros_like(x[:, :1]), 0) if state is None else state
        counts = count + torch.arange(1, x.shape[1] + 1)
        sums = total + x.cumsum(1)
        end = sums[:, -1:], count + x.shape[1]
        return (x.mean(1, keepdim=True).expand_as(x) if self.peek else sums / counts[:, None]), end

@dataclass(frozen=True, slots=True, kw_only=True)
class Peeking(Tier):
    tier: ClassVar[str] = "peeking"
    peek: bool = option(True, doc="whether it sees later tokens")

    def build(self, *, vocab_size, num_classes):
        return Mean(self, vocab_size, num_classes)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a tier, and a current folder that must not matter."""
    (tmp_path / "peeking.py").write_text(FAULTY)
    info = tmp_path / "peeking-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: peeking\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bilin.models]\npeeking = peeking:Peeking\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "here" / "conftest.py").write_text("raise RuntimeError\n")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_a_tier_that_keeps_the_contract(package: Path) -> None:
    code, out, err = finish(bilin("models", "check", "peeking", "--set", "peek=false"))
    assert (code, err) == (0, "")
    assert "ok       logits do not depend on later tokens" in out.splitlines()
    assert "skipped  normalizing each step keeps values and gradients: the tier is not scale-invariant" in out
    assert out.endswith("peeking: 17 of 17 checks hold\n")


def test_a_tier_that_does_not(package: Path) -> None:
    code, out, err = finish(bilin("models", "check", "peeking", "--set", "peek=[true, false]"))
    assert (code, err) == (1, "")
    lines = out.splitlines()
    at = lines.index("FAILED   logits do not depend on later tokens")
    assert "peeking-hidden=8" in lines[at + 1]
    assert "AssertionError" in lines[at + 2]
    assert "peek=False" not in lines[at + 1]
    assert "of 17 checks hold" in lines[-1]


def test_a_tier_whose_module_raises_has_the_line_that_does(package: Path) -> None:
    text = FAULTY.replace("        total, count =", "        raise RuntimeError('no luck')\n        total, count =")
    (package / "peeking.py").write_text(text)
    code, out, _ = finish(bilin("models", "check", "peeking"))
    line = 1 + text.splitlines().index("        raise RuntimeError('no luck')")
    assert code == 1
    assert f"at {package / 'peeking.py'}:{line}" in out
    assert "RuntimeError: no luck" in out


def test_a_tier_that_ends_the_process_does_not_pass(package: Path) -> None:
    (package / "peeking.py").write_text(
        FAULTY.replace("        return Mean", "        __import__('os')._exit(0)\n        return Mean")
    )
    code, out, _ = finish(bilin("models", "check", "peeking"))
    assert code == 1
    assert out.endswith("FAILED   peeking ended the process of the checks, with exit code 0\n")


def test_wrong_input(package: Path) -> None:
    code, out, err = finish(bilin("models", "check", "peking"))
    assert (code, out) == (2, "")
    assert "did you mean peeking?" in err
    code, _, err = finish(bilin("models", "check", "cp"))
    assert code == 2
    assert "rank: missing; accepted: a whole number" in err
    (package / "peeking.py").write_text("raise RuntimeError('no luck')")
    code, _, err = finish(bilin("models", "check", "peeking"))
    assert code == 2
    assert "RuntimeError: no luck" in err


def test_a_field_that_is_missing_is_given_with_an_option() -> None:
    code, out, err = finish(bilin("models", "check", "cp"))
    assert (code, out) == (2, "")
    assert err.endswith("  give what is missing: bilin models check cp --set rank=VALUE\n")
