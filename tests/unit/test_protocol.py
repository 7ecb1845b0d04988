"""The protocol of training, validation and test (Section 7): in what order, with whom, how often.

Learners are spies that only note what the loop asks of them; what they learn from and with whom
they play is told by the users, who are all different.
"""

import json

import numpy as np
import pytest
from learners import learner_of
from runtimes import runtime
from spies import (
    CATALOGUE,
    CLICKED_OR_NOT,
    TURNS,
    Played,
    SpyLearner,
    Started,
    Updated,
    clicked_or_not,
    train,
)

from gems.config import build
from gems.envs import items
from gems.envs.simulator import Simulator
from gems.envs.users import SharedUsers
from gems.methods import METHODS, REFERENCE_METHOD
from gems.runtime.weights import load_weights
from gems.training import loop, run
from gems.training.checkpoint import TrainingState

USERS = pytest.mark.parametrize("users", ["shared", "by_seed"])
BATCH_DRAWN = pytest.mark.parametrize("batch_drawn", ["before_episode", "after_episode"])


def first_shared_users(n):
    return SharedUsers().begin(n, clicked_or_not())[0]


def everybody(learner):
    """All users a learner's policy met, in the order played."""
    return np.concatenate([event.users for event in learner.log if isinstance(event, Played)])


def plain(event):
    """An event in a form that can be compared."""
    parts = (part.tobytes() if isinstance(part, np.ndarray) else part for part in event)
    return type(event), *parts


# Order and number


def test_an_update_follows_every_episode_and_a_validation_every_nth_update(tmp_path):
    learner = SpyLearner()
    train(learner, tmp_path, episodes=6, validate_every=3, batch_drawn="after_episode")
    order = [event.mode if isinstance(event, Played) else type(event) for event in learner.log]
    assert order == ([Started, "explore", Updated] * 3 + ["greedy"]) * 2


def test_no_update_comes_before_there_is_an_episode_to_learn_from(tmp_path):
    learner = SpyLearner()
    train(learner, tmp_path, episodes=6, validate_every=6, batch_drawn="before_episode")
    order = [event.mode if isinstance(event, Played) else type(event) for event in learner.log]
    assert order == [Started, "explore"] + [Started, "explore", Updated] * 5 + ["greedy"]


def test_every_episode_is_played_by_the_newest_policy(tmp_path):
    learner = SpyLearner()
    train(learner, tmp_path, episodes=6, validate_every=3, batch_drawn="after_episode")
    assert [played.updates for played in learner.played("explore")] == list(range(6))
    assert [played.updates for played in learner.played("greedy")] == [3, 6]


LENGTHS = [(0, 9, 3), (5, 9, 3), (9, 9, 3), (loop.RANDOM_BLOCK + 7, 120, 120)]


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(("random", "episodes", "every"), LENGTHS)
def test_the_first_episodes_are_random_and_the_others_explore(
    tmp_path, random, episodes, every, learns
):
    learner = SpyLearner(learns_from_random=learns)
    options = {"validate_every": every, "batch_drawn": "after_episode"}
    train(learner, tmp_path, episodes=episodes, random_episodes=random, **options)
    modes = [p.mode for p in learner.played("random", "explore") for _ in p.users]
    assert modes == ["random"] * random + ["explore"] * (episodes - random)
    assert len(learner.batches()) == (episodes if learns else episodes - random)
    before = [played.updates for played in learner.played("explore")][:1]
    assert before == [random if learns else 0][: episodes - random]


@pytest.mark.parametrize(("random", "episodes", "every"), LENGTHS)
def test_episodes_are_numbered_and_validated_from_the_first_random_one(
    tmp_path, random, episodes, every
):
    learner, played, validated = SpyLearner(), 0, []
    options = {"validate_every": every, "batch_drawn": "after_episode"}
    train(learner, tmp_path, episodes=episodes, random_episodes=random, **options)
    for event in learner.log:
        if isinstance(event, Started):
            assert event.episode == played
        elif isinstance(event, Played) and event.mode == "greedy":
            validated.append(played)
        elif isinstance(event, Played):
            played += len(event.users)
    assert validated == list(range(every, episodes + 1, every))


