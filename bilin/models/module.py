"""What a tier builds: a torch module from tokens to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from bilin.models.tier import ZeroStateTier

Tokens: TypeAlias = Int[Tensor, "batch time"]
NumTokens: TypeAlias = Int[Tensor, " batch"]
Features: TypeAlias = Float[Tensor, "batch time width"]
Logits: TypeAlias = Float[Tensor, "batch *time classes"]

State: TypeAlias = Any
"""What a model remembers of the tokens so far: tensors in nested tuples, or None at the beginning."""


class SequenceModel(nn.Module, ABC):
    """A causal sequence model: an embedding, a part that runs through time, and a readout.

    A subclass implements `advance` and sets `readout` in its constructor.

    Attributes:
        normalize: ``readout``, ``state`` or ``none``: how a scale-invariant tier keeps its state in range during
            training. In evaluation such a tier normalizes after every step.
        readout: Map from the features that `advance` returns to logits.
        tokens_at_once: Most tokens that an evaluation passes to the model in one call, which bounds its memory.
    """

    normalize: str = "none"
    readout: nn.Module
    tokens_at_once: int = 2**17

    unstackable: ClassVar[str] = ""
    """Why modules of this class cannot run as a stack, under `torch.func.vmap`; empty if they can."""

    capturable: ClassVar[bool] = True
    """Whether a CUDA graph may repeat a training step. Set it to False if `advance` depends on attributes that change
    from step to step, or keeps tensors that it replaces: a graph knows only what was there when it was captured.
    """

    outside_recurrence: ClassVar[tuple[str, ...]] = ("embedding", "positions", "initial", "readout")
    """Weights that do not count as recurrent."""

    undecayed: ClassVar[tuple[str, ...]] = ()
    """Parameters of two or more axes of this module that are no weights, so that weight decay leaves them alone. A
    module within this one may name its own.
    """

    @abstractmethod
    def advance(self, tokens: Tokens, state: State = None) -> tuple[Features, State]:
        """Return the input of the readout after each of the next tokens, and the state after the last one.

        All sequences get the same number of tokens. They start from the state that the previous call returned, or
        from the beginning if it is None.
        """

    def forward(self, tokens: Tokens, num_tokens: NumTokens, *, every_token: bool = False) -> Logits:
        """Return the logits after the last token of each sequence, or after every token.

        Sequences are padded at the end, as in `bilin.tasks.task.Batch`; logits in the padding are meaningless.
        """
        features, _ = self.advance(tokens)
        if not every_token:
            last = (num_tokens - 1)[:, None, None].expand(-1, 1, features.shape[2])
            features = features.gather(1, last).squeeze(1)
        logits: Tensor = self.readout(features)
        return logits

    @property
    def recurrent_params(self) -> int:
        """Number of trainable weights except the embedding, positions, initial state and readout."""
        inside = [weight for name, weight in self.named_parameters() if self._is_recurrent(name)]
        return sum(weight.numel() for weight in inside if weight.requires_grad)

    def decayed(self, which: str) -> frozenset[str]:
        """Return the names of the parameters on which weight decay acts, by `TrainSpec.weight_decay_on`.

        Norms, biases, initial states and the like have one axis, or are `undecayed`.
        """
        exempt = {
            f"{path}.{name}" if path else name
            for path, module in self.named_modules()
            for name in getattr(module, "undecayed", ())
        }
        return frozenset(
            name
            for name, weight in self.named_parameters()
            if which == "all"
            or (weight.ndim > 1 and name not in exempt and (which != "recurrent" or self._is_recurrent(name)))
        )

    def _is_recurrent(self, name: str) -> bool:
        return name.partition(".")[0] not in self.outside_recurrence


class ZeroStateModel(SequenceModel):
    """A model with an embedding, whose state starts at 0.

    With `start_token`, it reads one more token before each sequence: the last one of the embedding. So what the
    sequence starts from is learned, in every layer. Nothing is predicted after that token.

    A subclass implements `read` in place of `advance`.

    Shapes: embedding (V, H) or (V, D), as wide as the tier says; with a start token one row more.
    """

    def __init__(self, tier: ZeroStateTier, *, vocab_size: int, width: int) -> None:
        super().__init__()
        self.start_token = vocab_size if tier.start_token else None
        self.embedding = nn.Parameter(torch.randn(vocab_size + tier.start_token, width))

    @abstractmethod
    def read(self, tokens: Tokens, state: State) -> tuple[Features, State]:
        """Do what `advance` says, with a start token in front of the first tokens where there is one."""

    def advance(self, tokens: Tokens, state: State = None) -> tuple[Features, State]:
        """See `SequenceModel.advance`."""
        if self.start_token is None or state is not None:
            return self.read(tokens, state)
        start = torch.full_like(tokens[:, :1], self.start_token)
        features, state = self.read(torch.cat([start, tokens], dim=1), None)
        return features[:, 1:], state
