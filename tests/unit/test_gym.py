"""The Gymnasium environments: API, options, seeds and vectors."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList

import gems
from gems import kernels
from gems.config import build
from gems.envs import items as embeddings
from gems.envs.definitions import BUILT_IN
from gems.errors import GemsError
from gems.gym import registration

NAME = "gems/focused_topdown-v0"
SMALL = {"config": {"items": {"count": 40}}, "slate_size": 4, "turns": 6}
OWN = {
    "items": {"count": 40},
    "custom_environments": {
        "own": {"click_model": {"top_down": 0.3}, "simulator": {"slate_size": 3, "turns": 7}}
    },
}


@pytest.fixture(params=["compiled", "plain"])
def small(request, monkeypatch):
    """Options of a small environment, with and without compiled kernels."""
    if request.param == "plain":
        monkeypatch.setenv(kernels.SWITCH, "off")
    return SMALL


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def slates_of(env, steps, users=None):
    rng = np.random.default_rng(3)
    space = env.unwrapped.action_space
    n_items = (space.high.max() + 1) if users else space.nvec[0]
    shape = (users, *space.shape[1:]) if users else space.shape
    return [rng.integers(n_items, size=shape) for _ in range(steps)]


def sentence(message):
    """One sentence that fits a terminal."""
    text = str(message)
    return text.endswith(".") and "\n" not in text and len(text) < 700


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("privileged", [False, True])
def test_environments_follow_the_api_without_a_warning(name, privileged):
    env = gymnasium.make(f"gems/{name}-v0", privileged=privileged, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def run(script):
    return subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )


def test_importing_gems_loads_no_large_library():
    loaded = set(run("import gems, sys; print(*sys.modules)").stdout.split())
    assert not loaded & {"torch", "numba", "pandas", "pydantic"}


@pytest.mark.parametrize("imports", ["gems, gymnasium", "gymnasium, gems"])
def test_environments_are_registered_in_either_order_of_imports(imports):
    script = f"import {imports}; print(*[n for n in gymnasium.registry if n[:5] == 'gems/'])"
    assert run(script).stdout.split() == [f"gems/{name}-v0" for name in registration.BUILT_IN]
    assert set(registration.BUILT_IN) == set(BUILT_IN)


def test_public_names_exist_and_others_do_not():
    for name in gems.__all__:
        assert getattr(gems, name).__name__ == name
        assert name in dir(gems)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = gems.nothing


def test_an_episode_is_truncated_after_its_turns_and_rewards_clicks(small):
    env = gymnasium.make(NAME, **small)
    observation, info = env.reset(seed=1)
    first = env.unwrapped.simulator.items.first_slate(4)
    assert np.array_equal(observation["slate"], first)
    assert info == {}
    for turn, slate in enumerate(slates_of(env, 6), start=1):
        observation, reward, terminated, truncated, info = env.step(slate)
        assert observation in env.observation_space
        assert np.array_equal(observation["slate"], slate)
        assert reward == observation["clicks"].sum()
        assert (terminated, truncated, info) == (False, turn == 6, {})
    with pytest.raises(ResetNeeded, match="over after 6 turns"):
        env.step(slate)


def test_the_vector_environment_is_native_and_follows_the_api(small):
    envs = gymnasium.make_vec(NAME, num_envs=5, **small)
    assert type(envs).__name__ == "SlateVectorEnv"
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, info = envs.reset(seed=1)
    assert observations in envs.observation_space
    assert info == {}
    observations, rewards, terminated, truncated, info = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert rewards.dtype == np.float64
    assert np.array_equal(rewards, observations["clicks"].sum(axis=1))
    assert not terminated.any()
    assert not truncated.any()
    assert envs.step(envs.action_space.sample())[0]["slate"] is not observations["slate"]


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("seed", [11, [4, 9, 2]])
def test_the_same_seed_gives_the_same_episode_alone_and_in_a_vector(small, mode, seed):
    options = {**small, "privileged": True}
    envs = gymnasium.make_vec(NAME, num_envs=3, autoreset_mode=mode, **options)
    alone = gymnasium.make_vec(
        NAME,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **options,
    )
    (a, info_a), (b, info_b) = envs.reset(seed=seed), alone.reset(seed=seed)
    assert equal(a, b)
    assert equal(info_a, info_b)
    for slates in slates_of(envs, 16, users=3):
        (a, *results, info_a), (b, *expected, info_b) = envs.step(slates), alone.step(slates)
        assert equal(a, b)
        for result, wanted in zip(results, expected, strict=True):
            assert np.array_equal(result, wanted)
            assert result.dtype == wanted.dtype
        if "final_obs" in info_b:
            ends = zip(info_a.pop("final_obs"), info_b.pop("final_obs"), strict=True)
            assert all(equal(x, y) for x, y in ends)
            assert equal(info_a.pop("final_info"), info_b.pop("final_info"))
        assert equal(info_a, info_b)
        if mode is AutoresetMode.DISABLED and results[2].all():
            assert equal(envs.reset()[0], alone.reset()[0])


def test_episodes_do_not_depend_on_other_users(small):
    few, many = (gymnasium.make_vec(NAME, num_envs=n, **small) for n in (3, 37))
    few.reset(seed=5)
    many.reset(seed=5)
    for slates in slates_of(many, 9, users=37):
        a, b = few.step(slates[:3])[0], many.step(slates)[0]
        assert equal(a, {name: values[:3] for name, values in b.items()})


def test_compiled_and_plain_kernels_give_the_same_users(monkeypatch):
    seen = []
    for switch in ("", "off"):
        monkeypatch.setenv(kernels.SWITCH, switch)
        env = gymnasium.make(NAME, privileged=True, **SMALL)
        observation, info = env.reset(seed=3)
        seen.append((info["user"], observation["clicks"]))
    assert np.allclose(seen[0][0], seen[1][0])
    assert np.array_equal(seen[0][1], seen[1][1])


def test_a_reset_in_mid_episode_begins_a_new_one_of_the_same_stream():
    env = gymnasium.make(NAME, privileged=True, **SMALL)
    runs = []
    for _ in range(2):
        env.reset(seed=8)
        env.step(env.unwrapped.action_space.sample() * 0)
        runs.append(env.reset()[1]["user"])
    assert np.array_equal(*runs)
    assert not np.array_equal(runs[0], env.reset(seed=8)[1]["user"])


def test_seeds_of_some_users_leave_the_others_to_continue():
    envs = gymnasium.make_vec(NAME, num_envs=2, privileged=True, **SMALL)
    envs.reset(seed=8)
    continued = envs.reset()[1]["user"]
    envs.reset(seed=8)
    again = envs.reset(seed=[8, None])[1]["user"]
    assert np.array_equal(again[1], continued[1])
    assert not np.array_equal(again[0], continued[0])


def test_privileged_info_is_the_state_of_the_coming_turn():
    env = gymnasium.make(
        "gems/focused_mix-v0", privileged=True, boredom_threshold=1, **{**SMALL, "turns": 30}
    )
    _, info = env.reset(seed=2)
    simulator = env.unwrapped.simulator
    slates = slates_of(env, 30)
    was_bored = False
    for slate in slates:
        bored = np.repeat(info["bored"], 2)
        scores = simulator.items.embeddings @ np.where(bored, 0, info["user"])
        expected = simulator.click_model.relevance(scores / simulator.items.normaliser)
        assert info["relevances"].shape == (40,)
        assert np.allclose(info["relevances"], expected, atol=1e-4)
        was_bored |= info["bored"].any()
        info = env.step(slate)[-1]
        played = simulator.click_model.relevance(simulator.scores[0])
        assert np.allclose(played, expected[slate], atol=1e-4)
    assert was_bored


def test_privileged_info_of_vectors_has_gymnasiums_masks():
    envs = gymnasium.make_vec(NAME, num_envs=3, privileged=True, **SMALL)
    _, infos = DictInfoToList(envs).reset(seed=1)
    assert [set(info) for info in infos] == [{"user", "bored", "relevances"}] * 3


@pytest.mark.parametrize(
    ("slate", "problem"),
    [
        ([0, 1, 2, -1], "items from 0 to 39, not -1"),
        ([0, 1, 2, 40], "items from 0 to 39, not 40"),
        ([0, 1, 2], r"of shape \(1, 4\), .* not int64 of shape \(1, 3\)"),
        ([0.5, 1, 2, 3], "not float64"),
    ],
)
def test_slates_that_do_not_exist_are_refused(slate, problem):
    env = gymnasium.make(NAME, disable_env_checker=True, **SMALL)
    env.reset(seed=1)
    with pytest.raises(GemsError, match=problem) as caught:
        env.step(np.array(slate))
    assert sentence(caught.value)


def test_a_step_before_reset_is_refused():
    for env in (
        gymnasium.make(NAME, disable_env_checker=True, **SMALL).unwrapped,
        gymnasium.make_vec(NAME, num_envs=2, **SMALL),
    ):
        with pytest.raises(ResetNeeded, match=r"reset\(\)"):
            env.step(env.action_space.sample())


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"slat_size": 5}, "simulator.slat_size.* did you mean 'simulator.slate_size'"),
        ({"turns": 0}, "simulator.turns: .*, not 0"),
        ({"fidelity": "best"}, "fidelity"),
        ({"slate_size": 41, "config": {"items": {"count": 40}}}, "slates of 41 items"),
        ({"items": "nothing.npy"}, "nothing.npy does not exist"),
        ({"config": "nothing.yaml"}, "Cannot read the configuration nothing.yaml"),
        ({"config": {"itms": {}}}, "did you mean 'items'"),
    ],
)
@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_options_that_are_not_valid_are_refused(make, keywords, problem):
    with pytest.raises(GemsError, match=problem) as caught:
        make(NAME, **keywords)
    assert sentence(caught.value)


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"autoreset_mode": "Never"}, "'Never' is not a known autoreset_mode"),
    ],
)
def test_options_of_vectors_that_are_not_valid_are_refused(keywords, problem):
    with pytest.raises(GemsError, match=problem):
        gymnasium.make_vec(NAME, **SMALL, **keywords)


def test_resets_that_vectors_cannot_do_are_refused():
    envs = gymnasium.make_vec(NAME, num_envs=2, autoreset_mode="Disabled", **SMALL)
    with pytest.raises(GemsError, match="one seed for each of the 2 users, not 3"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(GemsError, match="reset all of them"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(options={"reset_mask": np.array([True, True])})


def test_options_come_from_keywords_files_and_mappings(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("items: {count: 40}\nsimulator: {slate_size: 4, turns: 9}\nfidelity: paper\n")
    values = {
        "items": {"count": 40},
        "simulator": {"slate_size": 4, "turns": 9},
        "fidelity": "paper",
    }
    for config in (file, str(file), values, build(values)):
        simulator = gymnasium.make(NAME, config=config, turns=6).unwrapped.simulator
        assert simulator.sizes.n_items == 40
        assert (simulator.config.slate_size, simulator.config.turns) == (4, 6)
        assert simulator.config.user_norm == "l2"
        released = gymnasium.make(NAME, config=config, fidelity="released").unwrapped.simulator
        assert released.config.user_norm == "topics"
    assert values["simulator"] == {"slate_size": 4, "turns": 9}


def test_items_come_from_a_file_of_any_number(tmp_path):
    catalogue = embeddings.generate(7, "focused", 55, 1.0)
    embeddings.save(tmp_path / "items.npy", catalogue)
    gems.register_environments(OWN)
    for name in (NAME, "gems/diffuse_divpen-v0", "gems/own-v0"):
        env = gymnasium.make(name, items=tmp_path / "items.npy", slate_size=12).unwrapped
        assert np.array_equal(env.simulator.items.embeddings, catalogue.embeddings)
        assert env.action_space == gymnasium.spaces.MultiDiscrete([55] * 12)


def test_custom_environments_are_registered_and_keywords_take_precedence(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(build(OWN).model_dump_json(include={"items", "custom_environments"}))
    for config in (OWN, build(OWN), file):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert gems.register_environments(config) == ["gems/own-v0"]
        env = gymnasium.make("gems/own-v0").unwrapped
        check_env(env)
        assert env.simulator.sizes[:2] == (40, 3)
        assert env.simulator.config.turns == 7
        envs = gymnasium.make_vec("gems/own-v0", num_envs=2, slate_size=5)
        assert envs.simulator.slate_size == 5
        assert envs.simulator.config.turns == 7
