"""Without compiled code every method trains to the same results; what users add needs none."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from learners import N_ITEMS, TRAINED, learner_of
from torch import nn

from gems import kernels
from gems.agents.belief import Belief
from gems.agents.sac import SAC, SACPolicy, sac
from gems.agents.topk import TopK
from gems.data.replay import Batch, Episodes
from gems.runtime.randomness import distinct_items, torch_stream
from gems.training.rollout import rollout

ROOT = Path(__file__).parents[2]
SIZE = 10
AGENT = {"gamma": 0.8, "hidden_dim": 32, "embedding_dim": 20, "state_dim": 20}
RATES = {"tau": 0.002, "q_lr": 1e-3, "policy_lr": 3e-3, "alpha_lr": 1e-3, "initial_alpha": 0.2}
# Of two trainings that differ in rounding only: of figures relative, and for each tensor of the
# distance between its final values, relative to the distance from its initial ones.
FIGURE_TOLERANCE, WEIGHT_TOLERANCE = 1e-4, 1e-2


@pytest.fixture(autouse=True)
def _one_thread():
    """Batches are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Trained(NamedTuple):
    """What came of a training: figures of updates, returns when greedy, and the state."""

    figures: list[float]
    returns: list[float]
    state: dict[str, torch.Tensor]


def train(learner, simulator, seed):
    """Explore and update a few times; ``learner`` stays as it is."""
    learner = copy.deepcopy(learner)
    shown = rollout(learner.policy, simulator, 6, "random", seed, "random")
    figures = []
    for number in range(9):
        learner.start_episode(number)
        new = rollout(learner.policy, simulator, 1, "explore", seed, "train", number)
        shown = Episodes._make(np.concatenate(parts) for parts in zip(shown, new, strict=True))
        batch = Batch.of(new if learner.on_policy else shown, torch.device("cpu"))
        figures += learner.update(batch, torch_stream(seed, "update", number)).values()
    greedy = rollout(learner.policy, simulator, 5, "greedy", seed, "validation")
    return Trained(figures, greedy.returns.tolist(), learner.state_dict())


def agree(ours, plain, initial):
    """Whether two trainings from ``initial`` differ in rounding only."""
    distances = [
        ((ours.state[name] - value).norm(), (value - initial[name]).norm())
        for name, value in plain.state.items()
        if value.is_floating_point()
    ]
    return (
        np.allclose(ours.figures, plain.figures, rtol=FIGURE_TOLERANCE, atol=FIGURE_TOLERANCE)
        and ours.returns == plain.returns
        and all(apart <= WEIGHT_TOLERANCE * moved for apart, moved in distances)
    )


@pytest.mark.parametrize("fidelity", ["released", "paper"])
@pytest.mark.parametrize("method", TRAINED)
def test_training_without_kernels_gives_the_same(models, monkeypatch, method, fidelity):
    options = {"simulator": {"turns": 12}, "slateq": {"epsilon_start": 0.5}}
    learner, simulator = learner_of(method, models, fidelity, **options)
    initial = copy.deepcopy(learner.state_dict())

    def with_switch(value, seed):
        monkeypatch.setenv("GEMS_KERNELS", value)
        return train(learner, simulator, seed)

    # Once in a while rounding decides between two items, and the trainings part. What computed
    # anything else would part with every seed.
    seeds = (3, 4, 5)
    assert any(agree(with_switch("on", s), with_switch("off", s), initial) for s in seeds)
    assert not agree(with_switch("on", 3), with_switch("off", 4), initial)


@pytest.mark.parametrize("method", TRAINED)
def test_every_trained_method_explores_by_compiled_code(models, monkeypatch, method):
    policy = learner_of(method, models)[0].policy
    assert kernels.twin_of(policy) is not None
    monkeypatch.setenv("GEMS_KERNELS", "off")
    assert kernels.twin_of(policy) is None


def test_twins_are_for_single_precision_on_the_cpu(monkeypatch):
    assert kernels.use(torch.zeros(1))
    assert not kernels.use(torch.zeros(1, dtype=torch.float64))
    assert not kernels.use(torch.zeros(1, dtype=torch.int64))
    assert not kernels.use(torch.zeros(1, device="meta"))
    monkeypatch.setenv("GEMS_KERNELS", "off")
    assert not kernels.use(torch.zeros(1))


