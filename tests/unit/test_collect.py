"""Datasets made by playing a policy: consistent, readable by others, whole or absent."""

import hashlib

import minari
import numpy as np
import pytest
import torch
from learners import learner_of

from gems.agents.base import Decision, Learner, Policy
from gems.collection import collect as collecting
from gems.collection.collect import collect
from gems.collection.minari_writer import minari_id
from gems.data import dataset
from gems.errors import GemsError
from gems.methods import METHODS
from gems.training.rollout import rollout

TURNS, USERS, SEED, NAME = 5, 6, 3, "GeMS_KL1.0"


@pytest.fixture
def played(models, tmp_path):
    """Collect a tiny dataset; gives its folder, its transitions, the policy and the simulator."""

    def play(method="SAC+GeMS", folder="out", users=USERS, **options):
        agent, simulator = learner_of(method, models, simulator={"turns": TURNS})
        policy = agent.policy if isinstance(agent, Learner) else agent
        options = {"seed": SEED, "name": NAME, **options}
        collect(policy, simulator, tmp_path / folder, users=users, **options)
        with np.load(tmp_path / folder / "d4rl.npz") as arrays:
            return tmp_path / folder, dict(arrays), policy, simulator

    return play


@pytest.fixture(scope="module", autouse=True)
def _chunks():
    """Chunks of four users, so that six are a whole one and a part of another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "CHUNK_USERS", 4)
        yield


class OwnPolicy(Policy):
    """Gives unbounded actions without belief states, in some modes."""

    stored_dim = 2

    def __init__(self, modes):
        super().__init__()
        self.modes = modes

    def act(self, observation, mode, draws):
        n = len(observation.slates)
        actions = torch.full((n, self.stored_dim), 1e6) if mode in self.modes else None
        return Decision(torch.arange(10).repeat(n, 1), actions)


def by_episode(arrays):
    """Arrays (users, turns, ...)."""
    return {name: array.reshape(-1, TURNS, *array.shape[1:]) for name, array in arrays.items()}


def digests(folder):
    """Of all files in a folder, hidden ones included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "ShortTermOracle"])
def test_every_method_can_be_collected(played, method, epsilon):
    _, arrays, policy, simulator = played(method, epsilon=epsilon)
    states = getattr(policy, "belief", None)
    width = 2 * simulator.slate_size if states is None else states.state_dim
    assert arrays["observations"].shape == (USERS * TURNS, width)
    assert len({len(array) for array in arrays.values()}) == 1
    assert np.isfinite(arrays["observations"]).all()
    assert arrays["slates"].min() >= 0
    if not policy.stored_dim:
        np.testing.assert_array_equal(arrays["actions"], arrays["slates"])


def test_the_oracle_is_collected_and_has_no_random_phase(played, tmp_path):
    _, arrays, _, simulator = played("ShortTermOracle")
    assert arrays["slates"].min() >= 0
    size = simulator.slate_size
    np.testing.assert_array_equal(arrays["next_observations"][:, :size], arrays["slates"])
    np.testing.assert_array_equal(arrays["next_observations"][:, size:], arrays["clicks"])
    with pytest.raises(GemsError, match="no random phase"):
        played("ShortTermOracle", folder="mixed", epsilon=0.5)
    assert list((tmp_path / "mixed").iterdir()) == []


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_transitions_are_consistent(played, epsilon):
    _, arrays, policy, _ = played(epsilon=epsilon)
    parts = by_episode(arrays)
    np.testing.assert_array_equal(parts["next_observations"][:, :-1], parts["observations"][:, 1:])
    np.testing.assert_array_equal(arrays["rewards"], arrays["clicks"].sum(-1))
    assert not arrays["terminals"].any()
    np.testing.assert_array_equal(np.flatnonzero(arrays["timeouts"]) % TURNS, [TURNS - 1] * USERS)
    np.testing.assert_array_equal(arrays["episodes"], np.repeat(np.arange(USERS), TURNS))
    np.testing.assert_array_equal(arrays["turns"], np.tile(np.arange(TURNS), USERS))
    actions = torch.from_numpy(arrays["actions"])
    np.testing.assert_array_equal(policy.ranker.rank(actions).numpy(), arrays["slates"])


