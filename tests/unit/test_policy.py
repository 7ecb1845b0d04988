"""Policies in users' hands: the slates of the run's own test, without a simulator."""

import json

import numpy as np
import pytest
from learners import N_ITEMS
from options import TINY
from runtimes import runtime

import gems
from gems.config import build
from gems.envs import items
from gems.envs.users import SeededUsers, SharedUsers
from gems.errors import GemsError
from gems.methods import METHODS, slug
from gems.pipeline.stages import run_values
from gems.runtime.randomness import stream
from gems.runtime.weights import load_weights, save_weights
from gems.training.run import Run, execute
from gems.training.saved import saved_run

ENV, SEED = "focused_topdown", 3
DISCLOSED = ["ShortTermOracle", "SlateQ"]
PLAYED = [name for name in METHODS if name not in DISCLOSED]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, models):
    """Folders of tiny runs, by method."""
    root, config = tmp_path_factory.mktemp("runs"), build(TINY)
    items.save(root / "items.npy", items.generate(1, "focused", N_ITEMS, 1.0))
    files = {"vae": models / "vae.safetensors", "mf": models / "mf20.safetensors"}
    for name, entry in METHODS.items():
        needs = {need: files[need] for need in entry.prerequisites(config)}
        inputs, values = {"items": root / "items.npy"} | needs, run_values(config, entry, ENV)
        run = Run(slug(name), name, ENV, SEED, config, inputs, values)
        execute(run, root / run.name, runtime(root / "state" / run.name))
    return {name: root / slug(name) for name in METHODS}


@pytest.fixture(scope="module")
def policy(runs):
    return gems.load_policy(runs["SAC+GeMS"])


def simulator_of(folder):
    run, _ = saved_run(folder)
    return run.simulator(), run.config.training


def played(policy, simulator, training):
    """Slates, clicks and choices of the run's own test users."""
    shared = training.users == "shared"
    users = SharedUsers() if shared else SeededUsers(stream(SEED, "users", "test"))
    seen = simulator.meet(training.test_users, users)
    policy.reset(training.test_users)
    turns = []
    for _ in range(simulator.config.turns):
        chosen = policy.act(seen.slates, seen.clicks)
        turns.append((seen.slates, seen.clicks, chosen))
        seen = simulator.step(chosen)
    return turns, seen


@pytest.mark.parametrize("method", PLAYED)
def test_a_policy_plays_the_test_of_its_run_again(runs, method):
    turns, last = played(gems.load_policy(runs[method]), *simulator_of(runs[method]))
    returns = sum(clicks.sum(-1) for _, clicks, _ in turns[1:]) + last.clicks.sum(-1)
    result = json.loads((runs[method] / "result.json").read_text())
    assert returns.tolist() == result["test_returns"]


@pytest.mark.parametrize("method", [name for name in PLAYED if name != "Random"])
def test_a_user_alone_is_shown_the_same_slates_as_in_a_batch(runs, method):
    policy = gems.load_policy(str(runs[method]))
    turns, _ = played(policy, *simulator_of(runs[method]))
    for user in range(len(turns[0][0])):
        policy.reset()
        for slates, clicks, chosen in turns:
            alone = policy.act(slates[user].tolist(), clicks[user].astype(int).tolist())
            assert (alone.shape, alone.dtype) == ((10,), np.int64)
            assert alone.tolist() == chosen[user].tolist()


def test_random_slates_repeat_for_a_seed_and_never_run_out(runs):
    policy = gems.load_policy(runs["Random"])

    def slates(seed=None):
        policy.reset(2, seed=seed)
        shown, none = np.zeros((2, 10), int), np.zeros((2, 10), int)
        return np.array([policy.act(shown, none) for _ in range(15)])  # an episode has 6 turns

    assert (slates() == slates()).all()
    assert (slates(1) == slates(1)).all()
    assert len({slates(seed).tobytes() for seed in (None, 1, 2)}) == 3
    assert len({turn.tobytes() for turn in slates()}) == 15


def test_a_policy_says_what_it_is(policy):
    assert (policy.method, policy.environment) == ("SAC+GeMS", ENV)
    assert (policy.n_items, policy.slate_size) == (N_ITEMS, 10)


@pytest.mark.parametrize("method", DISCLOSED)
def test_a_policy_that_sees_the_simulated_users_is_refused(runs, method):
    with pytest.raises(GemsError, match=r"acts in a simulator only; use gems evaluate"):
        gems.load_policy(runs[method])


@pytest.mark.parametrize(
    ("slates", "clicks", "problem"),
    [
        ([[0] * 9] * 2, [[0] * 10] * 2, r"slates must have the shape \(2, 10\), not \(2, 9\)"),
        ([[0] * 10] * 3, [[0] * 10] * 3, r"slates must have the shape \(2, 10\), not \(3, 10\)"),
        ([0] * 10, [0] * 10, r"slates must have the shape \(2, 10\), not \(10,\)"),
        ([[0] * 10] * 2, [0] * 10, r"clicks must have the shape"),
        ([[0] * 10, [0]], [[0] * 10] * 2, r"slates must be an array of the shape \(2, 10\)"),
        ([[N_ITEMS] * 10] * 2, [[0] * 10] * 2, "whole numbers from 0 to 76"),
        ([[-1] * 10] * 2, [[0] * 10] * 2, "whole numbers from 0 to 76"),
        ([[0.5] * 10] * 2, [[0] * 10] * 2, "whole numbers from 0 to 76"),
        ([[0] * 10] * 2, [[2] * 10] * 2, "clicks must be 0 or 1"),
        ([[0] * 10] * 2, [["0"] * 10] * 2, "clicks must be 0 or 1"),
    ],
)
def test_what_cannot_have_been_shown_is_refused(policy, slates, clicks, problem):
    policy.reset(2)
    with pytest.raises(GemsError, match=problem):
        policy.act(slates, clicks)


def test_a_session_starts_with_reset(runs):
    policy = gems.load_policy(runs["SAC+GeMS"])
    with pytest.raises(GemsError, match="Call reset before act"):
        policy.act([0] * 10, [0] * 10)
    with pytest.raises(GemsError, match="a positive number of users"):
        policy.reset(0)


def test_a_policy_that_was_kept_is_read_by_its_episode(runs):
    folder = runs["SAC+GeMS"]
    with pytest.raises(GemsError, match=r"again with training.keep=\[2\]"):
        gems.load_policy(folder, episode=2)
    kept = load_weights(folder / "policy.safetensors")
    kept["belief.items.weight"] = kept["belief.items.weight"].flip(0)
    try:
        save_weights(folder / "policy_2.safetensors", kept, {})
        policy, last = gems.load_policy(folder, episode=2), gems.load_policy(folder)
        chosen = []
        for each in (policy, last):
            each.reset()
            chosen.append(each.act(range(10), [1] * 10).tolist())
        assert chosen[0] != chosen[1]
        with pytest.raises(GemsError, match=r"no policy of episode 3; .* kept those of: 2\."):
            gems.load_policy(folder, episode=3)
    finally:
        for file in folder.glob("policy_2.*"):
            file.unlink()
