"""Import of logs: formats and layouts agree, ids are mapped, and a bad row is named."""

import csv
import json
import random
import re

import numpy as np
import pytest
from log_writing import FORMATS, LAYOUTS, item_rows, slate_rows, slates_of, write_log
from runtimes import runtime

import gems
from gems.config import build
from gems.data import dataset, log_files, log_layouts
from gems.errors import GemsError
from gems.pretraining.mf import factorise
from gems.pretraining.vae_training import pretrain
from gems.runtime.files import sha256

# User, items, clicks; users take turns, and have 3, 2 and 1 of them.
SLATES = [
    (7, (30, 4, 100), (0, 1, 0)),
    (5, (4, 9, 30), (1, 1, 0)),
    (7, (9, 30, 4), (0, 0, 0)),
    (7, (100, 9, 4), (1, 0, 1)),
    (6, (100, 30, 9), (0, 0, 1)),
    (5, (30, 100, 9), (0, 1, 0)),
]
# Users in order of first appearance; items in numerical order.
USERS, ITEMS = [7, 5, 6], [4, 9, 30, 100]
EXPECTED = [
    (USERS.index(user), [ITEMS.index(item) for item in items], list(clicks))
    for wanted in USERS
    for user, items, clicks in SLATES
    if user == wanted
]


@pytest.fixture
def imported(tmp_path):
    """Write rows to a file and import it."""

    def make(rows, name="log.jsonl", **options):
        folder = tmp_path / "datasets" / "mine"
        return gems.import_logs(write_log(tmp_path / name, rows), folder, **options)

    return make


@pytest.fixture
def refusal(imported, tmp_path):
    """The message of a refused import, which must be one line and leave nothing behind."""

    def make(rows, name="log.csv", **options):
        with pytest.raises(GemsError) as raised:
            imported(rows, name, **options)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return make


def ids(data, name):
    with (data.folder / f"{name}.csv").open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


# Formats and layouts


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_and_layout_gives_the_same_dataset(imported, suffix, layout):
    data = imported(LAYOUTS[layout](SLATES), f"log.{suffix}")
    assert slates_of(data) == EXPECTED
    assert ids(data, "users") == [str(user) for user in USERS]
    assert ids(data, "items") == [str(item) for item in ITEMS]
    assert (data.users, data.turns, data.slates, data.slate_size) == (3, None, 6, 3)
    files = {"slates.npy", "clicks.npy", "starts.npy", "users.csv", "items.csv", "dataset.json"}
    assert {path.name for path in data.folder.iterdir()} == files


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_batches_of_any_size_give_the_same_dataset(imported, monkeypatch, suffix, layout):
    monkeypatch.setattr(log_files, "BATCH_ROWS", 2)
    monkeypatch.setattr(log_files, "BLOCK_BYTES", 40)
    monkeypatch.setattr(log_layouts, "READ_RECORDS", 2)
    assert slates_of(imported(LAYOUTS[layout](SLATES), f"log.{suffix}")) == EXPECTED


@pytest.mark.parametrize(
    "rows",
    [
        [{"user": 1, "slate": "[1, 2]", "clicks": "[true, false]"}] * 2,
        [{"user": 1, "slate": " 1  2 ", "clicks": "1 0"}] * 2,
        [{"user": 1, "slate": '["1", "2"]', "clicks": "True False"}] * 2,
        [{"user": 1, "slate": "[1,\n 2]", "clicks": "[1.0, 0]"}] * 2,
    ],
)
def test_lists_in_csv_are_json_or_separated_by_spaces(imported, rows):
    data = imported([*rows, rows[0] | {"user": 2}], "log.csv")
    assert slates_of(data) == [(0, [0, 1], [1, 0])] * 2 + [(1, [0, 1], [1, 0])]


def test_users_with_equal_numbers_of_turns_give_the_format_of_simulated_data(imported):
    data = imported(slate_rows([SLATES[0], SLATES[1]]))
    assert data.turns == 1
    assert data.packed_slates.shape == (2, 1, 3)
    assert not (data.folder / "starts.npy").exists()


