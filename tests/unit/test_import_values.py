"""How values of logs are read: times as turns, lists as texts."""

import pandas as pd
import pytest

import gems


@pytest.mark.parametrize("write_time", [str, pd.Timestamp, lambda time: f"{time.isoformat()}Z"])
def test_times_order_the_slates_of_a_user_whether_they_are_texts_or_not(tmp_path, write_time):
    times = pd.to_datetime(["2024-03-02 08:00", "2024-03-01 23:30", "2024-03-01 09:00"])
    rows = [
        {"user": user, "turn": write_time(time), "slate": [place, 3], "clicks": [0, 1]}
        for user in ("a", "b")
        for place, time in enumerate(times)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "log.parquet")
    data = gems.import_logs(tmp_path / "log.parquet", tmp_path / "x")
    assert data.packed_slates[:, :, 0].tolist() == [[2, 1, 0]] * 2


def test_lists_of_booleans_as_pandas_writes_them_are_read(tmp_path):
    rows = [{"user": u, "slate": [1, 2], "clicks": [True, False]} for u in "ab"]
    pd.DataFrame(rows).to_csv(tmp_path / "log.csv")
    data = gems.import_logs(tmp_path / "log.csv", tmp_path / "x")
    assert data.read(slice(0, 2)).clicks.tolist() == [[1, 0]] * 2
