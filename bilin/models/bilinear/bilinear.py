"""What a bilinear tier is: a recurrence h_t = A_x h_{t-1} whose matrix A_x depends on the token x alone.

Symbols, in this folder:

    H  width of the state h              x  embedding of a token, D numbers
    D  width of the embedding            V  number of tokens
    A_x = W·x, linear in x (or a function of something that is)

Tokens are discrete, so A_x need not be formed at every position: what it is made of is computed for every
token once a training step, exactly.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from bilin.fields import option
from bilin.models.tier import Tier

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bilin.models.bilinear.recurrence.rows import Rows
    from bilin.models.module import SequenceModel

    Weights: TypeAlias = Mapping[str, Tensor]

Transition: TypeAlias = "Callable[[Rows, Tensor], Tensor]"
"""A_x h, (rows, H), for rows that have a token and a state h, (rows, H), each."""


class Weight(NamedTuple):
    """A weight of a tier: its shape, and the standard deviation of its normal initial values."""

    shape: tuple[int, ...]
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilinear(Tier):
    """Settings of every bilinear tier, and what a subclass says of its A_x."""

    source: ClassVar[str] = "Ebrahimi, Memisevic 2025, arXiv 2505.21749"

    embedding: int = option(256, at_least=1, doc="width of a token's embedding, D")
    init_scale: float = option(1.0, above=0, doc="factor on the initial recurrent weights")
    additive: bool = option(False, doc="add the input and bias terms: h_t = A_x h_{t-1} + B x + c")
    input_independent: bool = option(
        False, before=False, doc="one matrix A for all tokens, which the additive terms alone then tell apart"
    )

    @property
    def scale_invariant(self) -> bool:
        """Without additive terms: the map is linear in the state, and the readout has no bias."""
        return not self.additive

    def problems(self) -> Mapping[str, str]:
        """Something must depend on the token."""
        if self.input_independent and not self.additive:
            return {"input_independent": "false, or additive: true beside it (nothing else would depend on the token)"}
        return {}

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.bilinear.recurrence.recurrence import Recurrence

        return Recurrence(self, vocab_size=vocab_size, num_classes=num_classes)

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, Weight]:
        """The weights that A_x is made of; embeddings are drawn from N(0, 1)."""

    @abstractmethod
    def matrix(self, weights: Weights, x: Float[Tensor, " embedding"]) -> Float[Tensor, "hidden hidden"]:
        """A_x as its definition has it, in full. Slow: the twin that everything else is compared with."""

    @abstractmethod
    def transition(self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]) -> Transition:
        """The step h -> A_x h; what it needs to know of every token is computed here, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commuting(Bilinear):
    """A tier whose matrices commute: the order of the tokens does not matter, only how often each occurs.

    A product of such matrices is a sum of their logarithms, so that without additive terms no loop over
    time is needed.
    """

    @abstractmethod
    def logarithm(
        self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]
    ) -> Float[Tensor, "vocab exponents"]:
        """Numbers that add up where the matrices of the tokens are multiplied."""

    @abstractmethod
    def apply(
        self,
        exponents: Float[Tensor, "*rows exponents"],
        state: Float[Tensor, " hidden"],
        *,
        any_scale: bool,
    ) -> Float[Tensor, "*rows hidden"]:
        """The matrix with this logarithm times a state; with ``any_scale`` up to a positive factor a row."""
