"""Wrappers that turn continuous actions into slates."""

import gymnasium
import numpy as np
import pytest
import torch

import gems
from gems.config import build
from gems.errors import GemsError
from gems.runtime.weights import save_weights
from gems.sections import VAEConfig

NAME = "gems/focused_topdown-v0"
SMALL = {"config": {"items": {"count": 40}}, "slate_size": 4, "turns": 6}


@pytest.fixture
def vae(tmp_path):
    """A slate VAE of random weights for the small environment."""
    from gems.pretraining.vae import SlateVAE

    torch.manual_seed(0)
    config = build({"vae": {"latent_dim": 5}}).of(VAEConfig)
    weights = SlateVAE(40, 4, config).state_dict()
    bounds = {"bounds.low": -2 * torch.ones(5), "bounds.high": 3 * torch.ones(5)}
    described = {"items": 40, "vae": config.model_dump(mode="json")}
    save_weights(tmp_path / "vae.safetensors", {**weights, **bounds}, described)
    return tmp_path / "vae.safetensors"


def test_top_k_actions_show_the_items_with_the_largest_products(tmp_path):
    table = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.save(tmp_path / "table.npy", table)
    save_weights(tmp_path / "mf.safetensors", {"items": torch.tensor(table)}, {})
    for given in (table, tmp_path / "table.npy", str(tmp_path / "mf.safetensors")):
        env = gems.TopKActions(gymnasium.make(NAME, **SMALL), given)
        assert np.allclose(env.action_space.low, table.min(axis=0), atol=1e-6)
        assert np.allclose(env.action_space.high, table.max(axis=0), atol=1e-6)
        env.reset(seed=1)
        action = env.action_space.sample()
        observation = env.step(action)[0]
        assert np.array_equal(observation["slate"], np.argsort(-table @ action)[:4])


def test_top_k_actions_use_the_items_of_the_environment_by_default():
    env = gems.TopKActions(gymnasium.make(NAME, **SMALL))
    rows = env.unwrapped.simulator.items.embeddings
    env.reset(seed=1)
    slate = env.step(rows[17])[0]["slate"]
    assert np.array_equal(slate, np.argsort(-rows @ rows[17])[:4])


def test_latent_actions_show_the_slates_that_the_vae_decodes(vae):
    from gems.pretraining.vae import load_ranker

    env = gems.LatentActions(gymnasium.make(NAME, **SMALL), vae)
    assert (env.action_space.low == -2).all()
    assert (env.action_space.high == 3).all()
    env.reset(seed=1)
    action = env.action_space.sample()
    expected = load_ranker(vae, 40, 4, 5).rank(torch.tensor(action)[None])[0]
    assert np.array_equal(env.step(action)[0]["slate"], expected)


@pytest.mark.parametrize("kind", ["latent", "top-k"])
def test_vector_wrappers_show_the_slates_of_single_ones(kind, vae):
    single, batched = {
        "latent": (gems.LatentActions, gems.VectorLatentActions),
        "top-k": (gems.TopKActions, gems.VectorTopKActions),
    }[kind]
    arguments = (vae,) if kind == "latent" else ()
    envs = batched(gymnasium.make_vec(NAME, num_envs=3, **SMALL), *arguments)
    alone = [single(gymnasium.make(NAME, **SMALL), *arguments) for _ in range(3)]
    assert envs.single_action_space == alone[0].action_space
    envs.reset(seed=4)
    for user, env in enumerate(alone):
        env.reset(seed=4 + user)
    envs.action_space.seed(0)
    for _ in range(5):
        actions = envs.action_space.sample()
        observations, rewards, *_ = envs.step(actions)
        for user, env in enumerate(alone):
            observation, reward, *_ = env.step(actions[user])
            assert np.array_equal(observation["slate"], observations["slate"][user])
            assert np.array_equal(observation["clicks"], observations["clicks"][user])
            assert reward == rewards[user]


def test_wrapped_environments_can_be_made_again_from_their_spec(vae):
    env = gems.LatentActions(gymnasium.make(NAME, **SMALL), vae)
    again = gymnasium.make(env.spec)
    env.reset(seed=1)
    again.reset(seed=1)
    action = env.action_space.sample()
    assert np.array_equal(env.step(action)[0]["slate"], again.step(action)[0]["slate"])
    assert again.action_space == env.action_space


def test_wrappers_refuse_models_of_other_sizes(vae, tmp_path):
    larger = gymnasium.make(NAME, slate_size=4)
    table = np.ones((39, 3))
    with pytest.raises(GemsError, match=r"40 items .* 1000 and 5 are needed"):
        gems.LatentActions(larger, vae)
    longer = gymnasium.make(NAME, **{**SMALL, "slate_size": 6})
    with pytest.raises(GemsError, match="slates of 4 items; 6 are needed"):
        gems.LatentActions(longer, vae)
    with pytest.raises(GemsError, match="nothing does not exist"):
        gems.LatentActions(larger, tmp_path / "nothing")
    with pytest.raises(GemsError, match="has 39 items; the environment has 1000"):
        gems.TopKActions(larger, table)
    for wrong in (np.ones(1000), np.full((1000, 2), np.nan)):
        with pytest.raises(GemsError, match="finite numbers of shape"):
            gems.TopKActions(larger, wrong)
    with pytest.raises(GemsError, match="Only environments whose actions are slates"):
        gems.TopKActions(gems.TopKActions(larger), table)
    env = gems.TopKActions(larger)
    env.reset(seed=1)
    with pytest.raises(GemsError, match="must have 20 dimensions"):
        env.step(np.zeros(3, dtype=np.float32))
