"""Transformer: causal self-attention alternating with a two-layer perceptron, in the manner of GPT-2.

    x <- x + W_o concat_h( softmax(q_h k_hᵀ / √P + bias_h) v_h )        [q, k, v] = W LN(x)
    x <- x + W_2 GELU(W_1 LN(x))

    W (3H, H), W_o (H, H), W_1 (4H, H), W_2 (H, 4H), biases, two layer norms     12H² + 13H weights per layer
    P = H / heads; a token attends to itself and to the tokens before it

Attention by itself does not know the order of the tokens. ``positions`` sets how it learns of it [1-6]:

    learned     a vector for each of 1024 positions is added to the embedding, as in GPT-2 [1]. The vectors of
                positions that were never trained keep their initial values, so greater lengths add noise; positions
                from the 1024th on use the last vector
    sinusoidal  sines and cosines of the position are added to the embedding [2]
    rope        q and k are rotated, pair by pair, by angles that grow with the position [3]
    alibi       bias_h = -2^(-8h/heads) · distance, h = 1 … heads [4]
    none        only the causal mask tells the order [5]

The default is `alibi`, which was designed for tests at lengths far beyond those in training: it has no weights or
phases that longer sequences reach for the first time, and a single layer sees the order with it. `none` extended
further than the others in [5], but its first layer sees the past as a set, so a single layer cannot tell the order at
all. Random positions in training [6] are not available: here the same tokens always give the same logits.

Sources:
    [1] Radford, Wu, Child, Luan, Amodei, Sutskever: Language Models are Unsupervised Multitask Learners. 2019
        (GPT-2). Initial values: N(0, 0.02²) for embeddings and matrices, as in their code; matrices that write to
        the residual stream are divided by the root of the number of residual layers, as in their text (their code
        has no such factor); biases are zero. Learned positions are drawn like the embedding, where their code has
        0.01². The readout is a separate matrix with PyTorch's initial values, where theirs is the embedding; GELU is
        exact, where GPT-2 approximates it with tanh.
    [2] Vaswani et al.: Attention Is All You Need. NeurIPS 2017, arXiv 1706.03762. Multiplied by 0.02, the standard
        deviation of the embedding, which keeps the published ratio of the two.
    [3] Su, Lu, Pan, Murtadha, Wen, Liu: RoFormer. arXiv 2104.09864, eq. 34; base 10,000.
    [4] Press, Smith, Lewis: Train Short, Test Long. ICLR 2022, arXiv 2108.12409. The slopes are their geometric
        sequence for any number of heads.
    [5] Kazemnejad et al.: The Impact of Positional Encoding on Length Generalization in Transformers. arXiv 2305.19466.
    [6] Ruoss et al.: Randomized Positional Encodings Boost Length Generalization of Transformers. arXiv 2305.16843.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bilin.fields import option
from bilin.models.tier import LayeredTier, Layers, Module


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer(LayeredTier):
    """x <- x + attention(LN(x)), x <- x + perceptron(LN(x))."""

    tier: ClassVar[str] = "transformer"
    source: ClassVar[str] = "Radford et al. 2019 (GPT-2)"
    norm: ClassVar[Literal["rms", "layer"]] = "layer"

    layers: int = option(2, at_least=1, doc="number of layers")
    heads: int = option(4, at_least=1, doc="number of heads; divides hidden")
    positions: str = option(
        "alibi",
        choices=("alibi", "rope", "sinusoidal", "learned", "none"),
        doc="how attention learns the order of the tokens",
    )

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. Heads are equally wide, and a rotation acts on two coordinates."""
        if self.hidden % self.heads:
            return {"heads": f"a divisor of hidden ({self.hidden})"}
        if self.positions == "rope" and self.hidden // self.heads % 2:
            if self.hidden % 2:
                return {"hidden": "an even number, for positions: rope"}
            return {"heads": f"a divisor of hidden / 2 ({self.hidden // 2}), for positions: rope"}
        return {}

    def make_layers(self) -> Layers:
        """See `LayeredTier.make_layers`. A perceptron follows each attention."""
        from bilin.models.attention.modules import Attention, Perceptron

        return [layer for _ in range(self.layers) for layer in (Attention(self), Perceptron(self))]

    def build(self, *, vocab_size: int, num_classes: int) -> Module:
        """See `Tier.build`."""
        from bilin.models.attention.modules import TransformerStack

        return TransformerStack(self, vocab_size=vocab_size, num_classes=num_classes)
