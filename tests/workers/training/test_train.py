"""Training, step by step."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bilin.tasks.copying import Copying
from bilin.workers.events import ignore
from bilin.workers.training.evaluate import validate
from bilin.workers.training.pack import alone
from bilin.workers.training.state import TrialState, batches_at, start
from bilin.workers.training.step import Stacks, lr_at
from bilin.workers.training.train import train

CPU = torch.device("cpu")
DECAYED = {
    "all": ("embedding", "initial", "weights.W", "readout.weight"),
    "weights": ("embedding", "weights.W", "readout.weight"),
    "recurrent": ("weights.W",),
}


def take_step(state: TrialState) -> None:
    """One step of a trial alone."""
    Stacks().step([state], batches_at(state)[:1])


def weights(state):
    return torch.cat([weight.detach().flatten() for weight in state.model.parameters()])


def trained(spec, steps=5):
    """The weights after some steps."""
    state = start(spec, CPU)
    for _ in range(steps):
        take_step(state)
    return weights(state)


def test_the_start_depends_on_the_cell_and_the_seed_not_on_the_rate(make):
    first, other_rate, other_seed = (start(spec, CPU) for spec in (make(), make(lr=0.5), make(seed=1)))
    assert torch.equal(weights(first), weights(other_rate))
    tokens, same, others = (batches_at(state)[0].tokens for state in (first, other_rate, other_seed))
    assert torch.equal(tokens, same)
    assert not torch.equal(weights(first), weights(other_seed))
    assert not torch.equal(tokens, others)


def test_looking_more_often_changes_nothing(make):
    spec = make()
    state = start(spec, CPU)
    for _ in range(5):
        take_step(state)
        alone(validate(spec.cell, state.model, seed=0, step=state.step, complete=True, device=CPU))
    assert torch.equal(weights(state), trained(spec))


def test_a_step_takes_the_rate_of_the_schedule(make):
    spec = make(lr=0.5, train={"steps": 10, "warmup_steps": 4})
    state = start(spec, CPU)
    for step in range(10):
        before = weights(state)
        take_step(state)
        assert state.lr == lr_at(spec.cell.train, 0.5, step)
        if step == 0:  # the first step of Adam is the rate, whatever the gradient
            assert (weights(state) - before).abs().max().item() == pytest.approx(0.125, rel=1e-3)
    assert state.step == 10


@pytest.mark.parametrize("clip_norm", [None, 1e-3])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("decayed", DECAYED)
def test_the_update_is_that_of_the_plain_optimizer(make, optimizer, clip_norm, decayed):
    decay = {"weight_decay": 0.1, "weight_decay_on": decayed}
    train = {"optimizer": optimizer, **decay, "schedule": "constant", "clip_norm": clip_norm}
    state, model = start(make(train=train), CPU), start(make(train=train), CPU).model
    plain_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    groups = [
        {"params": [weight], "weight_decay": 0.1 if name in DECAYED[decayed] else 0.0}
        for name, weight in model.named_parameters()
    ]
    plain = plain_class(groups, lr=0.01, foreach=False)
    for _ in range(20):
        batch = batches_at(state)[0]
        take_step(state)
        plain.zero_grad()
        torch.nn.functional.cross_entropy(model(batch.tokens, batch.num_tokens), batch.answers).backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        plain.step()
    expected = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    torch.testing.assert_close(weights(state), expected, rtol=1e-4, atol=1e-6)


def test_normalize_is_taken_from_the_spec(make):
    for normalize in ("readout", "state", "none"):
        assert start(make(train={"normalize": normalize}), CPU).model.normalize == normalize


def test_every_token_supervision_learns_from_every_target(make):
    final, every = make(tier="lstm"), make(tier="lstm", train={"supervision": "every_token"})
    batch_losses = []
    for spec in (final, every):
        state = start(spec, CPU)
        take_step(state)
        batch_losses.append(state.loss_sum.item())
    assert all(0.3 < loss < 1.5 for loss in batch_losses)
    result = start(every, CPU)
    assert alone(train(every, result, report=ignore)) in ("solved", "budget")
    assert list(result.curve)[-1].accuracy > 0.6


def test_a_task_with_its_own_supervision_learns_from_every_target_whatever_is_asked(make):
    final, every = (make(tier="lstm", train={"supervision": where}) for where in ("final", "every_token"))
    copying = [
        dataclasses.replace(spec, cell=dataclasses.replace(spec.cell, task=Copying())) for spec in (final, every)
    ]
    assert copying[0].trial_id == copying[1].trial_id
    assert torch.equal(*(trained(spec) for spec in copying))


def test_losses_repeat_and_fall(make):
    spec = make(train={"steps": 50, "stop_when_solved": False})
    losses = []
    for _ in range(2):
        state = start(spec, CPU)
        alone(train(spec, state, report=ignore))
        losses.append([(point.step, point.length, point.loss) for point in state.curve])
    assert losses[0] == losses[1]
    assert losses[0][0][2] > losses[0][-3][2]


def test_the_rate_changes_the_weights(make):
    spec = make()
    assert not torch.equal(trained(spec), trained(dataclasses.replace(spec, lr=spec.lr / 2)))


def test_frozen_recurrence_leaves_all_but_the_readout_as_it_was(make):
    frozen = make(model={"freeze": "recurrent"})
    before, after = start(frozen, CPU).model.state_dict(), start(frozen, CPU)
    for _ in range(5):
        take_step(after)
    changed = {name for name, weight in after.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"readout.weight"}


def test_given_examples_are_all_that_is_seen(make):
    spec = make(train={"examples": 3, "batch_size": 16})
    state = start(spec, CPU)
    seen = []
    state.model.register_forward_pre_hook(lambda _, args: seen.append(args))
    for _ in range(20):
        take_step(state)
    rows = {
        (*row.tolist(), int(num)) for tokens, num_tokens in seen for row, num in zip(tokens, num_tokens, strict=True)
    }
    assert all(len(tokens) == 16 for tokens, _ in seen)
    assert len(rows) == 3


def test_the_examples_are_the_same_for_every_rate(make):
    ours, same, other = (
        start(make(train={"examples": 8}, lr=lr, seed=seed), CPU) for lr, seed in ((1, 0), (2, 0), (1, 1))
    )
    assert torch.equal(ours.examples.tokens, same.examples.tokens)
    assert not torch.equal(ours.examples.num_tokens, other.examples.num_tokens)