# Users and draws


@USERS
def test_a_validation_has_its_number_of_users_and_a_training_episode_one(tmp_path, users):
    learner = SpyLearner()
    train(learner, tmp_path, episodes=4, validate_every=2, validation_users=5, users=users)
    assert [len(played.users) for played in learner.played("greedy")] == [5, 5]
    assert [len(played.users) for played in learner.played("explore")] == [1] * 4


@USERS
def test_every_episode_and_every_validation_meets_new_users(tmp_path, users):
    learner = SpyLearner()
    options = {"random_episodes": 2, "validate_every": 2, "validation_users": 5, "users": users}
    train(learner, tmp_path, episodes=6, **options)
    met = everybody(learner)
    assert len(met) == 6 + 3 * 5
    assert len(np.unique(met, axis=0)) == len(met)


@USERS
def test_a_new_user_has_seen_the_first_slate(tmp_path, users):
    learner = SpyLearner()
    train(learner, tmp_path, episodes=2, validate_every=1, random_episodes=1, users=users)
    for played in learner.played("random", "explore", "greedy"):
        assert (played.first_slates == CATALOGUE.first_slate(played.first_slates.shape[1])).all()


@pytest.mark.parametrize("seed", [3, 4])
def test_shared_users_are_met_one_after_another_whatever_the_seed(tmp_path, seed):
    learner = SpyLearner()
    options = {"random_episodes": 2, "validate_every": 2, "validation_users": 5}
    train(learner, tmp_path, seed, episodes=6, users="shared", **options)
    met = everybody(learner)
    np.testing.assert_array_equal(met, first_shared_users(len(met)))


def test_users_by_seed_are_drawn_for_each_seed_and_not_for_each_method(tmp_path):
    met = []
    for number, seed in enumerate((3, 3, 4)):
        learner = SpyLearner(worth=lambda updates: updates, on_policy=number == 1)
        options = {"validate_every": 2, "batch_drawn": "after_episode", "users": "by_seed"}
        train(learner, tmp_path / str(number), seed, episodes=4, **options)
        met.append(everybody(learner))
    np.testing.assert_array_equal(met[0], met[1])
    assert not (met[0] == met[2]).any()


@USERS
def test_policies_and_updates_draw_anew_each_time_and_by_seed(tmp_path, users):
    draws = []
    for seed in (3, 4):
        learner = SpyLearner()
        options = {"random_episodes": 2, "validate_every": 2, "users": users}
        train(learner, tmp_path / str(seed), seed, episodes=8, **options)
        draws += [event.draws for event in learner.log if not isinstance(event, Started)]
    assert len(set(draws)) == len(draws)


# What is learnt from


def test_a_batch_drawn_before_the_episode_holds_different_older_ones(tmp_path):
    learner = SpyLearner()
    options = {"batch_drawn": "before_episode", "batch_episodes": 3, "replay_episodes": 4}
    train(learner, tmp_path, episodes=30, validate_every=30, **options)
    ages = set()
    for episode, batch in enumerate(learner.batches(), start=1):
        assert len(set(batch)) == len(batch) == min(3, episode)
        ages |= {episode - number for number in batch}
    assert ages == {1, 2, 3, 4}  # of those that the replay keeps, all but the newest


def test_a_batch_drawn_after_the_episode_may_hold_it_and_may_repeat(tmp_path):
    learner = SpyLearner()
    options = {"batch_drawn": "after_episode", "batch_episodes": 3, "replay_episodes": 4}
    train(learner, tmp_path, episodes=30, validate_every=30, **options)
    ages, repeats = set(), False
    for episode, batch in enumerate(learner.batches()):
        assert len(batch) == 3
        repeats |= episode > 3 and len(set(batch)) < 3
        ages |= {episode - number for number in batch}
    assert ages == {0, 1, 2, 3}
    assert repeats


