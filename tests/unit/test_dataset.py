"""Logged data: how users are logged, and how the data is written and read."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from gems.data import dataset
from gems.data.logging_policy import log_users, logged_requests
from gems.envs.simulator import Simulator
from gems.errors import GemsError

SLATE_SIZE = 10
FILES = ("slates.npy", "clicks.npy", "dataset.json")


@st.composite
def logged(draw):
    """Slates (users, turns, size) and clicks."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 5)), SLATE_SIZE)
    slates = draw(arrays.arrays(np.int16, shape, elements=st.integers(0, 32766)))
    return slates, draw(arrays.arrays(np.bool_, shape))


@pytest.fixture
def folder(tmp_path):
    """A small dataset."""
    rng = np.random.default_rng(0)
    slates = rng.integers(0, 60, (6, 4, SLATE_SIZE))
    written(tmp_path / "data", slates, rng.random(slates.shape) < 0.3)
    return tmp_path / "data"


@pytest.fixture
def log(config, small_items):
    def make(folder, env="focused_topdown", users=50, turns=20, seed=1, epsilon=0.5):
        options = config(
            simulator={"turns": turns},
            logging={"users": users, "seed": seed, "epsilon": epsilon},
        )
        simulator = Simulator(small_items, options.environment(env))
        log_users(simulator, options.logging, env, folder)
        return dataset.read(folder)

    return make


def written(folder, slates, clicks, chunk=2):
    chunks = ((slates[i : i + chunk], clicks[i : i + chunk]) for i in range(0, len(slates), chunk))
    dataset.write(folder, slates.shape, chunks, {"items": 32767})
    return dataset.read(folder)


def assert_one_line(error: GemsError) -> None:
    assert "\n" not in str(error)
    assert str(error).endswith(".")


@given(logged())
def test_slates_and_clicks_that_are_written_are_read_back(data):
    slates, clicks = data
    with tempfile.TemporaryDirectory() as name:
        read = written(Path(name), slates, clicks)
        assert (read.users, read.turns) == slates.shape[:2]
        flat = read.read(slice(None))
        np.testing.assert_array_equal(flat.items, slates.reshape(-1, SLATE_SIZE))
        np.testing.assert_array_equal(flat.clicks, clicks.reshape(-1, SLATE_SIZE))
        order = np.random.default_rng(0).permutation(len(flat.items))
        some = read.read(order)
        np.testing.assert_array_equal(some.items, flat.items[order])
        np.testing.assert_array_equal(some.clicks, flat.clicks[order])
        assert some.items.dtype == np.int64
        assert some.clicks.dtype == np.float32


@given(logged(), st.data())
def test_clicked_pairs_are_those_of_a_plain_loop(data, bounds):
    slates, clicks = data
    users = slice(bounds.draw(st.none() | st.integers(0, 6)), bounds.draw(st.none() | st.just(4)))
    pairs = [
        (user, slates[user, turn, rank])
        for user in range(len(slates))[users]
        for turn in range(slates.shape[1])
        for rank in range(SLATE_SIZE)
        if clicks[user, turn, rank]
    ]
    with tempfile.TemporaryDirectory() as name:
        user, item = written(Path(name), slates, clicks).clicked_pairs(users)
        assert list(zip(user.tolist(), item.tolist(), strict=True)) == pairs


