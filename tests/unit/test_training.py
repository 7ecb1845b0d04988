"""Runs: determinism, resume, the best checkpoint, the same test users for all methods."""

import csv
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runtimes import UNTRACKED, runtime

from gems.config import build
from gems.data.replay import Episodes, Replay
from gems.envs import items
from gems.envs.simulator import Simulator, Sizes
from gems.errors import GemsError
from gems.methods import METHODS
from gems.methods import method as method_of
from gems.pipeline.stages import run_job, run_values
from gems.runtime.device import pick_device
from gems.runtime.weights import save_weights
from gems.training import checkpoint as state_module
from gems.training import loop
from gems.training.checkpoint import TrainingState
from gems.training.rollout import rollout
from gems.training.run import Run, execute
from gems.training.saved import evaluate

N_ITEMS = 50
TINY = {
    "simulator": {"turns": 10},
    "agent": {"hidden_dim": 16},
    "training": {
        "episodes": 12,
        "random_episodes": 5,
        "validate_every": 4,
        "validation_users": 6,
        "test_users": 9,
        "batch_episodes": 3,
        "replay_episodes": 8,
    },
}
TRAINED = [name for name, entry in METHODS.items() if entry.trained]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    items.save(folder / "items.npy", items.generate(2, "focused", N_ITEMS, 1.0))
    torch.manual_seed(0)
    save_weights(folder / "mf.safetensors", {"items": torch.randn(N_ITEMS, 20)}, {})
    from gems.pretraining.vae import SlateVAE

    config = build({}).vae
    weights = SlateVAE(N_ITEMS, 10, config).state_dict()
    bounds = {"bounds.low": -3 * torch.ones(32), "bounds.high": 3 * torch.ones(32)}
    described = {"items": N_ITEMS, "vae": config.model_dump(mode="json")}
    save_weights(folder / "vae.safetensors", {**weights, **bounds}, described)
    return folder


def run_of(method, inputs, seed=3, **training):
    values = {**TINY, "training": {**TINY["training"], **training}}
    config = build(values)
    files = {"items": inputs / "items.npy"}
    entry = method_of(method)
    for name in entry.prerequisites(config):
        files[name] = inputs / f"{name}.safetensors"
    values = run_values(config, entry, "focused_mix")
    return Run(f"{method} of a test", method, "focused_mix", seed, config, files, values)


def execute_in(run, folder):
    execute(run, folder / "run", runtime(folder / "state"))
    return folder / "run"


@pytest.mark.parametrize("method", list(METHODS))
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(method, inputs, tmp_path):
    a = execute_in(run_of(method, inputs), tmp_path / "a")
    b = execute_in(run_of(method, inputs), tmp_path / "b")
    other = execute_in(run_of(method, inputs, seed=4), tmp_path / "c")
    for name in ("result.json", "curve.csv", "policy.safetensors"):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    assert (a / "result.json").read_bytes() != (other / "result.json").read_bytes()


class Killed(BaseException):
    """As abrupt as a signal."""


@pytest.mark.parametrize("method", TRAINED)
def test_a_killed_run_resumes_bit_for_bit(method, inputs, tmp_path, monkeypatch):
    run = run_of(method, inputs, keep=[5, 11])
    undisturbed = execute_in(run, tmp_path / "undisturbed")
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    learn = loop.Trainer._learn
    learnt = []

    def killed(self, episode):
        if self._episode == 9:
            raise Killed
        return learn(self, episode)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_learn", killed)
        with pytest.raises(Killed):
            execute_in(run, tmp_path / "killed")
    assert not (tmp_path / "killed" / "run" / "result.json").exists()

    def counted(self, episode):
        learnt.append(self._episode)
        return learn(self, episode)

    monkeypatch.setattr(loop.Trainer, "_learn", counted)
    resumed = execute_in(run, tmp_path / "killed")
    assert learnt == [9, 10, 11]
    kept = "policy_5.safetensors", "policy_11.safetensors"
    for name in ("result.json", "curve.csv", "policy.safetensors", *kept):
        assert (resumed / name).read_bytes() == (undisturbed / name).read_bytes()


SIZES = Sizes(n_items=9, slate_size=10, topics=10, dim=20)
NO_EPISODES = Replay(0, 1, 0, False, SIZES)


