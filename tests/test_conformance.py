"""Agreement with what was recorded from the released code."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "conformance"))

import replay_traces  # noqa: E402
import replay_updates  # noqa: E402

SHARED = HERE.parents[1] / "shared" / "reference"


def test_every_recorded_episode_replays(capsys):
    path = HERE / "data" / "simulator_traces.npz"
    assert replay_traces.main(str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert sum(int(line.split(": ")[1].split()[0]) for line in lines) == 72


def test_recorded_updates_repeat():
    path = HERE / "data" / "agent_updates.npz"
    found = {deviation.method: deviation for deviation in replay_updates.replay(str(path))}
    assert set(found) == {"TopK", "REINFORCE"}
    assert all(deviation.agrees for deviation in found.values()), found


def test_updates_of_every_agent_repeat():
    path = SHARED / "agent_updates.npz"
    if not path.is_file():
        pytest.skip("the full recording of updates is not beside the repository")
    found = {deviation.method: deviation for deviation in replay_updates.replay(str(path))}
    assert set(found) == {"GeMS", "TopK", "WkNN", "SlateQ", "REINFORCE", "VAE"}
    assert all(deviation.agrees for deviation in found.values()), found


def test_a_changed_click_is_a_disagreement(tmp_path):
    with np.load(HERE / "data" / "simulator_traces.npz") as data:
        group = {k: data[k] for k in data if k.startswith("focused/topdown/")}
        group["focused/item_embeddings"] = data["focused/item_embeddings"]
    clicks = group["focused/topdown/clicks"].copy()
    clicks[0, 0, 0] = not clicks[0, 0, 0]
    np.savez(tmp_path / "wrong.npz", **{**group, "focused/topdown/clicks": clicks})
    assert replay_traces.main(str(tmp_path / "wrong.npz")) == 1


def test_a_changed_weight_is_a_disagreement(tmp_path):
    with np.load(HERE / "data" / "agent_updates.npz") as data:
        record = {k: data[k] for k in data if k.startswith("TopK/")}
    record["TopK/change/PolicyNet.2.bias"] = 1.01 * record["TopK/change/PolicyNet.2.bias"]
    np.savez(tmp_path / "wrong.npz", **record)
    assert replay_updates.main(str(tmp_path / "wrong.npz")) == 1