@given(logged(), st.data())
def test_users_with_different_numbers_of_turns_are_read_back(data, draw):
    slates, clicks = (part.reshape(-1, SLATE_SIZE) for part in data)
    cuts = draw.draw(st.sets(st.integers(1, max(1, len(slates) - 1))))
    starts = np.array(sorted({0, *cuts, len(slates)}))
    users = slice(draw.draw(st.integers(0, 3)), draw.draw(st.integers(0, 8)))
    with tempfile.TemporaryDirectory() as name:
        chunks = ((slates[i : i + 2], clicks[i : i + 2]) for i in range(0, len(slates), 2))
        dataset.write(Path(name), slates.shape, chunks, {"items": 32767}, starts)
        read = dataset.read(Path(name))
        assert (read.users, read.turns, read.slates) == (len(starts) - 1, None, len(slates))
        assert [read.slates_of_first(n) for n in range(len(starts))] == starts.tolist()
        np.testing.assert_array_equal(read.read(slice(None)).items, slates)
        np.testing.assert_array_equal(read.read(slice(None)).clicks, clicks)
        pairs = [
            (user, slates[slate, rank])
            for user in range(read.users)[users]
            for slate in range(starts[user], starts[user + 1])
            for rank in range(SLATE_SIZE)
            if clicks[slate, rank]
        ]
        user, item = read.clicked_pairs(users)
        assert list(zip(user.tolist(), item.tolist(), strict=True)) == pairs


def test_users_with_equal_numbers_of_turns_need_no_starts(folder):
    data = dataset.read(folder)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert (data.slates, data.starts.tolist()) == (24, [0, 4, 8, 12, 16, 20, 24])


@pytest.fixture
def ragged(tmp_path):
    """A small dataset of 3 users with 1, 2 and 3 turns."""
    slates = np.arange(60).reshape(6, SLATE_SIZE)
    starts = np.array([0, 1, 3, 6])
    dataset.write(tmp_path / "data", slates.shape, [(slates, slates > 30)], {"items": 60}, starts)
    return tmp_path / "data"


def test_a_new_dataset_leaves_nothing_of_a_ragged_one(ragged):
    slates = np.zeros((3, 2, SLATE_SIZE), dtype=np.int16)
    written(ragged, slates, slates > 0)
    assert {path.name for path in ragged.iterdir()} == set(FILES)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "starts.npy").unlink(),
        lambda f: truncate(f / "starts.npy", -8),
        lambda f: rewrite(f / "starts.npy", lambda a: a[1:]),
        lambda f: rewrite(f / "starts.npy", lambda a: a.astype(np.int32)),
        lambda f: rewrite(f / "starts.npy", lambda a: a[::-1].copy()),
        lambda f: rewrite(f / "slates.npy", lambda a: a[1:]),
    ],
)
def test_a_damaged_ragged_dataset_is_refused_in_one_line(ragged, damage):
    damage(ragged)
    with pytest.raises(GemsError) as raised:
        dataset.read(ragged)
    assert str(ragged) in str(raised.value)
    assert_one_line(raised.value)


def test_data_is_mapped_from_the_disk_and_not_loaded(folder):
    data = dataset.read(folder)
    assert isinstance(data.packed_slates, np.memmap)
    assert isinstance(data.packed_clicks, np.memmap)
    data.read(slice(0, 1))
    assert isinstance(data._flat[0].base, np.memmap)


def test_data_cannot_be_changed_through_what_was_opened(folder):
    data = dataset.read(folder)
    with pytest.raises(ValueError, match="read-only"):
        data.packed_slates[0, 0, 0] = 1


def test_10_million_slates_take_at_most_250_megabytes(log, tmp_path):
    data = log(tmp_path, users=100, turns=100)
    size = sum((tmp_path / name).stat().st_size for name in FILES)
    assert size / (data.users * data.turns) * 10_000_000 <= 250e6


def test_the_folder_of_a_dataset_holds_nothing_else(log, tmp_path):
    log(tmp_path / "data")
    assert {path.name for path in (tmp_path / "data").iterdir()} == set(FILES)


def test_what_a_dataset_was_made_with_is_written_beside_it(log, tmp_path):
    meta = log(tmp_path, env="diffuse_mix", users=7, turns=3, seed=5).meta
    assert len(meta.pop("sha256")) == 64
    assert meta == {
        "environment": "diffuse_mix",
        "items": 60,
        "logging": {"users": 7, "seed": 5, "epsilon": 0.5},
        "users": 7,
        "turns": 3,
    }


