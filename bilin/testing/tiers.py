"""The contract of a tier: what must hold for every tier, whatever it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from bilin.fields import fields_of, values_of
from bilin.models import MODEL_REGISTRY, Tier
from bilin.models.module import SequenceModel
from bilin.models.stacking import fault

VOCAB_SIZE, NUM_CLASSES = 5, 4


def build(tier: Tier, seed: int = 0) -> SequenceModel:
    """Return the module of a tier in float64, built under a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return tier.build(vocab_size=VOCAB_SIZE, num_classes=NUM_CLASSES).double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return random tokens of a shape, drawn under a seed."""
    return torch.randint(VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))


def label(tier: Tier) -> str:
    """Return the name of a tier in the ids of tests: the tier, and the fields that differ from their defaults."""
    fields = fields_of(type(tier))
    changed = [f"{name}={value}" for name, value in values_of(tier).items() if value != fields[name].default]
    return "-".join([tier.tier, *changed])


def step_of_a_stack(modules: Sequence[SequenceModel], *batch: Tensor) -> list[list[Tensor]]:
    """Return, of each member of a stack, the logits and the gradients of its loss.

    Args:
        modules: The members. The modules themselves do not change.
        batch: Tokens, numbers of tokens and answers, with the members as their first axis.
    """
    weights, buffers = stack_module_state(list(modules))

    def loss(
        weights: object, buffers: object, tokens: Tensor, num_tokens: Tensor, answers: Tensor
    ) -> tuple[Tensor, ...]:
        logits = functional_call(modules[0], (weights, buffers), (tokens, num_tokens))  # type: ignore[arg-type]
        return cross_entropy(logits, answers), logits

    losses, logits = vmap(loss)(weights, buffers, *batch)
    gradients = torch.autograd.grad(losses.sum(), list(weights.values()), materialize_grads=True)
    return [list(values) for values in zip(logits.detach(), *gradients, strict=True)]


def step(module: SequenceModel, tokens: Tensor, num_tokens: Tensor, answers: Tensor) -> list[Tensor]:
    """Return the logits of a module alone and the gradients of its loss, as `step_of_a_stack` does."""
    logits = module(tokens, num_tokens)
    loss = cross_entropy(logits, answers)
    return [logits.detach(), *torch.autograd.grad(loss, list(module.parameters()), materialize_grads=True)]


def trained(tier: Tier, seed: int) -> SequenceModel:
    """Return the module of a tier, with weights of which none is 0 or 1, as if it had been trained."""
    module = build(tier, seed)
    module.normalize = "readout"
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype), alpha=0.1)
    return module


def assert_same(values: Tensor, expected: Tensor) -> None:
    """Check that values are the same to the last bit; on processors other than those with AVX2, up to rounding.

    It is not known for others which kernels round in the same way in a stack.
    """
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        assert torch.equal(values, expected)
    else:
        assert_close(values, expected)


class TierContract:
    """Tests of a tier. A subclass whose name starts with ``Test`` lists the settings to test.

    Attributes:
        tiers: Settings of one or more tiers: small ones, at least one for each way the tier can behave.
    """

    tiers: ClassVar[Sequence[Tier]] = ()

    def exact(self, tier: Tier) -> Tier:
        """Return the settings with which a carried state gives exactly what the whole sequence gives.

        Override it for a tier that iterates until its result is close enough.
        """
        return tier

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for every tier, or for every scale-invariant tier."""
        scale_invariant = [tier for tier in self.tiers if tier.scale_invariant]
        for fixture, tiers in (("tier", self.tiers), ("scale_invariant_tier", scale_invariant)):
            if fixture in metafunc.fixturenames:
                metafunc.parametrize(fixture, tiers, ids=label)

    def test_the_settings_can_be_registered(self, tier: Tier) -> None:
        """The class is a frozen dataclass whose fields are declared; these settings have no problems."""
        assert MODEL_REGISTRY.fault(type(tier), tier.tier) == ""
        assert tier.problems() == {}

    @pytest.mark.parametrize("length", [1, 2, 63])
    def test_there_are_logits_for_each_sequence_or_each_token(self, tier: Tier, length: int) -> None:
        """The shape of the logits is (sequences, classes) or (sequences, tokens, classes)."""
        module, tokens, num_tokens = build(tier), draw(3, length), torch.full((3,), length)
        assert module(tokens, num_tokens).shape == (3, NUM_CLASSES)
        assert module(tokens, num_tokens, every_token=True).shape == (3, length, NUM_CLASSES)

    @pytest.mark.parametrize("training", [True, False])
    def test_final_logits_are_those_of_the_last_token(self, tier: Tier, training: bool) -> None:
        """The logits of a sequence equal the logits after its last token."""
        module, tokens, num_tokens = build(tier).train(training), draw(3, 7), torch.tensor([7, 1, 3])
        every = module(tokens, num_tokens, every_token=True)
        assert_close(module(tokens, num_tokens), every[torch.arange(3), num_tokens - 1])

    def test_logits_do_not_depend_on_later_tokens(self, tier: Tier) -> None:
        """The module is causal."""
        module, tokens, num_tokens = build(tier), draw(4, 9), torch.full((4,), 9)
        changed = torch.cat([tokens[:, :5], draw(4, 4, seed=1)], dim=1)
        first, second = (module(each, num_tokens, every_token=True)[:, :5] for each in (tokens, changed))
        assert_close(first, second)

    def test_padding_changes_nothing(self, tier: Tier) -> None:
        """Tokens after the end of a sequence do not matter."""
        module, tokens, num_tokens = build(tier), draw(3, 5), torch.tensor([2, 5, 1])
        padded = torch.where(torch.arange(9) < num_tokens[:, None], torch.nn.functional.pad(tokens, (0, 4)), 3)
        assert_close(module(tokens, num_tokens), module(padded, num_tokens))

    @pytest.mark.parametrize("training", [True, False])
    def test_a_batch_equals_its_sequences_one_by_one(self, tier: Tier, training: bool) -> None:
        """Sequences do not influence each other."""
        module, tokens, num_tokens = build(tier).train(training), draw(5, 9), torch.tensor([9, 2, 5, 1, 9])
        alone = [module(tokens[i : i + 1, :num], num_tokens[i : i + 1]) for i, num in enumerate(num_tokens.tolist())]
        assert_close(module(tokens, num_tokens), torch.cat(alone))

    def test_results_are_the_same_with_and_without_gradients(self, tier: Tier) -> None:
        """Evaluation without autograd computes the same logits."""
        module, tokens, num_tokens = build(tier), draw(3, 7), torch.tensor([7, 3, 5])
        with_gradients = module(tokens, num_tokens)
        with torch.no_grad():
            assert_close(module(tokens, num_tokens), with_gradients)

    @pytest.mark.parametrize("every_token", [True, False])
    def test_every_weight_has_a_finite_gradient_that_is_not_zero(self, tier: Tier, every_token: bool) -> None:
        """Every weight can be trained."""
        module = build(tier)
        module.normalize = "state"
        module(draw(3, 63), torch.tensor([63, 20, 1]), every_token=every_token).square().sum().backward()
        for name, weight in module.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.any(), name

    def test_it_can_be_stacked_or_says_why(self, tier: Tier) -> None:
        """`SequenceModel.unstackable` is true."""
        module = build(tier)
        assert fault(module) == module.unstackable

    @pytest.mark.usefixtures("one_thread")
    @pytest.mark.parametrize("size", [1, 2, 3, 16])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_a_member_of_a_stack_has_the_bits_of_its_module(
        self, stackable_tier: Tier, size: int, dtype: torch.dtype
    ) -> None:
        """On a CPU, at one thread, logits and gradients do not depend on whether and with whom a module is stacked."""
        modules = [trained(stackable_tier, seed).to(dtype) for seed in range(size)]
        batch = draw(size, 13, 9), draw(size, 13, seed=1).clamp(min=1) + 4, draw(size, 13, seed=2) % NUM_CLASSES
        for module, found, *part in zip(modules, step_of_a_stack(modules, *batch), *batch, strict=True):
            for values, expected in zip(found, step(module, *part), strict=True):
                assert_same(values, expected)

    @pytest.mark.usefixtures("one_thread")
    @pytest.mark.parametrize("every_token", [True, False])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_a_member_of_a_stack_is_evaluated_with_the_bits_of_its_module(
        self, stackable_tier: Tier, every_token: bool, dtype: torch.dtype
    ) -> None:
        """On a CPU, at one thread, without gradients."""
        modules = [trained(stackable_tier, seed).to(dtype).eval() for seed in range(3)]
        weights, buffers = stack_module_state(modules)
        tokens, num_tokens = draw(3, 13, 9), draw(3, 13, seed=1).clamp(min=1) + 4

        def logits(weights: object, buffers: object, *batch: Tensor) -> Tensor:
            return functional_call(modules[0], (weights, buffers), batch, {"every_token": every_token})  # type: ignore[arg-type, no-any-return]

        there = torch.arange(9) < num_tokens[..., None] if every_token else slice(None)
        with torch.no_grad():
            stacked = vmap(logits)(weights, buffers, tokens, num_tokens)
            alone = [
                module(*batch, every_token=every_token)
                for module, *batch in zip(modules, tokens, num_tokens, strict=True)
            ]
        assert_same(stacked[there], torch.stack(alone)[there])

    def test_a_stack_gives_the_values_and_gradients_of_its_modules(self, stackable_tier: Tier) -> None:
        """A stack computes what each of its modules computes."""
        modules = [build(stackable_tier, seed) for seed in range(3)]
        batch = draw(3, 5, 9), draw(3, 5, seed=1) + 1, draw(3, 5, seed=2) % NUM_CLASSES
        stacked = step_of_a_stack(modules, *batch)
        for module, found, tokens, num_tokens, answers in zip(modules, stacked, *batch, strict=True):
            logits = module(tokens, num_tokens)
            loss = cross_entropy(logits, answers)
            assert_close(found, [logits, *torch.autograd.grad(loss, list(module.parameters()), materialize_grads=True)])

    def test_the_gradient_of_a_member_is_its_own_under_grad_too(self, stackable_tier: Tier) -> None:
        """`torch.func.grad` may be inside vmap, and the logits may be those after every token."""
        modules = [build(stackable_tier, seed) for seed in range(2)]
        weights, buffers = stack_module_state(modules)
        tokens, num_tokens = draw(2, 3, 7), torch.tensor([[7, 2, 5], [1, 7, 3]])

        def loss(weights: object, buffers: object, *batch: Tensor) -> Tensor:
            logits = functional_call(modules[0], (weights, buffers), batch, {"every_token": True})  # type: ignore[arg-type]
            there = torch.arange(7) < batch[1][:, None]
            return cross_entropy(logits.flatten(0, 1), torch.where(there, 1, -100).flatten())

        inside = vmap(torch.func.grad(loss))(weights, buffers, tokens, num_tokens)
        outside = torch.autograd.grad(
            vmap(loss)(weights, buffers, tokens, num_tokens).sum(), list(weights.values()), materialize_grads=True
        )
        assert_close(list(inside.values()), list(outside))

    @pytest.fixture
    def stackable_tier(self, tier: Tier) -> Tier:
        """A tier that can be stacked."""
        if reason := build(tier).unstackable:
            pytest.skip(reason)
        return tier

    @pytest.fixture
    def one_thread(self) -> Iterator[None]:
        """Run with one thread."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_cuda_gives_the_values_and_gradients_of_the_cpu(self, tier: Tier) -> None:
        """Logits and gradients on CUDA are those on the CPU, up to rounding."""
        tokens, num_tokens, results = draw(3, 9), torch.tensor([9, 2, 5]), []
        for device in ("cpu", "cuda"):
            module = build(tier).to(device)
            logits = module(tokens.to(device), num_tokens.to(device))
            logits.square().sum().backward()
            gradients = [weight.grad.cpu() for weight in module.parameters() if weight.grad is not None]
            results.append((logits.detach().cpu(), gradients))
        assert_close(*results, rtol=1e-3, atol=1e-4)

    def test_one_seed_builds_one_module(self, tier: Tier) -> None:
        """All initial values are drawn from torch's global generator."""
        first, same, other = (build(tier, seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[name], same[name]) for name in first)
        assert not all(torch.equal(first[name], other[name]) for name in first)
        if "embedding" in first:
            assert not torch.equal(first["embedding"], other["embedding"])

    def test_a_saved_module_gives_its_logits_again(self, tier: Tier) -> None:
        """The state dict holds all that the logits depend on."""
        module, other, tokens, num_tokens = build(tier), build(tier, seed=1), draw(3, 7), torch.tensor([7, 3, 5])
        other.load_state_dict(module.state_dict())
        assert torch.equal(module(tokens, num_tokens), other(tokens, num_tokens))

    @pytest.mark.parametrize("training", [True, False])
    def test_a_carried_state_gives_what_the_whole_sequence_gives(self, tier: Tier, training: bool) -> None:
        """A sequence may be processed in two parts."""
        module, tokens = build(self.exact(tier)).train(training), draw(3, 9)
        whole, last = module.advance(tokens)
        first, state = module.advance(tokens[:, :4])
        second, end = module.advance(tokens[:, 4:], state)
        assert_close(torch.cat([first, second], dim=1), whole)
        assert_close(end, last)

    def test_the_readout_of_the_features_gives_the_logits(self, tier: Tier) -> None:
        """`advance` followed by `readout` is what the module computes."""
        module, tokens = build(tier), draw(3, 9)
        features, _ = module.advance(tokens)
        assert_close(module.readout(features), module(tokens, torch.full((3,), 9), every_token=True))

    def test_predictions_are_the_same_however_the_state_is_normalized(self, scale_invariant_tier: Tier) -> None:
        """The size of the state does not matter to the prediction."""
        module, tokens, num_tokens = build(scale_invariant_tier), draw(64, 10), torch.arange(64) % 10 + 1
        expected = module.eval()(tokens, num_tokens).argmax(1)
        for normalize in ("readout", "state", "none"):
            module.train().normalize = normalize
            assert torch.equal(module(tokens, num_tokens).argmax(1), expected), normalize

    def test_normalizing_each_step_keeps_values_and_gradients(self, scale_invariant_tier: Tier) -> None:
        """`normalize` of ``readout`` and ``state`` are the same computation."""
        module, tokens, num_tokens = build(scale_invariant_tier), draw(8, 10), torch.arange(8) + 2
        results = []
        for module.normalize in ("readout", "state"):
            logits = module(tokens, num_tokens)
            results.append([logits, *torch.autograd.grad(logits.exp().sum(), list(module.parameters()))])
        assert_close(results[0], results[1])

    @pytest.mark.parametrize("init_scale", [0.01, 100.0])
    def test_the_state_stays_in_range_at_length_800(self, scale_invariant_tier: Tier, init_scale: float) -> None:
        """Logits are finite and not all 0 in float32, also with small and large initial weights."""
        tier = scale_invariant_tier
        if "init_scale" in fields_of(type(tier)):
            tier = dataclasses.replace(tier, init_scale=init_scale)  # type: ignore[call-arg]
        with torch.no_grad():
            logits = build(tier).float().eval()(draw(2, 800), torch.tensor([800, 799]))
        assert logits.isfinite().all()
        assert (logits != 0).any()
