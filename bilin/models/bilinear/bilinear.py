"""What a bilinear tier is: a recurrence h_t = A_x h_{t-1} whose matrix A_x depends only on the token x.

Symbols in this folder:

    H  width of the state h              x  embedding of a token, D numbers
    D  width of the embedding            V  number of tokens
    A_x = W·x, linear in x, or a function of a linear map of x

Tokens are discrete, so A_x need not be formed at every position: what it is made of is computed once per training
step for every token of the vocabulary. The result is exact.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from bilin.fields import option
from bilin.models.tier import Module, Tier

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bilin.models.bilinear.layout import Rows

# In quotes, so that settings can use them without torch.
Weights: TypeAlias = "Mapping[str, Tensor]"
Embedding: TypeAlias = "Float[Tensor, ' embedding']"
Embeddings: TypeAlias = "Float[Tensor, '*members vocab embedding']"
Matrix: TypeAlias = "Float[Tensor, 'hidden hidden']"
Exponents: TypeAlias = "Float[Tensor, '*rows exponents']"
State: TypeAlias = "Float[Tensor, ' hidden']"
States: TypeAlias = "Float[Tensor, '*rows hidden']"

Transition: TypeAlias = "Callable[[Rows, Tensor], Tensor]"
"""A_x h of rows that have a token and a state h each, (members, rows, H), for the members of a stack."""


class Weight(NamedTuple):
    """A weight of a tier: its shape, and the standard deviation of its normal initial values."""

    shape: tuple[int, ...]
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilinear(Tier):
    """Settings of every bilinear tier, and the definition of A_x that each subclass gives."""

    source: ClassVar[str] = "Ebrahimi, Memisevic 2025, arXiv 2505.21749"

    embedding: int = option(256, at_least=1, doc="width D of the token embedding")
    onehot: bool = option(
        False,
        before=False,
        doc="keep the embedding at one-hot vectors, so that each token has a matrix of its own; takes embedding of at "
        "least the number of tokens",
    )
    init_scale: float = option(1.0, above=0, doc="factor on the initial recurrent weights")
    additive: bool = option(False, doc="add input and bias terms: h_t = A_x h_{t-1} + B x + c")
    input_independent: bool = option(
        False, before=False, doc="use one matrix A for all tokens; only the additive terms then depend on the token"
    )

    @property
    def scale_invariant(self) -> bool:
        """True without additive terms: the map is linear in the state, and the readout has no bias."""
        return not self.additive

    @property
    def version(self) -> int:
        """See `Tier.version`. Version 1 overflowed with additive terms."""
        return 2 if self.additive else 1

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. Something must depend on the token."""
        if self.input_independent and not self.additive:
            return {
                "input_independent": "false, or true with additive: true (otherwise nothing would depend on the token)"
            }
        return {}

    @property
    def squared_length(self) -> int:
        """The mean squared length of an embedding at first."""
        return 1 if self.onehot else self.embedding

    def unfit(self, vocab_size: int) -> str:
        """See `Tier.unfit`. Each token needs a direction of its own."""
        if self.onehot and vocab_size > self.embedding:
            return f"embedding is {self.embedding} with onehot: true; accepted: at least {vocab_size}, a number a token"
        return ""

    def build(self, *, vocab_size: int, num_classes: int) -> Module:
        """See `Tier.build`. Raises ValueError if it is `unfit`."""
        if reason := self.unfit(vocab_size):
            raise ValueError(reason)
        from bilin.models.bilinear.recurrence import Recurrence

        return Recurrence(self, vocab_size=vocab_size, num_classes=num_classes)

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, Weight]:
        """The weights that A_x is made of. Embeddings are drawn from N(0, 1), or are one-hot: see `squared_length`."""

    @abstractmethod
    def matrix(self, weights: Weights, x: Embedding) -> Matrix:
        """Return A_x in full, as defined. Slow: the reference for everything else."""

    @abstractmethod
    def transition(self, weights: Weights, embeddings: Embeddings) -> Transition:
        """Return the step h -> A_x h. What it needs of every token is computed here, once.

        Weights and embeddings have a first axis more: the members of a stack, of which there may be only one.
        """

    def rows_multiple(self, batch_size: int) -> int:  # noqa: ARG002 (for subclasses)
        """Return a number of which the rows of a member must be a multiple, so that bits do not depend on the others.

        It is 1 if a step treats each row by itself, and the whole batch is always a multiple.
        """
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Commuting(Bilinear):
    """A tier whose matrices commute: only how often each token occurs matters, not the order.

    A product of such matrices is a sum of their logarithms, so no loop over time is needed without additive terms.
    """

    @abstractmethod
    def logarithm(self, weights: Weights, embeddings: Embeddings) -> Exponents:
        """Return numbers for each token that add up when the matrices are multiplied."""

    @abstractmethod
    def apply(self, exponents: Exponents, state: State, *, any_scale: bool) -> States:
        """Multiply a state by the matrix of each logarithm; with ``any_scale``, each row up to a positive factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagonal(Commuting):
    """A tier whose matrix is the diagonal of a vector a_x, a function of W x."""

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        return {"W": Weight((self.hidden, self.embedding), std=self.init_scale * self.squared_length**-0.5)}

    @abstractmethod
    def factors(self, linear: States) -> States:
        """Return a_x from W x."""

    def matrix(self, weights: Weights, x: Embedding) -> Matrix:
        """Return diag(a_x)."""
        return self.factors(weights["W"] @ x).diag()

    def transition(self, weights: Weights, embeddings: Embeddings) -> Transition:
        """Return a_x ∘ h."""
        from bilin.models.layers import linear_of_members

        factors = self.factors(linear_of_members(embeddings, weights["W"]))
        return lambda rows, states: rows.take(factors) * states
