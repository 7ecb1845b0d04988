"""``gems recommend``: a slate for each session of a history, or a refusal with the line."""

import io
import json
import sys

import numpy as np
import pytest
from learners import N_ITEMS
from options import TINY
from runtimes import runtime

import gems
from gems import cli
from gems.cli import recommend
from gems.config import build
from gems.envs import items
from gems.methods import method
from gems.pipeline.stages import run_values
from gems.training.run import Run, execute

ENV, SLOTS = "focused_topdown", 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory, models):
    """Folder of a tiny run of SAC+GeMS."""
    root, config = tmp_path_factory.mktemp("run"), build(TINY)
    items.save(root / "items.npy", items.generate(1, "focused", N_ITEMS, 1.0))
    inputs = {"items": root / "items.npy", "vae": models / "vae.safetensors"}
    values = run_values(config, method("SAC+GeMS"), ENV)
    execute(
        Run("run", "SAC+GeMS", ENV, 3, config, inputs, values), root / "run", runtime(root / "s")
    )
    return root / "run"


def session(rng, turns, **named):
    shape = turns, SLOTS
    slates, clicks = rng.integers(N_ITEMS, size=shape), rng.integers(2, size=shape)
    return named | {"slates": slates.tolist(), "clicks": clicks.tolist()}


def written(path, sessions):
    path.write_text("".join(json.dumps(each) + "\n" for each in sessions))
    return path


@pytest.fixture
def history(tmp_path):
    """Sessions of different lengths, some named, and a file of them."""
    rng = np.random.default_rng(0)
    sessions = [session(rng, turns, user=f"u{turns}") for turns in (3, 1, 12, 3, 4, 40)]
    sessions.append(session(rng, 2))
    return sessions, written(tmp_path / "history.jsonl", sessions)


@pytest.mark.parametrize("chunk", [(2, 10**5), (1000, 5), (1000, 10**5)])
def test_each_session_gets_the_slate_after_its_whole_history(
    folder, history, tmp_path, monkeypatch, chunk
):
    monkeypatch.setattr(recommend, "CHUNK_SESSIONS", chunk[0])
    monkeypatch.setattr(recommend, "CHUNK_TURNS", chunk[1])
    sessions, path = history
    output = tmp_path / "out" / "slates.jsonl"
    command = ["recommend", folder, "--history", path, "--output", output]
    assert cli.main(list(map(str, command))) == 0
    policy, expected = gems.load_policy(folder), []
    for each in sessions:
        policy.reset()
        for slates, clicks in zip(each["slates"], each["clicks"], strict=True):
            slate = policy.act(slates, clicks)
        expected.append({"user": each.get("user"), "slate": slate.tolist()})
    assert [json.loads(line) for line in output.read_text().splitlines()] == expected


def test_a_history_is_read_from_stdin_and_answered_on_stdout(folder, history, monkeypatch, capsys):
    sessions, path = history
    stdin = io.TextIOWrapper(io.BytesIO(b"\n" + path.read_bytes()))  # blank lines do not count
    monkeypatch.setattr(sys, "stdin", stdin)
    assert cli.main(["recommend", str(folder), "--history", "-"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["user"] for row in rows] == [each.get("user") for each in sessions]


SLATE, CLICKS = list(range(SLOTS)), [0] * SLOTS


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("\xff", "not JSON"),
        ("[1]", "not an object"),
        (json.dumps({"slates": [SLATE]}), "no 'clicks'"),
        (json.dumps({"slates": 1, "clicks": [CLICKS]}), "'slates' must be a list"),
        (json.dumps({"slates": [], "clicks": []}), "no turn"),
        (json.dumps({"slates": [SLATE] * 2, "clicks": [CLICKS]}), "2 slates, but clicks of 1"),
        (json.dumps({"slates": [SLATE[1:]], "clicks": [CLICKS]}), "shape (1, 10), not (1, 9)"),
        (json.dumps({"slates": [SLATE, [1]], "clicks": [CLICKS] * 2}), "array of the shape (2, 10"),
        (json.dumps({"slates": [[N_ITEMS] * SLOTS], "clicks": [CLICKS]}), "numbers from 0 to 76"),
        (json.dumps({"slates": [[10**30] * SLOTS], "clicks": [CLICKS]}), "numbers from 0 to 76"),
        (json.dumps({"slates": [SLATE], "clicks": [[3] * SLOTS]}), "must be 0 or 1"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_nothing_is_written(
    folder, history, tmp_path, capsys, line, problem
):
    sessions, path = history
    with path.open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    output = tmp_path / "slates.jsonl"
    output.write_text("earlier")
    command = ["recommend", folder, "--history", path, "--output", output]
    assert cli.main(list(map(str, command))) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"gems: error: Line {len(sessions) + 1} of the history")
    assert problem in message
    assert output.read_text() == "earlier"
    assert sorted(tmp_path.iterdir()) == [path, output]


def test_no_two_sessions_that_random_numbers_answer_get_the_same_slate(tmp_path, folder):
    """Sessions in different chunks and of different lengths have random numbers of their own."""
    config, root = build(TINY), folder.parent
    inputs = {"items": root / "items.npy"}
    run = Run("random", "Random", ENV, 3, config, inputs, run_values(config, method("Random"), ENV))
    execute(run, root / "random", runtime(root / "r"))
    rng = np.random.default_rng(0)
    sessions = [session(rng, turns) for turns in rng.integers(1, 20, size=2500)]
    path, output = written(tmp_path / "history.jsonl", sessions), tmp_path / "slates.jsonl"
    command = ["recommend", root / "random", "--history", path, "--output", output]
    assert cli.main(list(map(str, command))) == 0
    assert len(set(output.read_text().splitlines())) == len(sessions)


def test_a_missing_history_is_refused_in_one_line(folder, capsys):
    assert cli.main(["recommend", str(folder), "--history", "none.jsonl"]) == 2
    assert "none.jsonl cannot be used: No such file" in capsys.readouterr().err
