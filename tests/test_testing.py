"""The contracts in `bilin.testing` find what is wrong with a tier or task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from bilin.fields import option
from bilin.models import Tier
from bilin.models.module import SequenceModel, State
from bilin.tasks import Batch, Task
from bilin.tasks.modular_addition import ModularAddition
from bilin.testing import TaskContract, TierContract


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty(Tier):
    tier: ClassVar[str] = "faulty"

    fault: str = option("none", doc="what is wrong with it")

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        return FaultyModule(self, vocab_size, num_classes)


class FaultyModule(SequenceModel):
    """The mean of the embeddings so far, with one fault."""

    def __init__(self, tier: Faulty, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0) if tier.fault == "seed" else None
        self.fault = tier.fault
        self.embedding = nn.Parameter(torch.randn(vocab_size, tier.hidden, generator=generator))
        self.readout = nn.Linear(tier.hidden, num_classes)
        self.unused = nn.Parameter(torch.zeros(1)) if tier.fault == "unused" else None

    def advance(self, tokens: Tensor, state: State = None) -> tuple[Tensor, State]:
        x = self.embedding[tokens]
        if self.fault == "future":
            return x.mean(1, keepdim=True).expand_as(x), None
        if self.fault == "batch":
            x = x - x.mean(0)
        total, count = (torch.zeros_like(x[:, :1]), 0) if state is None or self.fault == "state" else state
        sums = total + x.cumsum(1)
        counts = count + torch.arange(1, x.shape[1] + 1)
        return sums / counts[:, None], (sums[:, -1:], count + x.shape[1])


TIER_FAULTS: dict[str, Callable[[TierContract, Tier], None]] = {
    "future": TierContract.test_logits_do_not_depend_on_later_tokens,
    "batch": lambda contract, tier: contract.test_a_batch_equals_its_sequences_one_by_one(tier, training=True),
    "state": lambda contract, tier: contract.test_a_carried_state_gives_what_the_whole_sequence_gives(tier, True),
    "seed": TierContract.test_one_seed_builds_one_module,
    "unused": lambda contract, tier: contract.test_every_weight_has_a_finite_gradient_that_is_not_zero(tier, True),
}


@pytest.mark.parametrize("fault", TIER_FAULTS)
def test_a_faulty_tier_fails_and_a_sound_one_passes(fault: str) -> None:
    check = TIER_FAULTS[fault]
    check(TierContract(), Faulty(hidden=4))
    with pytest.raises(AssertionError):
        check(TierContract(), Faulty(hidden=4, fault=fault))


class Spoilt(ModularAddition):
    """Modular addition whose batches are changed by `spoil`."""

    spoil: ClassVar[Callable[[Batch], Batch]]

    def sample(self, lengths: Tensor, generator: torch.Generator) -> Batch:
        return type(self).spoil(ModularAddition.sample(self, lengths, generator))


class SumContract(TaskContract):
    def labels(self, task: Task, tokens: list[int]) -> list[int | None]:
        return [sum(tokens[: time + 1]) % task.num_classes for time in range(len(tokens))]


TASK_FAULTS: dict[Callable[[Batch], Batch], Callable[[SumContract, Task], None]] = {
    lambda batch: dataclasses.replace(batch, targets=(batch.targets + 1) % 3): (
        lambda contract, task: contract.test_the_labels_are_those_of_the_oracle(task, [3, 1])
    ),
    lambda batch: dataclasses.replace(batch, tokens=batch.tokens + 1): SumContract.test_tokens_and_targets_are_in_range,
    lambda batch: dataclasses.replace(batch, tokens=batch.tokens.clamp(1)): (
        SumContract.test_padding_is_token_0_without_a_label
    ),
    lambda batch: dataclasses.replace(batch, tokens=torch.randint_like(batch.tokens, 3)): (
        SumContract.test_the_global_generator_is_left_alone
    ),
    lambda batch: dataclasses.replace(batch, targets=batch.targets * 0): SumContract.test_answers_are_equally_frequent,
    lambda batch: dataclasses.replace(batch, tokens=batch.tokens.clamp(max=1)): (
        SumContract.test_every_token_and_every_answer_occurs
    ),
}


@pytest.mark.parametrize(("spoil", "check"), TASK_FAULTS.items(), ids=range(len(TASK_FAULTS)))
def test_a_faulty_task_fails_and_a_sound_one_passes(
    spoil: Callable[[Batch], Batch], check: Callable[[SumContract, Task], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spoilt, "spoil", staticmethod(spoil), raising=False)
    check(SumContract(), ModularAddition(m=3))
    with pytest.raises(AssertionError):
        check(SumContract(), Spoilt(m=3))