@BATCH_DRAWN
def test_all_kept_episodes_are_drawn_equally_often_and_anew_each_time(tmp_path, batch_drawn):
    learner = SpyLearner()
    options = {"batch_drawn": batch_drawn, "batch_episodes": 3, "replay_episodes": 6}
    train(learner, tmp_path, episodes=400, validate_every=400, **options)
    newest = 1 if batch_drawn == "before_episode" else 0
    batches = list(enumerate(learner.batches(), start=newest))[6:]
    drawn = [(episode, number) for episode, batch in batches for number in batch]
    ages = np.bincount([episode - number - newest for episode, number in drawn])
    places = np.bincount([number % 6 for _, number in drawn])
    expected = len(drawn) / 6
    for counts in (ages, places):
        assert len(counts) == 6
        assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert len({tuple(number % 6 for number in batch) for _, batch in batches}) > 50


@BATCH_DRAWN
def test_episodes_of_the_random_phase_are_learnt_from_later(tmp_path, batch_drawn):
    learner = SpyLearner()
    options = {"random_episodes": 6, "batch_drawn": batch_drawn, "batch_episodes": 9}
    train(learner, tmp_path, episodes=8, validate_every=8, **options)
    assert len(learner.batches()) == 2
    assert all(min(batch) < 6 for batch in learner.batches())


@pytest.mark.parametrize("others", ["before_episode", "after_episode"])
@BATCH_DRAWN
def test_an_on_policy_learner_learns_from_the_episode_before_or_from_the_one_just_played(
    tmp_path, batch_drawn, others
):
    learner = SpyLearner(on_policy=True, learns_from_random=True, batch_drawn=batch_drawn)
    options = {"random_episodes": 3, "batch_drawn": others}
    train(learner, tmp_path, episodes=6, validate_every=6, **options)
    last = 5 if batch_drawn == "before_episode" else 6
    assert learner.batches() == [[number] for number in range(last)]


# What is kept and tested

WORTHS = {"first": [9, 1, 2], "between": [3, 7, 2], "last": [1, 2, 9], "tied": [3, 7, 7, 2, 7]}