def test_a_state_of_another_configuration_is_not_taken_up(inputs, tmp_path):
    items_file = {"items": inputs / "items.npy"}

    def fingerprint(batch_episodes):
        training = {**TINY["training"], "batch_episodes": batch_episodes}
        job = run_job(build({**TINY, "training": training}), "SlateQ", "focused_mix", 3)
        return replace(job, inputs=items_file).fingerprint()

    TrainingState(tmp_path, fingerprint(3)).save({"episode": 4}, NO_EPISODES)
    assert TrainingState(tmp_path, fingerprint(3)).load(NO_EPISODES) == {"episode": 4}
    assert TrainingState(tmp_path, fingerprint(4)).load(NO_EPISODES) is None


def test_a_damaged_state_is_one_sentence(inputs, tmp_path):
    state = TrainingState(tmp_path, "x")
    state.save({"episode": 4}, NO_EPISODES)
    (tmp_path / "x.pt").write_bytes(b"half")
    with pytest.raises(GemsError, match=r"is damaged; remove .*x\.pt to start again"):
        state.load(NO_EPISODES)


def random_episodes(rng, n):
    episodes = Episodes.empty(n, turns=2, action_dim=3, disclosed=True, sizes=SIZES)
    episodes.slates[:] = rng.integers(0, 9, episodes.slates.shape)
    episodes.actions[:] = rng.random(episodes.actions.shape)
    episodes.users[:] = rng.random(episodes.users.shape)
    return episodes


@pytest.mark.slow
@given(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 11), st.integers(1, 12))
def test_a_replay_saved_part_by_part_is_the_replay(sizes, killed_after, capacity):
    """Whatever was added between two saves, and wherever the run was killed and went on."""
    rng, replay = np.random.default_rng(0), Replay(capacity, 2, 3, True, SIZES)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "PART_EPISODES", 3)
        state = TrainingState(Path(name), "x")
        for number, size in enumerate(sizes):
            for _ in range(size):
                replay.add(random_episodes(rng, 1))
            state.save({}, replay)
            restored = Replay(capacity, 2, 3, True, SIZES)
            reader = TrainingState(Path(name), "x")
            assert reader.load(restored) == {}
            assert (restored.added, restored.capacity) == (replay.added, capacity)
            for ours, theirs in zip(restored._store, replay._store, strict=True):
                np.testing.assert_array_equal(ours[: len(replay)], theirs[: len(replay)])
            if number == killed_after:
                state, replay = reader, restored
        kept = sum(len(torch.load(p)["slates"]) for p in Path(name).glob("x.*.pt"))
        assert kept < capacity + max(sizes, default=1)


def test_a_replay_without_one_of_its_parts_is_one_sentence(tmp_path):
    replay = Replay(9, 2, 3, True, SIZES)
    replay.add(random_episodes(np.random.default_rng(0), 4))
    TrainingState(tmp_path, "x").save({}, replay)
    (tmp_path / "x.4.pt").unlink()
    with pytest.raises(GemsError, match=r"x\.4\.pt is damaged; remove .*x\.pt to start again"):
        TrainingState(tmp_path, "x").load(replay)


def test_the_checkpoint_with_the_best_validation_return_is_tested(inputs, tmp_path):
    folder = execute_in(run_of("REINFORCE+SoftMax", inputs), tmp_path)
    result = json.loads((folder / "result.json").read_text())
    with (folder / "curve.csv").open() as file:
        curve = {
            int(row["episode"]): float(row["validation_return"]) for row in csv.DictReader(file)
        }
    assert list(curve) == [4, 8, 12]
    assert result["validation_return"] == max(curve.values())
    assert curve[result["best_episode"]] == max(curve.values())
    again = evaluate(folder, None, None)
    assert again["test_returns"] == result["test_returns"]
    more = evaluate(folder, 30, 1)
    assert len(more["test_returns"]) == 30


def test_a_kept_policy_is_that_after_the_named_episode(inputs, tmp_path):
    method, options = "REINFORCE+SoftMax", {"users": "by_seed", "random_episodes": 4}
    kept = execute_in(run_of(method, inputs, keep=[8], **options), tmp_path / "kept")
    options |= {"episodes": 8, "validate_every": 8}
    shorter = execute_in(run_of(method, inputs, **options), tmp_path / "shorter")
    weights = (kept / "policy_8.safetensors").read_bytes()
    assert weights == (shorter / "policy.safetensors").read_bytes()
    again = execute_in(run_of(method, inputs), tmp_path / "kept")
    assert not list(again.glob("policy_*"))