# Order


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_rows_may_come_in_any_order(imported, suffix):
    rows = item_rows(SLATES)
    rest = rows[1:]
    random.Random(1).shuffle(rest)
    rest.sort(key=lambda row: USERS.index(row["user"]) % 2)
    rest = [row for user in USERS for row in rest if row["user"] == user]
    assert slates_of(imported([rows[0], *rest], f"log.{suffix}")) == EXPECTED


def test_numbers_and_times_order_the_turns_of_a_user(imported):
    rows = slate_rows(SLATES, turn=True)
    backwards = [rows[3], rows[0], rows[5], rows[2], rows[1], rows[4]]
    assert slates_of(imported(backwards)) == EXPECTED
    for row in backwards:
        row["turn"] = np.datetime64(row["turn"], "D")
    assert slates_of(imported(backwards, "log.parquet")) == EXPECTED


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_turns_are_in_the_order_of_the_file(imported, layout):
    rows = slate_rows(SLATES, True) if layout == "slates" else item_rows(SLATES)
    names = {7: "cab", 5: "ba", 6: "c"}
    rows = [row | {"turn": names[row["user"]][row["turn"]]} for row in rows]
    assert slates_of(imported(rows)) == EXPECTED


def test_positions_count_from_0_or_1(imported):
    assert slates_of(imported(item_rows(SLATES, first=1))) == EXPECTED


# Ids and columns


def test_texts_are_sorted_as_texts_and_users_are_numbered_as_they_appear(imported):
    names = {4: "b", 9: "a b", 30: "07", 100: "7"}
    slates = [(f"u{u}", [names[item] for item in items], c) for u, items, c in SLATES]
    data = imported(slate_rows(slates))
    assert ids(data, "items") == ["07", "7", "a b", "b"]
    assert ids(data, "users") == ["u7", "u5", "u6"]
    assert slates_of(data)[0] == (0, [0, 3, 1], [0, 1, 0])


def test_a_number_and_the_text_of_it_are_the_same_id(imported):
    rows = slate_rows([(1, (3, "x"), (0, 1)), ("1", ("3", 4), (True, 0)), (2, (3, 4), (0, 0))])
    data = imported(rows)
    assert ids(data, "users") == ["1", "2"]
    assert ids(data, "items") == ["3", "4", "x"]


def test_numbered_items_keep_their_numbers(imported):
    data = imported(slate_rows(SLATES), items=40_000)
    assert slates_of(data)[0] == (0, [30, 4, 100], [0, 1, 0])
    assert data.packed_slates.dtype == np.int32
    assert data.meta["items"] == len(ids(data, "items")) == 40_000


def test_columns_may_have_other_names(imported):
    new = {"user": "u", "turn": "request", "position": "rank", "item": "doc", "click": "y"}
    rows = [{new[name]: value for name, value in row.items()} for row in item_rows(SLATES)]
    assert slates_of(imported(rows, columns=new)) == EXPECTED


def test_the_description_tells_where_a_dataset_is_from(imported, tmp_path):
    meta = imported(slate_rows(SLATES)).meta
    assert meta.pop("source_sha256") == sha256(tmp_path / "log.jsonl")
    assert len(meta.pop("sha256")) == 64
    assert meta == {
        "users": 3,
        "turns": None,
        "slates": 6,
        "items": 4,
        "source": "log.jsonl",
        "layout": "slates",
        "columns": {"user": "user", "slate": "slate", "clicks": "clicks"},
    }


# What is refused


def changed(layout, row, **values):
    """The rows of a layout, of which one (from 1) differs; None removes it."""
    rows = slate_rows(SLATES, True) if layout == "slates" else item_rows(SLATES)
    if not values:
        del rows[row - 1]
    else:
        rows[row - 1] |= values
    return rows


