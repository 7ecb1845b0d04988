"""A seventh environment is data: it is used wherever a built-in one is."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from gems.config import build
from gems.config.paper import ENVIRONMENTS
from gems.data import dataset
from gems.data.logging_policy import log_users
from gems.envs import items
from gems.envs.definitions import EMBEDDINGS
from gems.envs.simulator import Simulator
from gems.errors import GemsError
from gems.methods import METHODS, Context
from gems.pretraining.vae import SlateVAE, load_ranker
from gems.runtime.weights import save_weights
from gems.training.rollout import rollout

EXAMPLE = """
custom_environments:
  short_slates:
    items: {generate: focused, count: 60, topics: 8, topic_dim: 3}
    click_model: {top_down: 0.7, decay: 0.9, diversity_penalty: 3, diversity_threshold: 3}
    simulator: {slate_size: 5, turns: 12, boredom_turns: 3}
  same_items:
    click_model: {top_down: 0}
  own_items:
    items: {file: FILE, topics: 8, topic_dim: 3}
environments: [focused_topdown, short_slates]
tracking: {mode: disabled}
logging: {users: 40}
training: {episodes: 6, random_episodes: 3, validate_every: 3, validation_users: 2}
"""
NAME = "short_slates"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "mine.npy"
    items.save(path, items.generate(4, "diffuse", 33, 1.0, topics=8, topic_dim=3))
    return build(yaml.safe_load(EXAMPLE.replace("FILE", str(path))))


@pytest.fixture(scope="module")
def simulator(config):
    environment = config.environment(NAME)
    return Simulator(items.make(environment.items.name, config), environment)


@pytest.fixture(scope="module")
def data(config, simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("environments") / "dataset"
    log_users(simulator, config.logging, NAME, folder)
    return dataset.read(folder)


@pytest.fixture(scope="module")
def models(config, tmp_path_factory):
    """Pretrained models of random weights."""
    folder = tmp_path_factory.mktemp("models")
    vae = SlateVAE(60, 5, config.vae)
    bounds = {"bounds.low": -3 * torch.ones(32), "bounds.high": 3 * torch.ones(32)}
    described = {"items": 60, "vae": config.vae.model_dump(mode="json")}
    save_weights(folder / "vae.safetensors", {**vae.state_dict(), **bounds}, described)
    save_weights(folder / "mf.safetensors", {"items": torch.randn(60, 20)}, {})
    return {name: folder / f"{name}.safetensors" for name in ("vae", "mf")}


def refusal(**values):
    with pytest.raises(GemsError) as raised:
        build(values)
    message = str(raised.value)
    assert message.startswith("In the configuration")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_the_simulator_has_the_sizes_of_its_environment(simulator):
    seen = simulator.reset(3, np.random.default_rng(0))
    assert simulator.sizes == (60, 5, 8, 24)
    assert [part.shape[1] for part in seen] == [5, 5, 24, 8, 8]


def test_items_of_another_number_of_topics_are_refused(config):
    with pytest.raises(ValueError, match="the items must have 8 topics"):
        Simulator(items.generate(1, "focused", 60, 1.0), config.environment(NAME))


def test_options_that_are_not_given_are_those_of_the_sections(config):
    environment = config.environment(NAME)
    changed = {"slate_size": 5, "turns": 12, "boredom_turns": 3}
    expected = config.simulator.model_dump() | changed
    assert environment.simulator.model_dump() == expected
    assert environment.items.seed == config.items.seed


def test_clicks_are_those_of_the_click_model(simulator):
    ranks = np.arange(5)
    examination = 0.7 * 0.9**ranks + 0.3 * 0.9 ** (4 - ranks)
    scores = np.full((2, 5), 1, dtype=np.float32)
    topics = np.array([[0, 1, 2, 3, 4], [7, 7, 0, 1, 7]])
    found = simulator.click_model.click_probabilities(scores, topics)
    np.testing.assert_allclose(found, [examination, examination / 3], rtol=1e-5)


def test_items_that_are_not_changed_are_those_of_the_built_in_environments(config):
    assert config.environment("same_items").items == config.environment("focused_mix").items
    assert list(config.item_embeddings()) == [*EMBEDDINGS, NAME, "own_items"]
    assert config.environment("diffuse_divpen").items.name == "diffuse"


def test_items_come_from_the_file_of_the_environment(config):
    made = items.make("own_items", config)
    expected = items.generate(4, "diffuse", 33, 1.0, topics=8, topic_dim=3)
    np.testing.assert_array_equal(made.embeddings, expected.embeddings)
    assert made.topics == 8


def test_a_file_of_other_sizes_is_refused(config):
    file = config.environment("own_items").items.file
    for wrong, told in (
        ({"topics": 8}, "8 topics of 2 dimensions"),
        ({"topics": 8, "topic_dim": 3, "count": 34}, r"holds 33 items, but items\.count is 34"),
    ):
        other = build({"custom_environments": {"a": {"items": {"file": file, **wrong}}}})
        with pytest.raises(GemsError, match=told):
            items.make("a", other)


def test_slates_larger_than_the_file_are_refused(config):
    file = config.environment("own_items").items.file
    sized = {"topics": 8, "topic_dim": 3, "file": file}
    sized = {"items": sized, "simulator": {"slate_size": 34}}
    environment = build({"custom_environments": {"a": sized}}).environment("a")
    with pytest.raises(GemsError, match="shows slates of 34 items, but has 33 items"):
        Simulator(items.load(Path(file), 8, 3), environment)


def test_sizes_may_be_changed_for_all_environments():
    sized = {"items": {"topics": 4, "topic_dim": 5}, "simulator": {"slate_size": 12}}
    config = build(sized)
    for name in ENVIRONMENTS:
        environment = config.environment(name)
        made = Simulator(items.make(environment.items.name, config), environment)
        assert made.sizes == (1000, 12, 4, 20)


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"items": {"kount": 60}}, "did you mean 'custom_environments.a.items.count'?"),
        ({"items": {"count": 0}}, "custom_environments.a.items.count"),
        ({"items": {"generate": "mine"}}, "'focused' or 'diffuse'"),
        ({"items": {"file": "a.npy", "seed": 0}}, "remove seed or file"),
        (
            {"items": {"count": 9}},
            "custom_environments.a.items.count: slates of 10 items need at least 10",
        ),
        ({"click_model": {"kind": "cascades"}}, "'cascades' is not a known click model"),
        ({"click_model": {"top_down": 1.5}}, "custom_environments.a.click_model.top_down"),
        ({"click_model": {"topdown": 1}}, "did you mean 'top_down'?"),
        ({"simulator": {"turn": 1}}, "did you mean 'turns'?"),
        ({"simulator": {"slate_size": 0}}, "custom_environments.a.simulator.slate_size"),
        ({"click": {}}, "did you mean 'custom_environments.a.click_model'?"),
        (5, "custom_environments.a"),
    ],
)
def test_a_wrong_definition_is_told_in_one_sentence(definition, told):
    assert told in refusal(custom_environments={"a": definition})


@pytest.mark.parametrize(
    "name",
    ["", "focused", "focused_mix", "a b", "../a", ".a", "a_seed1", "a_KL1.0", "a_file"],
)
def test_a_name_that_is_taken_or_ambiguous_is_refused(name):
    assert repr(name) in refusal(custom_environments={name: {}})


def test_an_unknown_environment_is_told_with_the_custom_ones():
    message = refusal(environments=["mini"], custom_environments={"mine": {}})
    assert "did you mean 'mine'?" in message


def test_what_a_stage_depends_on_is_plain_and_changes_with_the_options(config):
    values = config.environment(NAME).values()
    assert yaml.safe_load(yaml.safe_dump(values)) == values
    other = build({"custom_environments": {NAME: {"simulator": {"slate_size": 5}}}})
    assert other.environment(NAME).values() != values


def test_logged_data_has_slates_of_the_environment(data):
    slates = data.read(slice(None))
    assert (data.users, data.turns, data.slate_size) == (40, 12, 5)
    assert slates.items.shape == slates.clicks.shape == (480, 5)
    assert 0 < slates.clicks.mean() < 1


def test_a_slate_vae_learns_from_its_logged_data(config, data, tmp_path):
    from gems.pretraining.vae_training import action_bounds

    vae = SlateVAE(data.meta["items"], data.slate_size, config.vae)
    slates, clicks = map(torch.from_numpy, data.read(slice(None)))
    optimiser = torch.optim.Adam(vae.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = vae.losses(slates, clicks, None).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    low, high = action_bounds(vae, data)
    path, bounds = tmp_path / "vae.safetensors", {"bounds.low": low, "bounds.high": high}
    described = {"items": 60, "vae": config.vae.model_dump(mode="json")}
    save_weights(path, {**vae.state_dict(), **bounds}, described)
    assert load_ranker(path, 60, 5, 32).rank(torch.zeros(3, 32)).shape == (3, 5)
    with pytest.raises(GemsError, match="trained with slates of 5 items; 10 are needed"):
        load_ranker(path, 60, 10, 32)


def test_items_are_factorised_from_its_logged_data(config, data):
    from gems.pretraining.mf import BPR

    factorisation = BPR(data, config.mf)
    assert factorisation.items.weight.shape == (60, 20)
    ids = torch.tensor([0, 1])
    assert torch.isfinite(factorisation.loss(ids, ids, ids + 2))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_acts_in_it(config, simulator, models, method, tmp_path):
    from gems.training.checkpoint import TrainingState
    from gems.training.loop import Trainer

    torch.manual_seed(0)
    agent = METHODS[method].build(Context(config, simulator, NAME, models))
    if METHODS[method].trained:
        trainer = Trainer(agent, simulator, config.training, 1, torch.device("cpu"))
        trainer.train("test", TrainingState(tmp_path, "test"), SimpleNamespace(log=print))
        assert [row["episode"] for row in trainer.curve] == [3, 6]
        agent = agent.policy
    episodes = rollout(agent, simulator, 4, "greedy", 1, "test")
    assert episodes.slates.shape == (4, 13, 5)
    assert ((episodes.slates >= 0) & (episodes.slates < 60)).all()
