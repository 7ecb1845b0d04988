"""``gems import``: what it prints, where the dataset goes, and its provenance record."""

import json

import pytest
from log_writing import item_rows, slate_rows, write_log

from gems.cli import main
from gems.data import dataset

SLATES = [
    ("a", ("x", "y"), (1, 0)),
    ("b", ("y", "z"), (0, 0)),
    ("a", ("z", "x"), (0, 1)),
    ("a", ("z", "y"), (0, 1)),
]


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "log.csv", item_rows(SLATES))


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out, output.err.splitlines()


def test_an_import_tells_what_it_found(capsys, log, tmp_path):
    status, out, _ = run(capsys, "import", log, "--name", "mine", "--config", '{"results": "out"}')
    assert status == 0
    assert out.splitlines() == [
        "out/datasets/mine:",
        "  users: 2",
        "  items: 3",
        "  slates: 4 of 2 items",
        "  turns a user: 1 to 3, median 2",
        "  click rate: 0.3750",
    ]
    assert dataset.read(tmp_path / "out" / "datasets" / "mine").slates == 4


def test_columns_and_items_are_options(capsys, tmp_path):
    numbers = {"x": 0, "y": 1, "z": 2}
    rows = [
        {"who": row["user"], "shown": [numbers[i] for i in row["slate"]], "hit": row["clicks"]}
        for row in slate_rows(SLATES)
    ]
    path = write_log(tmp_path / "log.parquet", rows)
    names = ("--user", "who", "--slate", "shown", "--clicks", "hit", "--layout", "slates")
    status, _, _ = run(capsys, "import", path, "--name", "mine", *names, "--items", 5)
    assert status == 0
    meta = json.loads((tmp_path / "results" / "datasets" / "mine" / "dataset.json").read_text())
    assert meta["items"] == 5
    assert meta["columns"] == {"user": "who", "slate": "shown", "clicks": "hit"}


def test_an_imported_dataset_verifies_until_it_or_its_source_changes(capsys, log, tmp_path):
    run(capsys, "import", log, "--name", "mine")
    assert run(capsys, "verify")[0] == 0
    folder = tmp_path / "results" / "datasets" / "mine"
    before = (folder / "starts.npy").read_bytes()
    (folder / "starts.npy").write_bytes(before[:-1] + b"?")
    status, out, _ = run(capsys, "verify")
    assert status == 1
    assert "results/datasets/mine: starts.npy is damaged or was changed" in out
    (folder / "starts.npy").write_bytes(before)
    log.write_text("")
    status, out, _ = run(capsys, "verify")
    assert status == 1
    assert "inputs have changed" in out
    log.unlink()
    assert run(capsys, "verify")[0] == 0


def test_a_second_import_replaces_the_first(capsys, log, tmp_path):
    run(capsys, "import", log, "--name", "mine")
    write_log(log, slate_rows(SLATES[:2]))
    assert run(capsys, "import", log, "--name", "mine")[0] == 0
    assert dataset.read(tmp_path / "results" / "datasets" / "mine").turns == 1
    assert run(capsys, "verify")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "focused_topdown"], "is that of an environment"),
        (["--name", "a/b"], "may hold letters"),
        (
            ["--name", "mine", "--config", '{"custom_environments": {"mine": {}}}'],
            "is that of an environment",
        ),
        (["--name", "mine", "--items", "2"], "log.csv, row 1 (line 2): 'x' is not a whole number."),
        (["--name", "mine", "--items", "0"], "--items"),
        (["--name", "mine", "--user", "who"], "'who' (--user)"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing_behind(capsys, log, tmp_path, options, message):
    try:
        status, _, err = run(capsys, "import", log, *options)
    except SystemExit as stopped:
        status, err = stopped.code, capsys.readouterr().err.splitlines()
    assert status == 2
    assert err[-1].startswith("gems")
    assert message in err[-1]
    assert not any(path.is_file() for path in tmp_path.rglob("*") if path != log)
