"""Files are written whole or not at all, and damaged ones are told in one sentence."""

import os
import pickle
import stat

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from gems.errors import GemsError
from gems.runtime.files import read_json, sha256, write_json, written_whole
from gems.runtime.weights import load_config, load_weights, save_weights

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture
def blocked(tmp_path):
    """A path that cannot be written, not even by root: its parent is a file."""
    (tmp_path / "file").write_text("kept")
    return tmp_path / "file" / "output"


def half_written(path, failure):
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise failure


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "output"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_the_old_file_and_no_temporary_one(tmp_path, failure):
    path = tmp_path / "output"
    path.write_text("old")
    with pytest.raises(failure):
        half_written(path, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_inside_makes_no_file_where_there_was_none(tmp_path):
    with pytest.raises(RuntimeError):
        half_written(tmp_path / "output", RuntimeError)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file_and_is_told_in_one_line(tmp_path):
    path = tmp_path / "output"
    path.write_text("old")
    with pytest.raises(GemsError) as raised:
        half_written(path, OSError(28, "No space left on device"))
    assert str(raised.value) == f"Cannot write {path}: No space left on device."
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path):
    with written_whole(tmp_path / "a" / "b" / "output") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "output").read_text() == "new"


def test_a_file_has_the_permissions_that_open_would_give(tmp_path):
    (tmp_path / "plain").write_text("")
    with written_whole(tmp_path / "output") as temporary:
        temporary.write_text("")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_parent_that_is_a_file_is_told_in_one_line(blocked):
    with pytest.raises(GemsError, match=r"Cannot write .*output: ") as raised:
        write_json(blocked, {})
    assert "\n" not in str(raised.value)
    assert blocked.parent.read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told_in_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(GemsError, match="Permission denied"):
        write_json(tmp_path / "output", {})


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "output").mkdir()
    with pytest.raises(GemsError, match="Cannot write"):
        write_json(tmp_path / "output", {})
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


@given(value=plain)
def test_json_that_is_written_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_equal_values_give_equal_bytes_whatever_the_order_of_their_keys(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": {"b": 0.1, "a": [1, 2]}})
    write_json(tmp_path / "b", {"y": {"a": [1, 2], "b": 0.1}, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().endswith(b"}\n")


def test_nan_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"not JSON", b'{"a": 1}{', b"\xff\xfe\x00"])
def test_a_file_that_is_not_json_is_told_in_one_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(GemsError, match=r"a\.json is not a readable JSON file") as raised:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(raised.value)


def test_a_missing_or_unreadable_json_file_is_told_in_one_line(tmp_path):
    with pytest.raises(GemsError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json")
    with pytest.raises(GemsError, match="is not a readable JSON file"):
        read_json(tmp_path)


WEIGHTS = {"net.weight": torch.arange(6.0).reshape(2, 3), "net.bias": torch.zeros(2)}


def test_weights_and_their_configuration_are_read_back(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(path, WEIGHTS, {"vae": {"beta": 1.0}})
    read = load_weights(path)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)
    assert load_config(path) == {"vae": {"beta": 1.0}, "sha256": sha256(path)}
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "model.json"}


def test_views_and_trained_tensors_can_be_saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(path, {"a": WEIGHTS["net.weight"].T, "b": torch.ones(2, requires_grad=True)}, {})
    assert torch.equal(load_weights(path)["a"], WEIGHTS["net.weight"].T)


def test_the_same_weights_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_weights(tmp_path / f"{name}.safetensors", WEIGHTS, {})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


DAMAGED_WEIGHTS = {
    "empty": b"",
    "text": b"weights",
    "pickle": pickle.dumps({"a": [1.0]}),
    "truncated data": save(WEIGHTS)[:-4],
    "truncated header": save(WEIGHTS)[:20],
    "more than the weights": save(WEIGHTS) + b"more",
}


@pytest.mark.parametrize("damage", DAMAGED_WEIGHTS)
def test_damaged_or_foreign_weights_are_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    path.write_bytes(DAMAGED_WEIGHTS[damage])
    with pytest.raises(GemsError, match=r"model\.safetensors are damaged") as raised:
        load_weights(path)
    assert "\n" not in str(raised.value)


def test_weights_saved_by_torch_are_refused_without_unpickling(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.save(WEIGHTS, path)
    with pytest.raises(GemsError, match="not a safetensors file"):
        load_weights(path)


def test_missing_weights_are_told_in_one_line(tmp_path):
    for path in (tmp_path / "model.safetensors", tmp_path):
        with pytest.raises(GemsError, match="do not exist"):
            load_weights(path)


@pytest.mark.parametrize("content", [None, "", "[1]", "1", "{"])
def test_a_missing_or_damaged_configuration_of_weights_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(GemsError, match=r"model\.json"):
        load_config(tmp_path / "model.safetensors")


def test_weights_are_not_written_where_their_configuration_cannot_be(tmp_path):
    (tmp_path / "model.json").mkdir()
    with pytest.raises(GemsError, match="Cannot write"):
        save_weights(tmp_path / "model.safetensors", WEIGHTS, {})
    assert not (tmp_path / "model.safetensors").exists()