def test_a_run_of_an_earlier_version_with_other_test_users_is_not_evaluated(inputs, tmp_path):
    folder = execute_in(run_of("Random", inputs), tmp_path)
    described = json.loads((folder / "policy.json").read_text())
    del described["config"]["training"]["users"]
    (folder / "policy.json").write_text(json.dumps(described))
    with pytest.raises(GemsError, match=r"made by an earlier version.*make it again"):
        evaluate(folder, None, None)


def test_all_methods_meet_the_same_test_users(inputs):
    first = []
    for method in ("Random", "ShortTermOracle"):
        run = run_of(method, inputs)
        simulator = run.simulator()
        policy = run.agent(simulator)
        first.append(rollout(policy, simulator, 9, "greedy", run.seed, "test").clicks[:, 0])
    np.testing.assert_array_equal(*first)


def test_sac_and_slateq_do_not_learn_in_the_random_phase_but_reinforce_does(inputs, tmp_path):
    for method, learns in (
        ("SAC+TopK-ideal", False),
        ("SlateQ", False),
        ("REINFORCE+SoftMax", True),
    ):
        run = run_of(method, inputs, random_episodes=12)
        untrained = run.agent(run.simulator()).policy.state_dict()
        simulator = run.simulator()
        learner = run.agent(simulator)
        trainer = loop.Trainer(learner, simulator, run.config.training, 3, torch.device("cpu"))
        trainer.train("x", TrainingState(tmp_path / method, "x"), UNTRACKED)
        trained = learner.policy.state_dict()
        changed = any(not torch.equal(untrained[k], trained[k]) for k in untrained)
        assert changed == learns


@pytest.mark.slow
def test_learning_beats_random_on_a_small_catalogue(inputs, tmp_path):
    training = {"episodes": 120, "random_episodes": 40, "validate_every": 40, "test_users": 200}
    files = {"items": inputs / "items.npy"}
    results = {}
    for method in ("Random", "REINFORCE+SoftMax", "SlateQ", "SAC+TopK-ideal"):
        config = build({"training": training})
        values = run_values(config, method_of(method), "focused_topdown")
        run = Run(method, method, "focused_topdown", 3, config, files, values)
        folder = execute_in(run, tmp_path / method)
        results[method] = json.loads((folder / "result.json").read_text())
    random = results.pop("Random")
    for result in results.values():
        error = np.hypot(result["test_standard_error"], random["test_standard_error"])
        assert result["test_return"] - random["test_return"] > 4 * error


def test_a_loss_that_is_not_a_number_stops_the_run_in_one_sentence(inputs, tmp_path, monkeypatch):
    run = run_of("SlateQ", inputs)
    monkeypatch.setattr("gems.agents.slateq.SlateQ.update", lambda *_: {"loss": float("nan")})
    with pytest.raises(GemsError, match="loss became nan at episode"):
        execute_in(run, tmp_path)
    assert not (tmp_path / "run").exists()


def test_acting_on_a_copy_as_beside_a_gpu_gives_the_same_run(inputs, tmp_path):
    """On a GPU the policy that acts is a CPU copy; the copy must follow the learner."""
    curves = []
    for copied in (False, True):
        run = run_of("SAC+WkNN", inputs)
        simulator = run.simulator()
        learner = run.agent(simulator)
        trainer = loop.Trainer(learner, simulator, run.config.training, 3, torch.device("cpu"))
        if copied:
            trainer._actor = loop.copy.deepcopy(learner.policy)
        state = TrainingState(tmp_path, "x")
        trainer.train("x", state, UNTRACKED)
        curves.append(trainer.curve)
    assert curves[0] == curves[1]


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(GemsError, match="no CUDA"):
        pick_device("cuda")


def test_training_leaves_the_global_generators_alone(inputs, tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    execute_in(run_of("SAC+TopK-ideal", inputs), tmp_path)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_simulator_of_a_run_is_the_environment_it_names(inputs):
    simulator = run_of("Random", inputs).simulator()
    assert isinstance(simulator, Simulator)
    examination = simulator.click_model.examination
    assert examination[0] == pytest.approx(examination[9])