@pytest.mark.parametrize("method", ["SAC+GeMS", "SAC+WkNN", "SlateQ", "REINFORCE+SoftMax"])
def test_a_greedy_collection_is_a_rollout(played, method):
    _, arrays, policy, simulator = played(method, users=3)
    episodes = rollout(policy, simulator, 3, "greedy", SEED, "collect", 0)
    np.testing.assert_array_equal(by_episode(arrays)["slates"], episodes.slates[:, 1:])
    np.testing.assert_array_equal(by_episode(arrays)["clicks"], episodes.clicks[:, 1:])
    if policy.stored_dim:
        np.testing.assert_array_equal(by_episode(arrays)["actions"], episodes.actions)
    seen = (torch.from_numpy(part) for part in (episodes.slates.astype(np.int64), episodes.clicks))
    slates, clicks = seen
    with torch.no_grad():
        states = policy.belief(slates, clicks.float()).numpy()
    parts = by_episode(arrays)
    np.testing.assert_allclose(parts["observations"], states[:, :-1], atol=1e-5)
    np.testing.assert_allclose(parts["next_observations"], states[:, 1:], atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.5, 1.0])
def test_a_mixture_keeps_the_beliefs_of_the_whole_history(played, epsilon):
    for method in ("SAC+GeMS", "REINFORCE+SoftMax"):
        _, arrays, policy, _ = played(method, epsilon=epsilon)
        parts = by_episode(arrays)
        # The belief encoder starts from its state after the first slate, which is not stored.
        slates, clicks = (torch.from_numpy(parts[part]) for part in ("slates", "clicks"))
        inputs = policy.belief.inputs(slates.long(), clicks.float())
        start = torch.from_numpy(parts["observations"][:, 0]).unsqueeze(0)
        with torch.no_grad():
            states = policy.belief.gru(inputs, start)[0].numpy()
        np.testing.assert_allclose(parts["next_observations"], states, atol=1e-5)


def test_the_dataset_is_logged_data_of_the_same_slates(played):
    folder, arrays, _, simulator = played(meta={"environment": "focused_divpen"})
    data = dataset.read(folder)
    assert data.meta["items"] == simulator.n_items
    assert data.meta["environment"] == "focused_divpen"
    assert data.meta["collection"]["epsilon"] == 0
    read = data.read(slice(None))
    np.testing.assert_array_equal(read.items, arrays["slates"])
    np.testing.assert_array_equal(read.clicks, arrays["clicks"])


@pytest.mark.parametrize("method", ["SAC+GeMS", "Random"])
def test_minari_reads_the_same_numbers(played, monkeypatch, method):
    folder, arrays, *_ = played(method, epsilon=0.5)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    assert list(minari.list_local_datasets()) == [minari_id(NAME)]
    data = minari.load_dataset(minari_id(NAME))
    assert (data.total_episodes, data.total_steps) == (USERS, USERS * TURNS)
    parts = by_episode(arrays)
    for number, episode in enumerate(data.iterate_episodes()):
        np.testing.assert_array_equal(episode.observations[:-1], parts["observations"][number])
        np.testing.assert_array_equal(episode.observations[1:], parts["next_observations"][number])
        np.testing.assert_array_equal(episode.infos["slates"][1:], parts["slates"][number])
        np.testing.assert_array_equal(episode.infos["clicks"][1:], parts["clicks"][number])
        np.testing.assert_array_equal(episode.infos["explored"], parts["explored"][number])
        for ours, name in (
            (episode.actions, "actions"),
            (episode.rewards, "rewards"),
            (episode.terminations, "terminals"),
            (episode.truncations, "timeouts"),
        ):
            np.testing.assert_array_equal(ours, parts[name][number])
        assert all(
            action in data.action_space
            for action in episode.actions.astype(data.action_space.dtype)
        )
        assert all(seen in data.observation_space for seen in episode.observations)
    assert data.action_space.shape == arrays["actions"].shape[1:]


def test_a_policy_of_ones_own_may_leave_out_states_and_bounds(models, tmp_path, monkeypatch):
    _, simulator = learner_of("SAC+GeMS", models, simulator={"turns": TURNS})
    options = {"users": USERS, "seed": SEED, "name": NAME, "epsilon": 0.5}
    collect(OwnPolicy(("greedy", "random")), simulator, tmp_path, **options)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    data = minari.load_dataset(minari_id(NAME))
    assert data[0].actions[0] in data.action_space
    assert not data.action_space.is_bounded()
    with pytest.raises(GemsError, match="must give actions in mode random"):
        collect(OwnPolicy(("greedy",)), simulator, tmp_path, **options)