def test_the_same_seed_gives_the_same_bytes(log, tmp_path):
    log(tmp_path / "a")
    log(tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_seed_or_environment_draws_other_random_items(log, tmp_path):
    data = log(tmp_path / "a", epsilon=1)
    seed = log(tmp_path / "b", epsilon=1, seed=2)
    env = log(tmp_path / "c", epsilon=1, env="focused_mix")
    for other in (seed, env):
        assert (data.packed_slates != other.packed_slates).mean() > 0.9


def test_the_first_users_of_a_larger_dataset_are_those_of_a_smaller_one(log, tmp_path):
    small = log(tmp_path / "a", users=1000, turns=3).read(slice(None))
    large = log(tmp_path / "b", users=2500, turns=3).read(slice(None))
    np.testing.assert_array_equal(small.items, large.items[:3000])
    np.testing.assert_array_equal(small.clicks, large.clicks[:3000])
    assert (large.items[3000:6000] != small.items).any(axis=1).all()


def test_logged_items_exist_and_get_clicks(log, tmp_path):
    slates = log(tmp_path).read(slice(None))
    assert ((slates.items >= 0) & (slates.items < 60)).all()
    assert 0 < slates.clicks.mean() < 1


def test_the_first_slate_is_not_logged(log, tmp_path, small_items):
    slates = log(tmp_path, users=20, epsilon=0).packed_slates
    assert (slates[:, 0] != small_items.first_slate(SLATE_SIZE)).any(axis=1).all()


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_random_slots_is_epsilon(epsilon):
    n = 20_000
    random = logged_requests(np.random.default_rng(1), (n, SLATE_SIZE), 1000, epsilon) >= 0
    error = (epsilon * (1 - epsilon) / n) ** 0.5
    np.testing.assert_allclose(random.mean(axis=0), epsilon, atol=4 * error)


def test_slots_are_random_independently_of_one_another():
    random = logged_requests(np.random.default_rng(1), (50_000, SLATE_SIZE), 1000, 0.5) >= 0
    correlation = np.corrcoef(random.T) - np.eye(SLATE_SIZE)
    np.testing.assert_allclose(correlation, 0, atol=5 / 50_000**0.5)


@given(seed=st.integers(0, 2**32), n_items=st.integers(10, 40))
def test_random_items_of_a_slate_are_distinct_and_exist(seed, n_items):
    slates = logged_requests(np.random.default_rng(seed), (50, SLATE_SIZE), n_items, 1.0)
    assert ((slates >= 0) & (slates < n_items)).all()
    assert (np.diff(np.sort(slates, axis=1), axis=1) > 0).all()


def test_random_items_are_uniform_at_every_rank():
    slates = logged_requests(np.random.default_rng(1), (60_000, SLATE_SIZE), 30, 1.0)
    for rank in range(SLATE_SIZE):
        counts = np.bincount(slates[:, rank], minlength=30)
        assert stats.chisquare(counts).pvalue > 1e-4


def test_pairs_of_random_items_are_uniform():
    slates = logged_requests(np.random.default_rng(2), (60_000, SLATE_SIZE), 10, 1.0)
    for a, b in ((0, 1), (3, 7), (8, 9)):
        counts = np.bincount(slates[:, a] * 10 + slates[:, b], minlength=100).reshape(10, 10)
        assert stats.chisquare(counts[~np.eye(10, dtype=bool)]).pvalue > 1e-4


def test_slots_that_are_not_random_show_the_oracle(log, tmp_path, config, small_items):
    simulator = Simulator(small_items, config().environment("focused_topdown"))
    simulator.reset(400, np.random.default_rng(1))
    oracle = simulator.oracle_slates()
    asked = logged_requests(np.random.default_rng(2), (400, SLATE_SIZE), 60, 0.5)
    shown = simulator.step(asked).slates
    np.testing.assert_array_equal(shown[asked < 0], oracle[asked < 0])
    np.testing.assert_array_equal(shown[asked >= 0], asked[asked >= 0])


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


def rewrite(path, change):
    np.save(path, change(np.load(path)))


DAMAGE = {
    "no folder": lambda f: [(f / name).unlink() for name in FILES] and f.rmdir(),
    "no slates": lambda f: (f / "slates.npy").unlink(),
    "no clicks": lambda f: (f / "clicks.npy").unlink(),
    "no description": lambda f: (f / "dataset.json").unlink(),
    "truncated slates": lambda f: truncate(f / "slates.npy", -20),
    "truncated header": lambda f: truncate(f / "slates.npy", 40),
    "empty clicks": lambda f: truncate(f / "clicks.npy", 0),
    "truncated description": lambda f: truncate(f / "dataset.json", 20),
    "empty description": lambda f: truncate(f / "dataset.json", 0),
    "description of something else": lambda f: (f / "dataset.json").write_text('{"seed": 1}'),
    "description is a list": lambda f: (f / "dataset.json").write_text("[1, 2]"),
    "description is binary": lambda f: (f / "dataset.json").write_bytes(b"\xff\xfe\x00"),
    "text for slates": lambda f: (f / "slates.npy").write_text("1 2 3"),
    "pickle for slates": lambda f: np.save(f / "slates.npy", np.array([None] * 3)),
    "archive for slates": lambda f: np.savez((f / "slates.npy").open("wb"), a=np.ones(3)),
    "broken archive for clicks": lambda f: (f / "clicks.npy").write_bytes(
        b"PK\x03\x04" + b"x" * 99
    ),
    "folder for slates": lambda f: ((f / "slates.npy").unlink(), (f / "slates.npy").mkdir()),
    "fewer users": lambda f: rewrite(f / "slates.npy", lambda a: a[1:]),
    "fewer clicks": lambda f: rewrite(f / "clicks.npy", lambda a: a[:, 1:]),
    "wide slates": lambda f: rewrite(f / "slates.npy", lambda a: a.astype(np.int64)),
    "unpacked clicks": lambda f: rewrite(f / "clicks.npy", lambda a: np.unpackbits(a, axis=-1)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_dataset_is_refused_in_one_line(folder, damage):
    DAMAGE[damage](folder)
    with pytest.raises(GemsError) as raised:
        dataset.read(folder)
    assert str(folder) in str(raised.value)
    assert_one_line(raised.value)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@given(place=st.integers(0, 127), value=st.integers(0, 255), name=st.sampled_from(FILES))
@example(place=8, value=1, name="slates.npy")
@example(place=21, value=44, name="slates.npy")
@example(place=26, value=66, name="slates.npy")
def test_a_damaged_byte_is_refused_or_leaves_a_readable_dataset(place, value, name):
    slates = np.arange(40, dtype=np.int16).reshape(2, 2, SLATE_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), slates, slates % 3 == 0)
        content = bytearray((Path(folder) / name).read_bytes())
        content[place % len(content)] = value
        (Path(folder) / name).write_bytes(content)
        try:
            data = dataset.read(Path(folder))
        except GemsError:
            return
        data.read(slice(None))


def test_a_dataset_without_its_description_is_unfinished(folder):
    (folder / "dataset.json").unlink()
    with pytest.raises(GemsError, match="does not exist"):
        dataset.read(folder)


def test_a_failure_while_logging_leaves_the_old_dataset(folder):
    before = {name: (folder / name).read_bytes() for name in FILES}

    def broken():
        yield np.zeros((2, 4, SLATE_SIZE)), np.zeros((2, 4, SLATE_SIZE), dtype=bool)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        dataset.write(folder, (6, 4, SLATE_SIZE), broken(), {"items": 60})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    slates = np.zeros((1, 1, SLATE_SIZE), dtype=np.int16)
    with pytest.raises(GemsError, match="Cannot write") as raised:
        written(tmp_path / "file" / "data", slates, slates > 0)
    assert_one_line(raised.value)
