"""Random state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.tasks.task import Batch, Task

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomStateMachine(Task):
    """Settings."""

    name: ClassVar[str] = "random_state_machine"

    m: int = option(at_least=2, doc="number of inputs and of states")
    transitions: str = option("permutations", choices=("permutations", "maps"), doc="what an input does to the states")
    machine_seed: int = option(0, at_least=0, doc="which machine; beside the trial's seed")

    @property
    def vocab_size(self) -> int:
        """One token an input."""
        return self.m

    @property
    def num_classes(self) -> int:
        """One answer a state."""
        return self.m

    def sample(self, lengths: Int[torch.Tensor, " batch"], generator: torch.Generator) -> Batch:
        """Draw one sequence of each length, in tokens."""
        raise NotImplementedError