REFUSED = {
    "a longer slate": ("slates", 3, {"slate": [1, 2, 3, 4]}, 3, "4 items, the first has 3"),
    "other clicks": ("slates", 2, {"clicks": [0, 1]}, 2, "2 clicks for 3 items"),
    "no click": ("slates", 4, {"clicks": [0, 2, 1]}, 4, "click .*2.* is not 0, 1, true or false"),
    "no items": ("slates", 5, {"slate": None}, 5, "'slate' has no value"),
    "no user": ("slates", 2, {"user": None}, 2, "'user' has no value"),
    "the same turn": ("slates", 6, {"turn": 0}, 6, "are those of row 2"),
    "no whole turn": ("slates", 3, {"turn": "x"}, 3, "'x' is not a whole number"),
    "a click of 0.5": ("items", 8, {"click": 0.5}, 8, "click .*0.5.* is not 0, 1, true or false"),
    "an item missing": ("items", 8, {"item": None}, 8, "'item' has no value"),
    "a position twice": ("items", 9, {"position": 1}, 9, "position 1 in row 8 too"),
    "a position missing": ("items", 9, {}, 7, "lacks position 2 of 0 to 2"),
    "a position beyond": ("items", 9, {"position": 3}, 9, "is 3, that of other slates 2 at most"),
    "a negative position": ("items", 9, {"position": -1}, 9, "position -1 is not one from 0"),
}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_does_not_fit_is_named(refusal, case, suffix):
    layout, row, values, told, problem = REFUSED[case]
    rows = changed(layout, row, **values)
    if suffix == "parquet" and "x" in values.values():
        rows = [entry | {"turn": str(entry["turn"])} for entry in rows]
    message = refusal(rows, f"log.{suffix}")
    line = {"parquet": "", "csv": f" (line {told + 1})", "jsonl": f" (line {told})"}[suffix]
    assert message.startswith(f"log.{suffix}, row {told}{line}: ")
    assert re.search(problem, message), message


@pytest.mark.parametrize("item", [-1, 101, "x", 1.5])
def test_an_item_outside_of_the_numbered_ones_is_named(refusal, item):
    message = refusal(slate_rows([*SLATES[:3], (5, (1, item, 2), (0, 0, 0))]), items=101)
    assert message.startswith("log.csv, row 4 (line 5): ")


def test_the_row_of_a_later_block_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "BLOCK_BYTES", 100)
    path = tmp_path / "log.csv"
    path.write_text("user,slate,clicks\n" + "1,2 3,0 1\n" * 50 + "\n1,2 3,0 1,5\n")
    with pytest.raises(GemsError, match=r"row 51 \(line 53\): it has 4 values for 3 columns"):
        gems.import_logs(path, tmp_path / "x")