@pytest.mark.parametrize("worths", WORTHS.values(), ids=WORTHS)
def test_the_policy_of_the_best_validation_is_kept_and_of_equals_the_earlier(tmp_path, worths):
    learner = SpyLearner(worth=lambda updates: worths[(updates - 1) // 2])
    options = {"validate_every": 2, "validation_users": 4, "batch_drawn": "after_episode"}
    trainer = train(learner, tmp_path, episodes=2 * len(worths), **options)
    assert [row["validation_return"] for row in trainer.curve] == [TURNS * w for w in worths]
    best = 2 * (worths.index(max(worths)) + 1)
    assert (trainer.best_episode, trainer.best_return) == (best, TURNS * max(worths))
    assert learner.policy.updates == best


def test_the_curve_holds_the_mean_return_of_the_episodes_since_the_last_validation(tmp_path):
    learner = SpyLearner(worth=lambda updates: updates)
    trainer = train(learner, tmp_path, episodes=6, validate_every=2, batch_drawn="after_episode")
    assert [row["episode"] for row in trainer.curve] == [2, 4, 6]
    assert [row["training_return"] for row in trainer.curve] == [TURNS * w for w in (0.5, 2.5, 4.5)]


def run_of(folder, learner, monkeypatch, seed=3, **training):
    """A run whose agent is ``learner``."""
    defaults = {"episodes": 6, "random_episodes": 2, "validate_every": 2, "test_users": 7}
    options = {"training": {**defaults, "validation_users": 4, **training}}
    items.save(folder / "items.npy", CATALOGUE)
    monkeypatch.setattr(run.Run, "agent", lambda self, simulator: learner)
    config = build({**options, "simulator": CLICKED_OR_NOT})
    files = {"items": folder / "items.npy"}
    return run.Run("spy", REFERENCE_METHOD, "focused_topdown", seed, config, files, {})


@USERS
def test_the_best_policy_is_tested_greedily_and_saved(tmp_path, monkeypatch, users):
    learner = SpyLearner(worth=lambda updates: (0, 0, 5, 9, 4)[updates], learns_from_random=True)
    options = {"episodes": 5, "validate_every": 1, "batch_drawn": "before_episode"}
    tried = run_of(tmp_path, learner, monkeypatch, users=users, **options)
    run.execute(tried, tmp_path / "run", runtime(tmp_path / "state"))
    test = learner.log[-1]
    assert (test.mode, test.updates, len(test.users)) == ("greedy", 3, 7)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["test_returns"] == [TURNS * 9] * 7
    assert result["test_return"] == result["validation_return"] == TURNS * 9
    assert load_weights(tmp_path / "run" / "policy.safetensors")["updates"] == 3


@pytest.mark.parametrize("episodes", [2, 6])
@pytest.mark.parametrize("seed", [3, 4])
def test_the_test_meets_the_first_shared_users_however_many_training_met(
    tmp_path, monkeypatch, episodes, seed
):
    learner = SpyLearner()
    tried = run_of(tmp_path, learner, monkeypatch, seed, users="shared", episodes=episodes)
    run.execute(tried, tmp_path / "run", runtime(tmp_path / "state"))
    np.testing.assert_array_equal(learner.log[-1].users, first_shared_users(7))


def test_a_test_by_seed_meets_users_that_training_has_not_met(tmp_path, monkeypatch):
    learner = SpyLearner()
    tried = run_of(tmp_path, learner, monkeypatch, users="by_seed")
    run.execute(tried, tmp_path / "run", runtime(tmp_path / "state"))
    met = everybody(learner)
    assert len(np.unique(met, axis=0)) == len(met)


def users_of_tests(monkeypatch, models, users):
    """The users, and the draws of their first clicks, in the test of each method with 2 seeds."""
    met, start = {}, Simulator.start

    def noted(self, tastes, uniforms):
        if len(tastes) == 6:
            met[method, seed] = np.concatenate([tastes, uniforms], axis=1).tobytes()
        return start(self, tastes, uniforms)

    monkeypatch.setattr(Simulator, "start", noted)
    for method in METHODS:
        agent, simulator = learner_of(method, models)
        config = build({"training": {"test_users": 6, "users": users}}).training
        for seed in (3, 4):
            run.test(getattr(agent, "policy", agent), simulator, config, seed)
    return met


def test_all_methods_and_seeds_are_tested_on_the_same_shared_users(monkeypatch, models):
    met = users_of_tests(monkeypatch, models, "shared")
    assert len(met) == 2 * len(METHODS)
    assert len(set(met.values())) == 1


def test_all_methods_are_tested_on_the_same_users_of_a_seed(monkeypatch, models):
    met = users_of_tests(monkeypatch, models, "by_seed")
    of_seed = [{found for (_, s), found in met.items() if s == seed} for seed in (3, 4)]
    assert [len(found) for found in of_seed] == [1, 1]
    assert of_seed[0] != of_seed[1]


# Going on after a kill


class Killed(BaseException):
    """As abrupt as a signal."""


@pytest.mark.parametrize("killed_after", [2, 5])
@pytest.mark.parametrize("on_policy", [False, True])
@BATCH_DRAWN
@USERS
def test_a_killed_training_goes_on_as_if_undisturbed(
    tmp_path, monkeypatch, users, batch_drawn, on_policy, killed_after
):
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    options = {"random_episodes": 3, "validate_every": 4, "validation_users": 2}
    options |= {"users": users, "batch_drawn": batch_drawn, "replay_episodes": 5, "episodes": 12}

    def trained(name, worth):
        learner = SpyLearner(worth, on_policy)
        return learner, lambda: train(learner, tmp_path / name, **options)

    def dies(updates):
        if updates == killed_after:
            raise Killed
        return updates % 4

    undisturbed, go = trained("undisturbed", lambda updates: updates % 4)
    expected = go()
    _, die = trained("killed", dies)
    with pytest.raises(Killed):
        die()
    resumed, go = trained("killed", lambda updates: updates % 4)
    found = go()
    assert 0 < len(resumed.log) < len(undisturbed.log)
    rest = undisturbed.log[-len(resumed.log) :]
    assert [plain(event) for event in resumed.log] == [plain(event) for event in rest]
    assert found.curve == expected.curve
    assert found.best_episode == expected.best_episode
    assert resumed.policy.updates == undisturbed.policy.updates