def test_distinct_items_are_those_of_a_fisher_yates_shuffle():
    uniforms = np.random.default_rng(0).random((500, SIZE))
    uniforms[0], uniforms[1] = 0.0, 1 - 2**-53
    for row, found in zip(uniforms, distinct_items(uniforms, 12), strict=True):
        items = list(range(12))
        for i in range(SIZE):
            j = i + int(row[i] * (12 - i))
            items[i], items[j] = items[j], items[i]
        assert items[:SIZE] == found.tolist()


WITHOUT_NUMBA = """
import pkgutil, sys
from importlib import import_module
sys.modules["numba"] = sys.modules["llvmlite"] = None
import gems.agents, gems.training.rollout
for module in pkgutil.iter_modules(gems.agents.__path__):
    import_module("gems.agents." + module.name)
print([name for name in sys.modules if name.startswith("gems.kernels.")])
"""


def test_agents_need_no_numba():
    command = [sys.executable, "-c", WITHOUT_NUMBA]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")


# What a user adds


class FirstItems(nn.Module):
    """A plain ranker: the items that follow the one that the action names."""

    def __init__(self):
        super().__init__()
        self.register_buffer("center", torch.full((3,), 20.0))
        self.register_buffer("scale", torch.full((3,), 20.0))
        self.asked = 0

    def rank(self, actions):
        self.asked += 1
        first = actions[:, :1].long().clamp(0, N_ITEMS - SIZE)
        return first + torch.arange(SIZE)


class BackwardsPolicy(SACPolicy):
    """Turns the slates of its ranker round."""

    def rank(self, actions, states, observation):
        return super().rank(actions, states, observation).flip(-1)


class LongMemory(Belief):
    """A belief with a GRU of two layers."""

    def __init__(self):
        super().__init__(N_ITEMS, SIZE, embedding_dim=20, state_dim=20)
        self.gru = nn.GRU(self.gru.input_size, 20, num_layers=2, batch_first=True)

    def begin(self, n):
        super().begin(n)
        self._state = torch.zeros(2, n, 20)


def assert_trains(learner, simulator):
    initial = copy.deepcopy(learner.state_dict())
    found = train(learner, simulator, 3)
    assert np.isfinite(found.figures).all()
    moved = [name for name in initial if not torch.equal(initial[name], found.state[name])]
    for part in ("policy.belief.gru", "policy.head.net", "critics.0", "targets.1"):
        assert any(name.startswith(part) for name in moved)
    assert not any(".ranker." in name for name in moved)


def test_a_plain_ranker_trains(models):
    _, simulator = learner_of("SAC+TopK-ideal", models, simulator={"turns": 12})
    ranker = FirstItems()
    learner = sac(ranker, N_ITEMS, SIZE, **AGENT, belief_tables="equal", **RATES)
    assert kernels.twin_of(learner.policy) is None
    assert_trains(learner, simulator)
    episode = rollout(learner.policy, simulator, 1, "explore", 3, "plain").slates[0, 1:]
    assert (np.diff(episode) == 1).all()
    assert ranker.asked == 12


@pytest.mark.parametrize("belief", [LongMemory, None])
def test_a_subclass_acts_by_its_own_methods(models, belief):
    _, simulator = learner_of("SAC+TopK-ideal", models, simulator={"turns": 12})
    actor, critic = (
        LongMemory() if belief else Belief(N_ITEMS, SIZE, embedding_dim=20, state_dim=20)
        for _ in range(2)
    )
    ranker = TopK(torch.from_numpy(simulator.items.embeddings), SIZE)
    policy = BackwardsPolicy(actor, ranker, hidden_dim=32)
    assert_trains(SAC(policy, critic, gamma=0.8, hidden_dim=32, **RATES), simulator)
    stored = rollout(policy, simulator, 1, "explore", 3, "own")
    best = ranker.rank(torch.from_numpy(stored.actions[0])).numpy()
    np.testing.assert_array_equal(stored.slates[0, 1:], best[:, ::-1])
