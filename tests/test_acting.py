"""Episodes played by compiled code are those of the plain policies and of the simulator."""

import numpy as np
import pytest
import torch
from learners import DIMS, N_ITEMS, TRAINED, TURNS, learner_of

from gems.compiled import add_product, exp, log, padded, sigmoid, tanh
from gems.data.replay import Episodes
from gems.randomness import stream, torch_stream
from gems.rankers import vae
from gems.simulator.simulator import Observation
from gems.training.rollout import rollout

SEED = 3


def played(method, models, **options):
    """A policy, its simulator, and an episode in which it explored."""
    learner, simulator = learner_of(method, models, **options)
    episode = rollout(learner.policy, simulator, 1, "explore", SEED, "one")
    return learner.policy, simulator, episode


def observations(episode: Episodes):
    """What the policy saw before each of its slates."""
    bored_then = np.zeros((1, 10), dtype=np.bool_)
    for turn in range(TURNS):
        users, bored = (p[:, turn] if p.shape[2] else None for p in (episode.users, episode.bored))
        slates, clicks = episode.slates[:, turn].astype(np.int64), episode.clicks[:, turn]
        yield Observation(slates, clicks, users, bored, bored_then)
        bored_then = bored


def draws_of(policy):
    return policy.compiled(TURNS, torch_stream(SEED, "policy", "one"))[1]


@pytest.mark.parametrize("method", TRAINED)
def test_users_are_those_of_the_batched_simulator(models, method):
    _, simulator, episode = played(method, models)
    seen = simulator.reset(1, stream(SEED, "users", "one"))
    np.testing.assert_array_equal(seen.slates[0], episode.slates[0, 0])
    np.testing.assert_array_equal(seen.clicks[0], episode.clicks[0, 0])
    for turn in range(1, TURNS + 1):
        seen = simulator.step(episode.slates[:, turn])
        np.testing.assert_array_equal(seen.clicks[0], episode.clicks[0, turn])
        if episode.users.shape[2]:
            np.testing.assert_array_equal(seen.users[0], episode.users[0, turn])
            np.testing.assert_array_equal(seen.bored[0], episode.bored[0, turn])
    assert episode.slates.min() >= 0
    assert episode.slates.max() < N_ITEMS


@pytest.mark.parametrize("fidelity", ["released", "paper"])
@pytest.mark.parametrize("method", [name for name in TRAINED if name.startswith("SAC")])
@pytest.mark.parametrize("dim", DIMS)
@torch.inference_mode()
def test_slates_and_actions_are_those_of_the_plain_actor(
    models, monkeypatch, method, fidelity, dim
):
    monkeypatch.setattr(vae, "BLOCK_ITEMS", 32)  # a table of several blocks
    policy, _, episode = played(method, models, fidelity=fidelity, dim=dim)
    noise = iter(draws_of(policy))
    policy.head.noise = lambda like, generator: next(noise).unsqueeze(0)
    policy.begin(1)
    for turn, seen in enumerate(observations(episode)):
        plain = policy.act(seen, "explore", torch.Generator())
        if plain.actions is not None:
            ours = torch.from_numpy(episode.actions[:, turn])
            torch.testing.assert_close(ours, plain.actions, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(episode.slates[:, turn + 1], plain.slates.numpy())


@pytest.mark.parametrize("fidelity", ["released", "paper"])
@torch.inference_mode()
def test_slates_are_those_of_plain_slateq(models, fidelity):
    policy, _, episode = played("SlateQ", models, fidelity=fidelity)
    assert episode.bored.any()
    policy.begin(1)
    for turn, seen in enumerate(observations(episode)):
        plain = policy.act(seen, "greedy", torch.Generator())
        np.testing.assert_array_equal(episode.slates[:, turn + 1], plain.slates.numpy())


def test_slateq_explores_with_epsilon(models):
    policy, simulator, _ = played("SlateQ", models)
    policy.epsilon.fill_(1.0)
    episode = rollout(policy, simulator, 1, "explore", SEED, "other")
    counts = np.bincount(episode.slates[0, 1:].ravel(), minlength=N_ITEMS)
    assert (counts > 0).sum() > 0.9 * N_ITEMS


@torch.inference_mode()
def test_items_are_drawn_by_the_plain_softmax(models):
    policy, _, episode = played("REINFORCE+SoftMax", models)
    policy.begin(1)
    for turn, (seen, draws) in enumerate(zip(observations(episode), draws_of(policy), strict=True)):
        cumulated = policy.net(policy.belief.observe(seen)).softmax(-1)[0].double().cumsum(0)
        expected = torch.searchsorted(cumulated, draws.double(), right=True)
        np.testing.assert_array_equal(episode.slates[0, turn + 1], expected.numpy())


def test_tanh_and_sigmoid_are_right_to_a_few_units_in_the_last_place():
    for x in np.linspace(-20, 20, 4001, dtype=np.float32):
        assert abs(tanh(x) - np.tanh(np.float64(x))) < 5e-7
        assert abs(sigmoid(x) - 1 / (1 + np.exp(-np.float64(x)))) < 5e-7


def test_exponentials_and_logarithms_are_right_to_a_few_units_in_the_last_place():
    x = np.linspace(-86, 86, 5003, dtype=np.float32)
    got = [exp(value) for value in x]
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=3e-7)
    beyond = [exp(np.float32(value)) for value in (-1e4, -200, -89, 89, 1e4)]
    assert beyond == [0, 0, 0, np.inf, np.inf]
    positive = np.concatenate([np.exp(x), np.linspace(0.9, 1.1, 1001, dtype=np.float32)])
    got = [log(value) for value in positive]
    np.testing.assert_allclose(got, np.log(positive.astype(np.float64)), rtol=3e-7)


def test_a_padded_product_is_a_product():
    matrix, vector = torch.randn(21, 45), torch.randn(21)
    wide = padded(matrix)
    assert wide.shape == (24, 64)
    out = np.zeros(64, dtype=np.float32)
    add_product(out, np.pad(vector.numpy(), (0, 3)), wide.numpy())
    torch.testing.assert_close(torch.from_numpy(out[:45]), vector @ matrix, rtol=1e-4, atol=1e-4)
