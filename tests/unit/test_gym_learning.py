"""Agents of stable-baselines3 learn in the Gymnasium environments."""

import gymnasium
import pytest
import torch
from stable_baselines3 import PPO, SAC

import gems
from gems.config import build
from gems.pretraining.vae import SlateVAE
from gems.runtime.weights import save_weights
from gems.sections import VAEConfig

N_ITEMS, SLOTS, LATENT = 12, 2, 4

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def easy():
    """Few items, and users who are never bored: the best is to keep to a good topic."""
    return gymnasium.make(
        "gems/focused_topdown-v0",
        config={"items": {"count": N_ITEMS}},
        slate_size=SLOTS,
        turns=10,
        boredom_threshold=100,
        influence=0.5,
        relevance_threshold=0.3,
        sharpness=20,
    )


def mean_return(env, act, episodes=200):
    total = 0.0
    for episode in range(episodes):
        observation, over = env.reset(seed=1000 + episode)[0], False
        while not over:
            observation, reward, _, over, _ = env.step(act(observation))
            total += reward
    return total / episodes


def gain(env, model):
    """Mean return of a trained agent, and of random actions."""
    env.action_space.seed(0)
    random = mean_return(env, lambda observation: env.action_space.sample())
    return mean_return(env, lambda seen: model.predict(seen, deterministic=True)[0]), random


def test_ppo_learns_slates():
    options = {"n_steps": 256, "batch_size": 64, "learning_rate": 3e-3, "gamma": 0.9, "seed": 0}
    model = PPO("MultiInputPolicy", easy(), **options)
    trained, random = gain(easy(), model.learn(4096))
    assert trained > 1.25 * random


def test_sac_learns_latent_actions(tmp_path):
    torch.manual_seed(0)
    config = build({"vae": {"latent_dim": LATENT}}).of(VAEConfig)
    weights = SlateVAE(N_ITEMS, SLOTS, config).state_dict()
    bounds = {"bounds.low": -3 * torch.ones(LATENT), "bounds.high": 3 * torch.ones(LATENT)}
    described = {"items": N_ITEMS, "vae": config.model_dump(mode="json")}
    file = tmp_path / "vae.safetensors"
    save_weights(file, {**weights, **bounds}, described)

    env = gems.LatentActions(easy(), file)
    options = {"learning_rate": 3e-3, "gamma": 0.9, "learning_starts": 200, "seed": 0}
    policy = {"net_arch": [64, 64]}
    model = SAC("MultiInputPolicy", env, buffer_size=10_000, policy_kwargs=policy, **options)
    trained, random = gain(env, model.learn(2000))
    assert trained > 1.25 * random
