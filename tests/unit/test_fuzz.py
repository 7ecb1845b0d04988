"""Random input: configurations, files and slates either work or are refused in one sentence."""

import contextlib
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from gems.analysis.runs import read_results
from gems.analysis.tables.table2 import SIGNIFICANCE, beats_all, table2
from gems.config import Config, build, load
from gems.config.paper import ENVIRONMENTS
from gems.data import dataset
from gems.envs import items
from gems.envs.simulator import Simulator
from gems.errors import GemsError
from gems.methods import METHODS, REFERENCE_METHOD
from gems.runtime.files import write_json
from gems.runtime.weights import load_weights, save_weights

SLATE_SIZE = TOPICS = 10
SECTIONS = {
    name: list(v) if isinstance(v, dict) else [] for name, v in build({}).model_dump().items()
}
scalars = (
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    *(st.sampled_from([0, 1, 0.5, 10, 100, "paper", "mf", "chosen", "cuda"]),),
)
anything = st.recursive(
    st.one_of(scalars),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@contextlib.contextmanager
def one_sentence():
    """Nothing but a ``GemsError`` of one line may leave."""
    message = "."
    try:
        yield
    except GemsError as error:
        message = str(error)
    assert "\n" not in message
    assert message.endswith(".")


@st.composite
def configurations(draw):
    """Options that exist, of sections that exist, with values of all kinds; some misspelt."""
    values = {}
    for section in draw(st.lists(st.sampled_from(list(SECTIONS)), max_size=4, unique=True)):
        options = SECTIONS[section]
        if options and draw(st.integers(0, 9)):
            names = st.sampled_from(options) | st.sampled_from(options).map(lambda n: n[:-1])
            values[section] = draw(st.dictionaries(names, st.one_of(scalars) | anything))
        else:
            values[section] = draw(anything)
    return values


@settings(max_examples=400)
@given(configurations())
@example({"extensions": [None]})
@example({"extensions": ["\0"]})
@example({"extensions": ["a" * 300]})
@example({"extensions": ["two\nlines"]})
@example({"extensions": "x"})
def test_a_configuration_is_built_and_builds_itself_again_or_is_refused(values):
    with one_sentence():
        config = build(values)
        assert isinstance(config, Config)
        assert build(config.model_dump(mode="json")) == config


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=200)
@given(st.text() | st.text(alphabet=" \n:-[]{}&*!|>'\"#%@`,?0123456789aexo.", max_size=30))
@example("vae: &a {beta: *a}")
@example("seeds: &a [*a]")
@example("training: {episodes: 2001-99-99}")
@example("a: 0b_")
@example("[" * 2000)
@example("{" * 2000)
@example("!!python/object/apply:os.system [touch executed]")
@example("? [a]\n: b")
@example("{[1]: 2}")
@example("1: 2")
@example("\ufeffvae: {}")
def test_a_file_of_any_text_is_a_configuration_or_is_refused(text):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("config.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        with one_sentence():
            assert isinstance(load(["config.yaml"]), Config)
        with one_sentence():
            assert isinstance(load(["{" + text]), Config)
        assert not Path("executed").exists()


@given(st.binary())
def test_a_file_of_any_bytes_is_a_configuration_or_is_refused(content):
    with tempfile.TemporaryDirectory() as folder, one_sentence():
        (Path(folder) / "config.yaml").write_bytes(content)
        assert isinstance(load([f"{folder}/config.yaml"]), Config)


@st.composite
def damages(draw):
    """A function of bytes: cut, overwritten at a random place, extended, or replaced."""
    kind = draw(st.sampled_from(["cut", "overwritten", "extended", "replaced"]))
    place, new = draw(st.integers(0, 10**6)), draw(st.binary(min_size=1, max_size=20))

    def damaged(content: bytes) -> bytes:
        at = place % (len(content) + 1)
        return {
            "cut": content[:at],
            "overwritten": content[:at] + new + content[at + len(new) :],
            "extended": content + new,
            "replaced": new,
        }[kind]

    return damaged


LOGGED = np.random.default_rng(0).integers(0, 60, (3, 4, SLATE_SIZE)).astype(np.int16)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence", "ignore:invalid decimal literal")
@settings(max_examples=300)
@given(damages(), st.sampled_from(["slates.npy", "clicks.npy", "dataset.json"]))
def test_a_damaged_dataset_is_refused_or_is_read_as_it_was_written(damaged, name):
    with tempfile.TemporaryDirectory() as folder:
        path, chunks = Path(folder), [(LOGGED, LOGGED % 3 == 0)]
        dataset.write(path, LOGGED.shape, chunks, {"items": 60, "environment": "focused_mix"})
        before = dataset.read(path).meta
        (path / name).write_bytes(damaged((path / name).read_bytes()))
        with one_sentence():
            data = dataset.read(path)
            np.testing.assert_array_equal(data.packed_slates, LOGGED)
            read = data.read(slice(None))
            np.testing.assert_array_equal(read.clicks, (LOGGED % 3 == 0).reshape(-1, SLATE_SIZE))
            assert data.meta == before


@given(damages())
def test_damaged_weights_are_refused_or_are_tensors(damaged):
    with tempfile.TemporaryDirectory() as folder, one_sentence():
        path = Path(folder) / "weights.safetensors"
        save_weights(path, {"a": torch.arange(12.0).view(3, 4), "b": torch.ones(2)}, {})
        path.write_bytes(damaged(path.read_bytes()))
        assert all(isinstance(value, torch.Tensor) for value in load_weights(path).values())


@pytest.mark.filterwarnings("ignore:invalid escape sequence", "ignore:invalid decimal literal")
@given(damages())
def test_damaged_item_embeddings_are_refused_or_are_items(damaged):
    with tempfile.TemporaryDirectory() as folder, one_sentence():
        path = Path(folder) / "items.npy"
        items.save(path, items.generate(1, "focused", 12, 1.0))
        path.write_bytes(damaged(path.read_bytes()))
        assert np.isfinite(items.load(path).embeddings).all()


@given(anything | st.fixed_dictionaries({}, optional={"method": anything, "seed": anything}))
def test_any_json_is_the_result_of_a_run_or_is_refused(value):
    with tempfile.TemporaryDirectory() as folder, one_sentence():
        path = Path(folder) / "result.json"
        path.write_text(json.dumps(value))
        assert len(read_results([path])) == 1


@st.composite
def episodes(draw):
    """Environment, preset, seed, users, and 30 random requests: items, or -1 for the oracle's."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    users, few = draw(st.integers(1, 4)), draw(st.sampled_from([3, 60]))
    requests = rng.integers(-1, few, (30, users, SLATE_SIZE))
    env, fidelity = st.sampled_from(list(ENVIRONMENTS)), st.sampled_from(["released", "paper"])
    return draw(env), draw(fidelity), draw(st.integers(0, 2**32)), requests


@settings(max_examples=50)
@given(episodes())
def test_whatever_is_shown_the_simulator_keeps_its_invariants(small_items, config, episode):
    env, fidelity, seed, requests = episode
    options = config(fidelity=fidelity)
    simulator = Simulator(small_items, options.environment(env))
    seen = [simulator.reset(requests.shape[1], np.random.default_rng(seed))]
    for request in requests:
        before, now = seen[-1], simulator.step(request)
        seen.append(now)
        asked = request >= 0
        np.testing.assert_array_equal(now.slates[asked], request[asked])
        assert ((now.slates >= 0) & (now.slates < 60)).all()
        rewards = now.clicks.sum(axis=1)
        assert ((rewards >= 0) & (rewards <= SLATE_SIZE)).all()
        np.testing.assert_array_equal(now.users[rewards == 0], before.users[rewards == 0])
        assert (now.users[rewards > 0] != before.users[rewards > 0]).any(axis=1).all()
        norms = np.linalg.norm(now.users.reshape(-1, TOPICS, 2), axis=2)
        total = norms.sum(axis=1) if fidelity == "released" else np.sqrt((norms**2).sum(axis=1))
        np.testing.assert_allclose(total, 1, rtol=1e-5)
    bored = np.stack([observation.bored for observation in seen])
    for user in range(bored.shape[1]):
        for topic in range(TOPICS):
            ends = np.flatnonzero(np.diff(bored[:, user, topic].astype(int), prepend=0))
            spells = np.diff(ends[: len(ends) // 2 * 2].reshape(-1, 2), axis=1)
            assert (spells % options.simulator.boredom_turns == 0).all()


@settings(max_examples=30)
@given(episodes())
def test_whatever_is_shown_a_batch_is_its_users_one_by_one(small_items, config, episode):
    env, fidelity, seed, requests = episode
    rng = np.random.default_rng(seed)
    users = requests.shape[1]
    environment = config(fidelity=fidelity).environment(env)
    together = Simulator(small_items, environment)
    alone = [Simulator(small_items, environment) for _ in range(users)]
    uniforms = rng.random((len(requests) + 1, users, SLATE_SIZE), dtype=np.float32)
    start = together.reset(users, np.random.default_rng(seed)).users
    start = np.ascontiguousarray(start)
    together.start(start, uniforms[0])
    for index, simulator in enumerate(alone):
        simulator.start(start[index : index + 1], uniforms[0, index : index + 1])
    for turn, request in enumerate(requests, start=1):
        batch = together.advance(request, uniforms[turn])
        for index, simulator in enumerate(alone):
            one = slice(index, index + 1)
            single = simulator.advance(request[one], uniforms[turn, one])
            for name in batch._fields:
                np.testing.assert_array_equal(getattr(batch, name)[one], getattr(single, name))


OTHERS = [
    name for name, entry in METHODS.items() if not entry.disclosed and name != REFERENCE_METHOD
]
returns = st.lists(st.integers(0, 400).map(float), min_size=2, max_size=8)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(returns, st.dictionaries(st.sampled_from(OTHERS), returns, min_size=1))
def test_the_dagger_is_what_scipy_says_on_random_tables(ours, others):
    rows = [(REFERENCE_METHOD, value) for value in ours]
    rows += [(name, value) for name, values in others.items() for value in values]
    results = pd.DataFrame(rows, columns=["method", "test_return"])
    results["environment"], results["variant"], results["vae"] = "focused_mix", "", ""
    for scale in ("training_episodes", "test_users", "logged_users"):
        results[scale] = 9
    results["seed"] = results.groupby("method").cumcount()
    beaten = []
    for values in others.values():
        spread = np.ptp(ours) or np.ptp(values)
        p = stats.ttest_ind(ours, values, equal_var=False).pvalue if spread else 0.0
        if not math.isclose(p, SIGNIFICANCE, rel_tol=1e-9):
            beaten.append(np.mean(values) < np.mean(ours) and p < SIGNIFICANCE)
    if len(beaten) == len(others):
        assert beats_all(table2(results), "focused_mix") == all(beaten)


@given(st.dictionaries(st.text(), anything))
def test_whatever_is_written_as_json_is_whole_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.unlink(missing_ok=True)
    try:
        write_json(path, value)
    except ValueError:  # NaN and infinity are never written
        assert not path.exists()
    else:
        assert json.loads(path.read_text()) == json.loads(json.dumps(value))