@pytest.mark.parametrize("kernels", ["on", "off"])
def test_a_policy_that_has_played_gives_the_same_as_a_new_one(
    models, tmp_path, monkeypatch, kernels
):
    monkeypatch.setenv("GEMS_KERNELS", kernels)
    options = {"users": USERS, "seed": SEED, "name": NAME, "epsilon": 0.5}
    for folder in ("new", "used"):
        learner, simulator = learner_of("SAC+WkNN", models, simulator={"turns": TURNS})
        if folder == "used":
            rollout(learner.policy, simulator, 3, "greedy", SEED)
        collect(learner.policy, simulator, tmp_path / folder, **options)
    assert digests(tmp_path / "new") == digests(tmp_path / "used")


@pytest.mark.parametrize("method", ["SAC+GeMS", "SAC+TopK-MF"])
def test_epsilon_is_the_share_of_random_actions_within_the_bounds(played, method):
    _, greedy, policy, _ = played(method, users=60)
    _, mixed, *_ = played(method, users=60, epsilon=0.3)
    share = mixed["explored"].mean()
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / (60 * TURNS)) ** 0.5
    assert not greedy["explored"].any()
    low, high = (bound.numpy() for bound in policy.action_bounds())
    for arrays in (greedy, mixed):
        assert (arrays["actions"] >= low).all()
        assert (arrays["actions"] <= high).all()
    # Until a user's first random action, both collections are the same.
    before = ~np.logical_or.accumulate(by_episode(mixed)["explored"], axis=1)
    greedy, mixed = (by_episode(arrays)["actions"] for arrays in (greedy, mixed))
    np.testing.assert_array_equal(greedy[before], mixed[before])
    explored = mixed[:, 0][~before[:, 0]]
    middle, width = (low + high) / 2, (high - low) / 2
    assert (np.abs(explored - middle) <= 0.5001 * width).all()


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(played):
    first, *_ = played(folder="first", epsilon=0.5)
    second, *_ = played(folder="second", epsilon=0.5)
    other, *_ = played(folder="other", epsilon=0.5, seed=4)
    assert digests(first) == digests(second)
    assert digests(first).keys() == digests(other).keys()
    assert digests(first)["d4rl.npz"] != digests(other)["d4rl.npz"]


def test_collections_of_different_sizes_share_whole_chunks(played):
    _, small, *_ = played(folder="small", epsilon=0.5, users=4)
    _, large, *_ = played(folder="large", epsilon=0.5, users=6)
    for name, array in small.items():
        np.testing.assert_array_equal(array, large[name][: len(array)])


@pytest.mark.parametrize("error", [SystemExit(143), RuntimeError("a bug"), OSError(28, "full")])
def test_an_interrupted_collection_leaves_the_folder_as_it_was(played, monkeypatch, error):
    folder, *_ = played()
    before = digests(folder)
    play = collecting.Player.play

    def stop(self, n, first):
        if first > 0:
            raise error
        return play(self, n, first)

    monkeypatch.setattr(collecting.Player, "play", stop)
    with pytest.raises(GemsError if isinstance(error, OSError) else type(error)):
        played(epsilon=0.5)
    assert digests(folder) == before
    with pytest.raises(GemsError if isinstance(error, OSError) else type(error)):
        played(folder="new")
    assert list((folder.parent / "new").iterdir()) == []


def test_files_of_killed_and_earlier_collections_are_removed(played, tmp_path):
    leftover = tmp_path / "out" / ".1234.tmp"
    leftover.mkdir(parents=True)
    (leftover / "slates.npy").touch()
    folder, *_ = played()
    assert {path.name for path in folder.iterdir()} == {
        *("slates.npy", "clicks.npy", "dataset.json", "d4rl.npz", "minari"),
    }
    played(formats=["d4rl"])
    assert not (folder / "minari").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 1.5}, "between 0 and 1"),
        ({"users": 0}, "positive"),
        ({"formats": ["d4lr"]}, "did you mean 'd4rl'"),
    ],
)
def test_wrong_arguments_are_refused(played, options, message):
    with pytest.raises(GemsError, match=message):
        played(**options)
