"""Item embeddings: how they are generated, written and read."""

import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy import stats

from gems.envs.items import (
    Items,
    generate,
    load,
    make,
    save,
    topic_components,
)
from gems.errors import GemsError

TOPICS, TOPIC_DIM, DIM = 10, 2, 20
WRITERS = {
    "pt": torch.save,
    "safetensors": lambda tensor, path: save_file({"any name": tensor}, path),
    "npy": lambda tensor, path: np.save(path, tensor.numpy()),
}


def largest_topic_share(items: Items) -> float:
    norms = np.linalg.norm(items.embeddings.reshape(-1, TOPICS, TOPIC_DIM), axis=2)
    return float((norms.max(axis=1) / norms.sum(axis=1)).mean())


def assert_one_sentence(error: GemsError) -> None:
    message = str(error)
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"\. [A-Z]", message)


@given(
    seed=st.integers(0, 2**63 - 1),
    embedding=st.sampled_from(["focused", "diffuse"]),
    count=st.integers(10, 80),
    peakedness=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_generated_items_are_non_negative_and_of_unit_norm(seed, embedding, count, peakedness):
    values = generate(seed, embedding, count, peakedness).embeddings
    assert values.shape == (count, DIM)
    assert values.dtype == np.float32
    assert (values >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)


def test_components_are_folded_gaussians_that_are_cut_at_1():
    normal = np.random.default_rng(1).standard_normal((20_000, TOPICS, TOPIC_DIM), dtype=np.float32)
    components = topic_components(normal)
    cut = 2 * stats.norm.sf(1 / 0.4)
    assert components.max() == 1
    assert (components == 1).mean() == pytest.approx(cut, abs=5 * (cut / components.size) ** 0.5)
    inside = components[components < 1]
    assert np.median(inside) == pytest.approx(0.4 * stats.norm.ppf(0.75 - cut / 4), abs=0.003)


def test_the_same_seed_generates_the_same_items():
    np.testing.assert_array_equal(
        generate(7, "focused", 100, 2.0).embeddings, generate(7, "focused", 100, 2.0).embeddings
    )


def test_another_seed_or_embedding_generates_other_items():
    values = generate(7, "focused", 100, 1.0).embeddings
    assert (values != generate(8, "focused", 100, 1.0).embeddings).any()
    assert (values != generate(7, "diffuse", 100, 1.0).embeddings).any()


def test_generating_items_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    generate(7, "focused", 100, 2.0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_larger_power_makes_items_more_peaked():
    plain, peaked = generate(7, "focused", 500, 1.0), generate(7, "focused", 500, 2.0)
    assert largest_topic_share(peaked) > 1.3 * largest_topic_share(plain)
    squared = plain.embeddings**2
    squared /= np.linalg.norm(squared, axis=1, keepdims=True)
    np.testing.assert_allclose(peaked.embeddings, squared, atol=1e-6)


def test_only_the_focused_embeddings_are_peaked(config):
    paper, released = config(fidelity="paper"), config(fidelity="released")
    focused, diffuse = make("focused", paper), make("diffuse", paper)
    assert largest_topic_share(focused) > largest_topic_share(make("focused", released))
    np.testing.assert_array_equal(diffuse.embeddings, make("diffuse", released).embeddings)


def test_main_topic_and_first_slate_follow_from_the_topic_norms(small_items):
    norms = np.linalg.norm(small_items.embeddings.reshape(-1, TOPICS, TOPIC_DIM), axis=2)
    np.testing.assert_array_equal(small_items.main_topics, norms.argmax(axis=1))
    np.testing.assert_array_equal(small_items.first_slate(TOPICS), norms.argmax(axis=0))
    assert small_items.normaliser == pytest.approx(1, abs=1e-5)


def test_items_that_are_saved_are_read_back_bit_by_bit(small_items, tmp_path):
    save(tmp_path / "items.npy", small_items)
    np.testing.assert_array_equal(load(tmp_path / "items.npy").embeddings, small_items.embeddings)


def test_the_same_items_are_saved_as_the_same_bytes(small_items, tmp_path):
    save(tmp_path / "a.npy", small_items)
    save(tmp_path / "b.npy", small_items)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", ["pt", "safetensors", "npy"])
def test_a_file_of_one_tensor_is_read(small_items, tmp_path, suffix, dtype):
    path, tensor = tmp_path / f"items.{suffix}", torch.from_numpy(small_items.embeddings).to(dtype)
    WRITERS[suffix](tensor, path)
    items = load(path)
    assert items.embeddings.dtype == np.float32
    np.testing.assert_array_equal(items.embeddings, small_items.embeddings)


def test_items_are_taken_from_the_file_that_the_configuration_names(config, small_items, tmp_path):
    save(tmp_path / "items.npy", small_items)
    options = config(items={"count": 60, "files": {"focused": str(tmp_path / "items.npy")}})
    np.testing.assert_array_equal(make("focused", options).embeddings, small_items.embeddings)
    assert (make("diffuse", options).embeddings != small_items.embeddings).any()


def test_a_file_with_another_number_of_items_is_refused(config, small_items, tmp_path):
    path = tmp_path / "items.npy"
    save(path, small_items)
    options = config(items={"count": 61, "files": {"focused": str(path)}})
    with pytest.raises(GemsError, match=r"holds 60 items, but items\.count is 61") as raised:
        make("focused", options)
    assert_one_sentence(raised.value)


def test_numbers_of_fewer_bits_are_read_as_they_are(small_items, tmp_path):
    rounded = torch.from_numpy(small_items.embeddings).bfloat16()
    for suffix in ("pt", "safetensors"):
        WRITERS[suffix](rounded, tmp_path / f"items.{suffix}")
        read = load(tmp_path / f"items.{suffix}").embeddings
        np.testing.assert_array_equal(read, rounded.float().numpy())


def npy(values):
    return lambda path: np.save(path, values)


def pt(value):
    return lambda path: torch.save(value, path)


def tensors(**named):
    return lambda path: save_file(named, path)


def truncated(path):
    np.save(path, np.ones((60, DIM), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:-100])


class Malicious:
    """Unpickled, it would make the folder in which it looks."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        import os

        return os.mkdir, (self.folder,)


holed = np.ones((60, DIM), dtype=np.float32)
holed[3, 4] = np.nan
empty_item = np.ones((60, DIM), dtype=np.float32)
empty_item[3] = 0

BAD_FILES = {
    "missing.npy": lambda path: None,
    "missing.pt": lambda path: None,
    "folder.npy": lambda path: path.mkdir(),
    "empty.npy": lambda path: path.write_bytes(b""),
    "empty.pt": lambda path: path.write_bytes(b""),
    "truncated.npy": truncated,
    "text.npy": lambda path: path.write_text("1 2 3\n"),
    "text.pt": lambda path: path.write_text("1 2 3\n"),
    "text.csv": lambda path: path.write_text("1,2,3\n"),
    "archive.npy": lambda path: np.savez(path.open("wb"), items=np.ones((60, DIM))),
    "pickle.npy": lambda path: path.write_bytes(pickle.dumps([1, 2, 3], protocol=2)),
    "pickle.pt": lambda path: path.write_bytes(pickle.dumps([1, 2, 3], protocol=2)),
    "objects.npy": npy(np.array([[None] * DIM] * 60)),
    "words.npy": npy(np.array([["word"] * DIM] * 60)),
    "dict.pt": pt({"items": torch.ones(60, DIM)}),
    "two.safetensors": tensors(a=torch.ones(60, DIM), b=torch.ones(60, DIM)),
    "none.safetensors": tensors(),
    "text.safetensors": lambda path: path.write_text("1 2 3\n"),
    "missing.safetensors": lambda path: None,
    "integers.npy": npy(np.ones((60, DIM), dtype=np.int64)),
    "integers.pt": pt(torch.ones(60, DIM, dtype=torch.int64)),
    "integers.safetensors": tensors(a=torch.ones(60, DIM, dtype=torch.int64)),
    "large.npy": npy(np.full((60, DIM), 1e300)),
    "large_norm.npy": npy(np.full((60, DIM), 1e38)),
    "nan.safetensors": tensors(a=torch.from_numpy(holed)),
    "narrow.npy": npy(np.ones((60, DIM - 1))),
    "narrow.pt": pt(torch.ones(60, DIM - 1)),
    "flat.npy": npy(np.ones(60 * DIM)),
    "deep.npy": npy(np.ones((60, TOPICS, TOPIC_DIM))),
    "scalar.npy": npy(np.float32(1)),
    "nan.npy": npy(holed),
    "nan.pt": pt(torch.from_numpy(holed)),
    "infinite.npy": npy(np.full((60, DIM), np.inf)),
    "zero.npy": npy(empty_item),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told_in_one_sentence_that_names_it(tmp_path, name):
    BAD_FILES[name](tmp_path / name)
    with pytest.raises(GemsError) as raised:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert_one_sentence(raised.value)


@pytest.mark.parametrize("name", ["items.pt", "items.npy"])
def test_a_file_never_runs_code(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Malicious(tmp_path / "made"), protocol=2))
    with pytest.raises(GemsError):
        load(tmp_path / name)
    assert not (tmp_path / "made").exists()
