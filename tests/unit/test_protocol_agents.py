"""What agents promise beside single updates: how they act, explore and start (Section 6)."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from learners import N_ITEMS, TRAINED, TURNS, learner_of
from scipy import stats

from gems.agents.belief import Belief
from gems.agents.fixed import RandomPolicy
from gems.agents.sac_wknn import WkNNPolicy
from gems.config import build
from gems.data.replay import Batch
from gems.envs import items
from gems.methods import METHODS
from gems.runtime.weights import load_weights
from gems.sections import SACConfig
from gems.training.rollout import rollout
from gems.training.run import Run

SACS = [name for name in TRAINED if SACConfig in METHODS[name].options]
LEAST_P = 1e-4  # of chance alone
NO_DRAWS = torch.empty(4, 0)


class ManyUsers(NamedTuple):
    """An observation for policies that only count users."""

    slates: np.ndarray


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def observed(simulator, n=4):
    return simulator.reset(n, np.random.default_rng(5))


def batch_of(learner, simulator, n=2):
    episodes = rollout(learner.policy, simulator, n, "random", 5, "batch")
    return Batch.of(episodes, torch.device("cpu"))


def ranked(policy, monkeypatch):
    """The actions, turn by turn, that ``policy`` ranks items by from now on."""
    actions, rank = [], policy.rank

    def noted(action, *rest):
        actions.append(action.clone())
        return rank(action, *rest)

    monkeypatch.setattr(policy, "rank", noted)
    return actions


def is_uniform(chosen, n_items):
    """Whether each of ``n_items`` items was chosen about equally often."""
    return stats.chisquare(np.bincount(np.ravel(chosen), minlength=n_items)).pvalue > LEAST_P


def repeats_items(slates):
    return (np.diff(np.sort(slates, axis=-1)) == 0).any(axis=-1)


# How agents act


@pytest.mark.parametrize("method", TRAINED)
@torch.inference_mode()
def test_acting_greedily_draws_nothing(models, method):
    learner, _ = learner_of(method, models, slateq={"epsilon_start": 1.0})
    numbers = generator()
    before = numbers.get_state()
    assert learner.policy.draws("greedy", 7, 4, numbers).shape == (7, 4, 0)
    assert torch.equal(numbers.get_state(), before)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("method", TRAINED)
def test_exploring_differs_by_the_stream_and_from_acting_greedily(models, method, n):
    learner, simulator = learner_of(method, models, slateq={"epsilon_start": 0.5})
    modes = ("explore", "a"), ("explore", "b"), ("greedy", "a")
    first, other, greedy = (
        rollout(learner.policy, simulator, n, mode, 3, name).slates for mode, name in modes
    )
    assert (first != other).any()
    assert (first[:, 1:] != greedy[:, 1:]).any()


@pytest.mark.parametrize("fidelity", ["released", "paper"])
@pytest.mark.parametrize("method", TRAINED)
@torch.inference_mode()
def test_new_users_are_met_as_if_there_had_been_no_others(models, method, fidelity):
    learner, simulator = learner_of(method, models, fidelity)
    policy, chosen = learner.policy, []
    for _ in range(2):
        seen = observed(simulator)
        policy.begin(4)
        for _ in range(3):
            decision = policy.act(seen, "greedy", NO_DRAWS)
            chosen.append(decision.slates)
            seen = simulator.step(decision.slates.numpy())
    for before, after in zip(chosen[:3], chosen[3:], strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("mode", ["random", "explore", "greedy"])
@pytest.mark.parametrize("method", SACS)
def test_actions_that_are_stored_are_those_that_were_shown(models, method, mode):
    learner, simulator = learner_of(method, models)
    policy = learner.policy
    for n in (1, 3):
        episodes = rollout(policy, simulator, n, mode, 3, "stored")
        if policy.stored_dim:
            actions = torch.from_numpy(episodes.actions).flatten(0, 1)
            shown = episodes.slates[:, 1:].reshape(len(actions), -1)
            np.testing.assert_array_equal(policy.ranker.rank(actions).numpy(), shown)


@pytest.mark.parametrize("method", SACS)
def test_random_actions_of_sac_are_uniform_over_the_middle_half(models, monkeypatch, method):
    learner, simulator = learner_of(method, models, wknn={"random_phase": "actions"})
    head, actions = learner.policy.head, ranked(learner.policy, monkeypatch)
    rollout(learner.policy, simulator, 8, "random", 3, "uniform")
    share = (torch.stack(actions) - head.center) / head.scale
    assert share.abs().max() <= 0.5 + 1e-5
    assert stats.kstest(share.flatten().numpy(), "uniform", args=(-0.5, 1)).pvalue > LEAST_P
    assert len(share.unique()) > 0.9 * share.numel()  # in each dimension anew


@pytest.mark.parametrize("method", SACS)
@torch.inference_mode()
def test_greedy_actions_of_sac_are_the_squashed_means(models, monkeypatch, method):
    learner, simulator = learner_of(method, models)
    policy, actions = learner.policy, ranked(learner.policy, monkeypatch)
    seen = observed(simulator)
    policy.begin(4)
    policy.act(seen, "greedy", NO_DRAWS)
    slates, clicks = torch.from_numpy(seen.slates), torch.from_numpy(seen.clicks).float()
    state = policy.belief(slates.unsqueeze(1), clicks.unsqueeze(1))[:, 0]
    mean = policy.head.net(state).chunk(2, -1)[0]
    expected = policy.head.center + policy.head.scale * mean.tanh()
    torch.testing.assert_close(actions[0], expected, rtol=1e-4, atol=1e-5)


SHOW_SLATES = [("SlateQ", {}), ("REINFORCE+SoftMax", {})]
SHOW_SLATES += [("SAC+WkNN", {"wknn": {"random_phase": "slates"}})]


@pytest.mark.parametrize(("method", "options"), SHOW_SLATES)
def test_random_slates_are_uniform_items_drawn_with_replacement(models, method, options):
    learner, simulator = learner_of(method, models, **options)
    slates = rollout(learner.policy, simulator, 30, "random", 3, "slates").slates[:, 1:]
    assert is_uniform(slates, N_ITEMS)
    repeats = 1 - np.prod(1 - np.arange(10) / N_ITEMS)
    found = repeats_items(slates).mean()
    assert abs(found - repeats) < 5 * (repeats * (1 - repeats) / (30 * TURNS)) ** 0.5


def test_reinforce_shows_the_ten_most_likely_items_when_greedy(models):
    learner, simulator = learner_of("REINFORCE+SoftMax", models)
    likely = torch.randperm(N_ITEMS, generator=generator())[:10]
    learner.policy.net.last.bias.data[likely] += torch.arange(20, 10, -1.0)
    slates = rollout(learner.policy, simulator, 3, "greedy", 3, "top").slates
    assert (slates[:, 1:] == likely.numpy()).all()


@pytest.mark.parametrize("n", [1, 3])
def test_reinforce_explores_with_replacement(models, n):
    learner, simulator = learner_of("REINFORCE+SoftMax", models)
    learner.policy.net.last.weight.data.zero_()
    learner.policy.net.last.bias.data[:] = -100.0
    learner.policy.net.last.bias.data[[7, 9]] = torch.tensor([1.0, 3.0]).log()
    slates = rollout(learner.policy, simulator, n, "explore", 3, "two").slates[:, 1:]
    share, draws = (slates == 9).mean(), slates.size
    assert (slates == 9).all(axis=-1).mean() < 0.5
    assert set(slates.flatten().tolist()) == {7, 9}
    assert abs(share - 0.75) < 5 * (0.75 * 0.25 / draws) ** 0.5


@pytest.mark.parametrize("distinct", [True, False])
def test_random_shows_each_item_equally_often_and_repeats_as_asked(distinct):
    seen = ManyUsers(np.zeros((20_000, 10)))
    policy = RandomPolicy(30, 10, distinct=distinct)
    draws = policy.draws("greedy", 1, 20_000, generator())
    slates = policy.act(seen, "greedy", draws[0]).slates.numpy()
    assert all(is_uniform(slates[:, rank], 30) for rank in range(10))
    assert repeats_items(slates).mean() == (0 if distinct else pytest.approx(0.81, abs=0.05))


@pytest.mark.parametrize("choice", ["distinct", "with_replacement"])
def test_random_is_built_as_the_configuration_asks(models, choice):
    policy, _ = learner_of("Random", models, random={"items": choice})
    assert policy.distinct == (choice == "distinct")


# Exploration of SlateQ


def slateq_of(models, clock, **options):
    values = {"epsilon_start": 1.0, "epsilon_end": 0.01, "epsilon_decay": 1000, **options}
    return learner_of("SlateQ", models, slateq={"epsilon_clock": clock, **values})


def test_epsilon_by_episodes_counts_all_of_them(models):
    learner, _ = slateq_of(models, "episodes")
    for episode, epsilon in ((0, 1.0), (2000, 0.144), (100_000, 0.01)):
        learner.start_episode(episode)
        assert float(learner.policy.epsilon) == pytest.approx(epsilon, abs=5e-4)


def test_epsilon_by_updates_starts_with_the_first(models):
    learner, simulator = slateq_of(models, "updates", epsilon_decay=2.0)
    batch = batch_of(learner, simulator)
    for updates in range(3):
        learner.start_episode(2000)
        epsilon = 0.01 + 0.99 * np.exp(-updates / 2)
        assert float(learner.policy.epsilon) == pytest.approx(epsilon)
        learner.update(batch, generator())


def test_updates_do_not_change_epsilon_by_episodes(models):
    learner, simulator = slateq_of(models, "episodes", epsilon_decay=2.0)
    learner.start_episode(5)
    before = float(learner.policy.epsilon)
    learner.update(batch_of(learner, simulator), generator())
    assert float(learner.policy.epsilon) == before


@pytest.mark.parametrize("n", [1, 8])
def test_slateq_shows_a_whole_random_slate_with_epsilon(models, n):
    learner, simulator = learner_of("SlateQ", models, slateq={"epsilon_start": 0.5})
    policy = learner.policy
    policy.clicks.model.sharpness = 0.0  # all items are equally relevant
    policy.net.last.weight.data.zero_()
    policy.net.last.bias.data[:] = torch.arange(N_ITEMS, 0, -1.0)
    episodes = [rollout(policy, simulator, n, "explore", 3, number) for number in range(8 // n)]
    slates = np.concatenate([episode.slates[:, 1:] for episode in episodes])
    best = (slates == np.arange(10)).all(axis=-1)
    assert abs(best.mean() - 0.5) < 5 * (0.25 / best.size) ** 0.5
    assert len(np.unique(best.mean(axis=0))) > 2  # users explore each on their own
    assert is_uniform(slates[~best], N_ITEMS)
    greedy = rollout(policy, simulator, n, "greedy", 3, "epsilon").slates[:, 1:]
    assert (greedy == np.arange(10)).all()


# What agents are made of


def tables_of(learner):
    """Item tables that are drawn: those of the beliefs and the random one of SAC+WkNN."""
    tables = [module.items.weight for module in learner.modules() if isinstance(module, Belief)]
    if isinstance(learner.policy, WkNNPolicy):
        tables.append(learner.policy.ranker.table)
    return [table.detach() for table in tables]


@pytest.mark.parametrize("choice", ["equal", "independent"])
@pytest.mark.parametrize("method", TRAINED)
def test_item_tables_start_equal_or_independent_as_asked(models, method, choice):
    options = {"agent": {"belief_tables": choice}, "wknn": {"item_table": "random"}}
    first, *others = tables_of(learner_of(method, models, **options)[0])
    assert len(others) == (method in SACS) + (method == "SAC+WkNN")
    pairs = [(a, b) for i, a in enumerate([first, *others]) for b in others[i:]]
    for one, other in pairs:
        assert torch.equal(one, other) == (choice == "equal")
    assert abs(first.mean()) < 0.1
    assert abs(first.std() - 1) < 0.1


@pytest.mark.parametrize("method", SACS)
def test_item_tables_are_trained_apart_and_rankers_not_at_all(models, method):
    learner, simulator = learner_of(method, models, wknn={"item_table": "random"})
    before = {name: value.clone() for name, value in learner.policy.ranker.state_dict().items()}
    start = learner.policy.belief.items.weight.detach().clone()
    learner.update(batch_of(learner, simulator), generator())
    actor, critic = learner.policy.belief.items.weight, learner.belief.items.weight
    assert not torch.equal(actor, critic)
    assert not torch.equal(actor, start)
    assert not torch.equal(critic, start)
    for name, value in learner.policy.ranker.state_dict().items():
        assert torch.equal(value, before[name])


def test_rankers_take_the_item_table_of_their_name(models):
    ideal, simulator = learner_of("SAC+TopK-ideal", models)
    assert torch.equal(ideal.policy.ranker.table, torch.from_numpy(simulator.items.embeddings))
    factorised = load_weights(models / "mf20.safetensors")["items"]
    assert torch.equal(learner_of("SAC+TopK-MF", models)[0].policy.ranker.table, factorised)
    wknn, _ = learner_of("SAC+WkNN", models, wknn={"item_table": "mf"})
    assert torch.equal(wknn.policy.ranker.table, factorised)


@pytest.mark.parametrize("method", SACS)
def test_alpha_is_what_the_configuration_says_until_the_first_update(models, method):
    learner, simulator = learner_of(method, models, sac={"initial_alpha": 0.3})
    assert float(learner.alpha) == pytest.approx(0.3)
    batch = batch_of(learner, simulator)
    for _ in range(2):
        learner.update(batch, generator())
        assert float(learner.alpha) == pytest.approx(float(learner.log_alpha.detach().exp()))


@pytest.mark.parametrize("method", SACS)
def test_target_critics_start_equal_and_move_at_every_update(models, method):
    learner, simulator = learner_of(method, models, sac={"tau": 0.25})
    batch = batch_of(learner, simulator)
    assert_averaged(
        learner, lambda: learner.update(batch, generator()), learner.critics, learner.targets
    )


def test_the_target_of_slateq_starts_equal_and_moves_at_every_update(models):
    learner, simulator = learner_of("SlateQ", models, slateq={"tau": 0.25})
    batch, net = batch_of(learner, simulator), learner.policy.net
    assert_averaged(
        learner, lambda: learner.update(batch, generator()), net, learner.target, late=True
    )


def assert_averaged(learner, update, source, target, late=False):
    """Check that ``target`` moves a quarter of the way; ``late`` if to before the update's step."""
    for start, end in zip(target.parameters(), source.parameters(), strict=True):
        assert torch.equal(start, end)
        assert start.data_ptr() != end.data_ptr()
    assert not any(isinstance(module, Belief) for module in target.modules())
    for _ in range(3):
        starts = [value.clone() for value in target.parameters()]
        ends = [value.clone() for value in source.parameters()]
        update()
        ends = ends if late else list(source.parameters())
        for start, end, value in zip(starts, ends, target.parameters(), strict=True):
            torch.testing.assert_close(value.detach(), (0.75 * start + 0.25 * end).detach())


@pytest.mark.parametrize("choice", ["before_episode", "after_episode"])
def test_reinforce_has_its_own_moment_of_drawing_a_batch(models, choice):
    other = {"before_episode": "after_episode", "after_episode": "before_episode"}[choice]
    options = {"reinforce": {"batch_drawn": choice}, "training": {"batch_drawn": other}}
    for method in TRAINED:
        learner, _ = learner_of(method, models, **options)
        assert learner.batch_drawn == (choice if learner.on_policy else None)


@pytest.mark.parametrize("method", list(METHODS))
def test_the_seed_of_a_run_draws_its_weights(models, tmp_path, method):
    items.save(tmp_path / "items.npy", items.generate(5, "focused", N_ITEMS, 1.0))
    files = {"vae": models / "vae.safetensors", "mf": models / "mf20.safetensors"}
    files["items"] = tmp_path / "items.npy"

    def weights(seed):
        run = Run("x", method, "focused_mix", seed, build({}), files, {})
        return run.agent(run.simulator()).state_dict()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.endswith(("gru.weight_ih_l0", "belief.items.weight"))]
    assert bool(drawn) == METHODS[method].trained
    assert not any(torch.equal(first[name], other[name]) for name in drawn)
