"""What a run records of its test episodes agrees with the episodes themselves."""

import csv
import json

import numpy as np
import pytest
from runtimes import runtime

from gems.agents.fixed import OraclePolicy, RandomPolicy
from gems.config import build
from gems.envs import items as item_embeddings
from gems.envs.simulator import Simulator
from gems.methods import METHODS
from gems.pipeline.stages import run_values
from gems.runtime.randomness import stream, torch_stream
from gems.training.recording import RecordingSimulator
from gems.training.rollout import rollout
from gems.training.run import Run, execute

TURNS, USERS, SEED = 30, 40, 5
CONFIG = build({"simulator": {"turns": TURNS, "boredom_threshold": 2}})
ENVIRONMENT = CONFIG.environment("focused_mix")


def policy_of(name, items):
    return (
        OraclePolicy()
        if name == "oracle"
        else RandomPolicy(len(items.embeddings), 10, distinct=True)
    )


def read(path):
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(params=["oracle", "random"])
def recorded(request, small_items, tmp_path):
    """The recorded files, and the episodes as played with a plain simulator, turn by turn."""
    policy = policy_of(request.param, small_items)
    recorder = RecordingSimulator(small_items, ENVIRONMENT)
    episodes = rollout(policy, recorder, USERS, "greedy", SEED, "test")
    recorder.write_turns(tmp_path / "turns.csv")
    recorder.write_scores(tmp_path / "scores.csv")

    plain = Simulator(small_items, ENVIRONMENT)
    generator = torch_stream(SEED, "policy", "test")
    draws = policy.draws("greedy", TURNS, USERS, generator)
    seen = plain.reset(USERS, stream(SEED, "users", "test"))
    policy.begin(USERS)
    played = []
    for turn in range(TURNS):
        bored = seen.bored.sum(axis=1)
        seen = plain.step(policy.act(seen, "greedy", draws[turn]).slates.numpy())
        played.append((seen.slates, seen.clicks, bored, plain.scores.copy()))
    return tmp_path, episodes, played


def test_recording_changes_no_episode(recorded):
    _, episodes, played = recorded
    for turn, (slates, clicks, _, _) in enumerate(played, start=1):
        np.testing.assert_array_equal(episodes.slates[:, turn], slates)
        np.testing.assert_array_equal(episodes.clicks[:, turn], clicks)


def test_turns_are_means_over_the_users(recorded, small_items):
    folder, episodes, played = recorded
    rows = read(folder / "turns.csv")
    assert [row["turn"] for row in rows] == list(range(1, TURNS + 1))
    for row, (slates, clicks, bored, _) in zip(rows, played, strict=True):
        topics = [len(set(small_items.main_topics[slate].tolist())) for slate in slates]
        assert row["reward"] == pytest.approx(clicks.sum(axis=1).mean())
        assert row["bored_topics"] == pytest.approx(bored.mean())
        assert row["slate_topics"] == pytest.approx(np.mean(topics))
    assert sum(row["reward"] for row in rows) == pytest.approx(episodes.returns.mean())
    assert any(row["bored_topics"] for row in rows)


def test_scores_are_counted_by_the_boredom_that_they_were_shown_in(recorded):
    folder, _, played = recorded
    rows = read(folder / "scores.csv")
    scores = np.concatenate([scores.ravel() for *_, scores in played]).astype(float)
    bored = np.concatenate([np.repeat(bored, 10) for _, _, bored, _ in played])
    assert sum(row["count"] for row in rows) == len(scores) == TURNS * USERS * 10
    for row in rows:
        inside = (np.floor(scores * 100) == round(row["score_from"] * 100)) & (
            bored == row["bored_topics"]
        )
        assert row["count"] == inside.sum()
        assert row["score_sum"] == pytest.approx(scores[inside].sum())
    assert len({row["bored_topics"] for row in rows}) > 1


def test_users_of_several_batches_are_counted_together(small_items, tmp_path):
    policy = policy_of("oracle", small_items)
    recorder = RecordingSimulator(small_items, ENVIRONMENT)
    returns = [
        rollout(policy, recorder, n, "greedy", seed, "test").returns for seed, n in ((1, 3), (2, 9))
    ]
    recorder.write_turns(tmp_path / "turns.csv")
    total = sum(row["reward"] for row in read(tmp_path / "turns.csv"))
    assert total == pytest.approx(np.concatenate(returns).mean())


def test_a_run_leaves_the_record_of_its_test_users_beside_its_result(small_items, tmp_path):
    item_embeddings.save(tmp_path / "items.npy", small_items)
    config = build(
        {
            "simulator": {"turns": 8},
            "training": {"test_users": 7},
            "tracking": {"mode": "disabled"},
        }
    )
    inputs = {"items": tmp_path / "items.npy"}
    values = run_values(config, METHODS["ShortTermOracle"], "focused_mix")
    run = Run("run", "ShortTermOracle", "focused_mix", 1, config, inputs, values)
    execute(run, tmp_path / "run", runtime(tmp_path / "state"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    total = sum(row["reward"] for row in read(tmp_path / "run" / "turns.csv"))
    assert total == pytest.approx(result["test_return"])
    count = sum(row["count"] for row in read(tmp_path / "run" / "scores.csv"))
    assert count == 7 * 8 * 10
