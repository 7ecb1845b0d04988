"""Agreement with what was recorded from the released code."""

from pathlib import Path

import numpy as np
import pack_updates
import pytest
import replay_traces
import replay_updates

HERE = Path(__file__).parents[1]
SHARED = HERE.parents[1] / "shared" / "reference"
UPDATES = HERE / "data" / "agent_updates.npz"
METHODS = {"GeMS", "TopK", "WkNN", "SlateQ", "REINFORCE", "VAE"}


def full_recording() -> Path:
    path = SHARED / "agent_updates.npz"
    if not path.is_file():
        pytest.skip("the full recording of updates is not beside the repository")
    return path


def assert_equal_records(found: replay_updates.Record, expected: replay_updates.Record) -> None:
    assert set(found) == set(expected)
    for key, array in expected.items():
        assert found[key].dtype == array.dtype, key
        assert found[key].shape == array.shape, key
        assert found[key].tobytes() == array.tobytes(), key


def test_every_recorded_episode_replays(capsys):
    path = HERE / "data" / "simulator_traces.npz"
    assert replay_traces.main(str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert sum(int(line.split(": ")[1].split()[0]) for line in lines) == 72


def test_recorded_updates_repeat():
    found = {deviation.method: deviation for deviation in replay_updates.replay(str(UPDATES))}
    assert set(found) == METHODS
    assert all(deviation.agrees for deviation in found.values()), found


def test_updates_of_every_agent_repeat():
    path = full_recording()
    found = {deviation.method: deviation for deviation in replay_updates.replay(str(path))}
    assert set(found) == METHODS
    assert all(deviation.agrees for deviation in found.values()), found


def test_recorded_updates_equal_the_full_recording():
    with np.load(full_recording(), allow_pickle=False) as data:
        assert_equal_records(replay_updates.load(str(UPDATES)), dict(data))


def test_packing_loses_nothing(tmp_path):
    values = np.array([0.0, -0.0, np.nan, 1e-45], dtype=np.float32)
    record = {
        "A/before/x": values,
        "A/before/y": values,
        "A/before/negated": -values,
        "A/before/column": values.reshape(4, 1),
        "A/before/integers": values.view(np.int32),
        "B/before/x": values,
        "B/loss": np.float64(0.5),
    }
    np.savez(tmp_path / "full.npz", **record)
    pack_updates.pack(str(tmp_path / "full.npz"), str(tmp_path / "packed.npz"))
    with np.load(tmp_path / "packed.npz", allow_pickle=False) as data:
        assert data["same_as"].tolist() == [[k, "A/before/x"] for k in ("A/before/y", "B/before/x")]
        assert len(data.files) == 6
    assert_equal_records(replay_updates.load(str(tmp_path / "packed.npz")), record)


def test_recorded_data_stay_small():
    assert sum(path.stat().st_size for path in (HERE / "data").iterdir()) < 6_000_000


def test_a_changed_click_is_a_disagreement(tmp_path):
    with np.load(HERE / "data" / "simulator_traces.npz") as data:
        group = {k: data[k] for k in data if k.startswith("focused/topdown/")}
        group["focused/item_embeddings"] = data["focused/item_embeddings"]
    clicks = group["focused/topdown/clicks"].copy()
    clicks[0, 0, 0] = not clicks[0, 0, 0]
    np.savez(tmp_path / "wrong.npz", **{**group, "focused/topdown/clicks": clicks})
    assert replay_traces.main(str(tmp_path / "wrong.npz")) == 1


def test_a_changed_weight_is_a_disagreement(tmp_path):
    data = replay_updates.load(str(UPDATES))
    record = {k: v for k, v in data.items() if k.startswith("TopK/")}
    record["TopK/change/PolicyNet.2.bias"] = 1.01 * record["TopK/change/PolicyNet.2.bias"]
    np.savez(tmp_path / "wrong.npz", **record)
    assert replay_updates.main(str(tmp_path / "wrong.npz")) == 1
