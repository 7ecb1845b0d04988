"""Episodes played by compiled code are those of the plain policies and of the simulator."""

import numpy as np
import pytest
import torch
from learners import DIMS, N_ITEMS, TRAINED, TURNS, learner_of
from numerics import assert_equal_up_to_rounding

from gems.data.replay import Episodes
from gems.envs.simulator import Observation
from gems.kernels import vae as compiled_vae
from gems.kernels.compiled import add_product, exp, log, padded, sigmoid, tanh
from gems.runtime.randomness import stream, torch_stream
from gems.training.rollout import rollout

SEED = 3


def played(method, models, **options):
    """A policy, its simulator, and an episode in which it explored."""
    learner, simulator = learner_of(method, models, **options)
    episode = rollout(learner.policy, simulator, 1, "explore", SEED, "one")
    return learner.policy, simulator, episode


def observations(episode: Episodes):
    """What the policy saw before each of its slates."""
    was_bored = np.zeros((1, 10), dtype=np.bool_)
    for turn in range(TURNS):
        users, bored = (p[:, turn] if p.shape[2] else None for p in (episode.users, episode.bored))
        slates, clicks = episode.slates[:, turn].astype(np.int64), episode.clicks[:, turn]
        yield Observation(slates, clicks, users, bored, was_bored)
        was_bored = bored


def acted(policy, episode, draws):
    """Slates and actions that ``act`` chooses after what was shown in ``episode``."""
    policy.begin(1)
    turns = zip(observations(episode), draws, strict=True)
    decisions = [policy.act(seen, "explore", drawn)[:2] for seen, drawn in turns]
    return [torch.cat(part) for part in zip(*decisions, strict=True) if part[0] is not None]


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
@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("dim", DIMS)
@torch.inference_mode()
def test_slates_and_actions_are_those_of_act(models, monkeypatch, method, fidelity, dim):
    monkeypatch.setattr(compiled_vae, "BLOCK_ITEMS", 32)  # a table of several blocks
    options = {"fidelity": fidelity, "dim": dim, "slateq": {"epsilon_start": 0.3}}
    policy, _, episode = played(method, models, **options)
    draws = policy.draws("explore", TURNS, 1, torch_stream(SEED, "policy", "one"))
    ours = [torch.from_numpy(episode.slates[0, 1:].astype(np.int64))]
    if episode.actions.shape[2]:
        ours.append(torch.from_numpy(episode.actions[0]))
    networks = [p for p in (*policy.parameters(), *policy.buffers()) if p.is_floating_point()]
    monkeypatch.setenv("GEMS_KERNELS", "off")
    assert_equal_up_to_rounding(ours, lambda: acted(policy, episode, draws), networks, terms=256)


def test_slateq_explores_with_epsilon(models):
    policy, simulator, _ = played("SlateQ", models)
    policy.epsilon.fill_(1.0)
    episode = rollout(policy, simulator, 1, "explore", SEED, "other")
    counts = np.bincount(episode.slates[0, 1:].ravel(), minlength=N_ITEMS)
    assert (counts > 0).sum() > 0.9 * N_ITEMS


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
    exact = vector.double(), matrix.double()
    assert_equal_up_to_rounding(
        [torch.from_numpy(out[:45])], lambda: [exact[0] @ exact[1]], exact, terms=21
    )