def test_lines_count_empty_ones_and_line_breaks_in_values(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('user,slate,clicks\n\n"a\nb",1 2,0 1\n\nc,1 2,0 2\n')
    with pytest.raises(GemsError, match=r"row 2 \(line 6\)"):
        gems.import_logs(path, tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "log.csv",
            "user,slate,clicks\n1,2,0\n1,2,0,5\n2,2,0\n",
            r"row 2 \(line 3\): it has 4 valu",
        ),
        ("log.csv", "", "log.csv is empty"),
        ("log.csv", "user,slate,clicks\n", "has 0 user.s."),
        ("log.csv", "user,slate,clicks\n1,2,0\n", "has 1 user.s."),
        ("log.csv", "user,slate,clicks\n1,[2,0\n2,[2],[0]\n", "row 1 .line 2.: its list is nei"),
        ("log.csv", 'user,slate,clicks\n1,[2],0\n2,"[2,","[0]"\n', "row 2 .line 3.: its list is"),
        ("log.csv", "user,slate,clicks\n1,[2],0\n2,2,0\n", "row 2 .line 3.: its list is not"),
        ("log.csv", "user,user,slate,clicks\n1,1,2,0\n", "2 columns 'user'"),
        (
            "log.csv",
            "who,slate,clicks\n1,2,0\n",
            r"columns who, slate, clicks and.*'user' \(--user",
        ),
        ("log.jsonl", "\n", "log.jsonl is empty"),
        ("log.jsonl", '{"user": 1, "slate": [1], "clicks": [0]}\n\n{"user": 1', r"row 2 \(line 3"),
        (
            "log.jsonl",
            '{"user": 1, "slate": [1], "clicks": [0]}\n{"user": 1}',
            "'slate' has no val",
        ),
        ("log.jsonl", '{"user": 1, "slate": 5, "clicks": 0}\n', "row 1 .line 1.: lists are needed"),
        (
            "log.jsonl",
            '{"user": 1, "slate": [], "clicks": []}\n',
            "row 1 .line 1.: its slate is em",
        ),
        ("log.jsonl", '{"user": [1], "slate": [1], "clicks": [0]}\n', "row 1 .*: single values"),
        ("log.jsonl", '{"user": 1, "slate": [[1]], "clicks": [0]}\n', "row 1 .*: single values"),
        ("log.parquet", "text", "log.parquet cannot be read"),
        ("log.csv.gz", "text", "log.csv.gz cannot be read"),
        ("log.xlsx", "text", "must end in"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(GemsError, match=message) as raised:
        gems.import_logs(tmp_path / name, tmp_path / "datasets" / "x")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_wrong_option_is_refused(refusal):
    assert "'users' is neither a column" in refusal(slate_rows(SLATES), columns={"users": "x"})
    assert "'rows' is neither a column nor a layout" in refusal(slate_rows(SLATES), layout="rows")
    assert "has no column 'time' (--turn)" in refusal(slate_rows(SLATES), columns={"turn": "time"})
    both = [a | b for a, b in zip(slate_rows(SLATES), item_rows(SLATES), strict=False)]
    assert "give --layout" in refusal(both)


def test_a_refused_log_leaves_the_earlier_dataset(imported):
    data = imported(slate_rows(SLATES))
    before = {path.name: path.read_bytes() for path in data.folder.iterdir()}
    with pytest.raises(GemsError):
        imported(changed("slates", 6, clicks=[0]))
    assert {path.name: path.read_bytes() for path in data.folder.iterdir()} == before
    assert [path.name for path in data.folder.parent.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    path = write_log(tmp_path / "log.csv", slate_rows(SLATES))
    with pytest.raises(GemsError, match=r"^Cannot write .*\.$"):
        gems.import_logs(path, tmp_path / "file" / "mine")


def test_a_new_dataset_leaves_nothing_of_the_earlier_one(imported):
    imported(slate_rows(SLATES))
    data = imported(slate_rows(SLATES[:2]))
    assert not (data.folder / "starts.npy").exists()
    assert dataset.read(data.folder).users == 2


# Round trip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_exported_dataset_pretrains_the_same_models_byte_for_byte(
    data, imported, tmp_path, layout
):
    exported = LAYOUTS[layout](slates_of(data))
    copy = imported(exported, "log.parquet", items=40)
    for name in ("slates.npy", "clicks.npy"):
        assert (copy.folder / name).read_bytes() == (data.folder / name).read_bytes()
    assert_same_models(data, copy, tmp_path)


def test_ragged_logs_pretrain_both_models(imported, tmp_path):
    rng = np.random.default_rng(0)
    slates = [
        (int(user), rng.integers(0, 30, 4).tolist(), (rng.random(4) < 0.4).astype(int).tolist())
        for user in rng.integers(0, 20, 300)
    ]
    data = imported(slate_rows(slates))
    assert data.turns is None
    vae, mf = models(data, tmp_path / "models")
    assert json.loads(vae.with_suffix(".json").read_text())["dataset"]["turns"] is None
    assert mf.is_file()


def models(data, folder):
    config = build(
        {
            "vae": {"epochs": 1, "batch_slates": 32, "latent_dim": 3},
            "mf": {"validate_every": 20, "patience": 1, "batch_pairs": 16},
        }
    )
    vae, mf = folder / "vae.safetensors", folder / "mf.safetensors"
    pretrain(data, config.vae, 7, vae, runtime(folder / "vae_state"))
    factorise(data, config.mf, 1, mf, runtime(folder / "mf_state"))
    return vae, mf


def assert_same_models(first, second, folder):
    pairs = zip(models(first, folder / "a"), models(second, folder / "b"), strict=True)
    for ours, theirs in pairs:
        assert ours.read_bytes() == theirs.read_bytes()
