"""Inputs of other data, options or versions are refused in one sentence."""

import numpy as np
import pytest
import torch
from faults import (
    ENV,
    MF,
    SEED,
    TRAIN_GEMS,
    TRAIN_SLATEQ,
    VAE,
    files,
    states,
    vae_of,
)

from gems import cli
from gems.runtime.weights import load_config, load_weights, save_weights


def altered(path, change):
    """Save the weights at ``path`` again with their description changed."""
    weights, described = load_weights(path), load_config(path)
    change(weights, described)
    save_weights(path, weights, described)


@pytest.mark.parametrize("model", ["vae", "mf"])
def test_a_dataset_of_another_environment_is_refused(refused, folder, model):
    arguments = ("--env", "diffuse_mix", "--dataset", "out/datasets/focused_mix")
    message = refused("pretrain", "--model", model, *arguments, *SEED)
    assert "was logged in focused_mix, not in diffuse_mix" in message


@pytest.mark.parametrize("name", ["slates.npy", "clicks.npy"])
def test_a_dataset_of_the_right_size_with_other_contents_is_refused(refused, folder, name):
    path = folder / "out" / "datasets" / "focused_mix" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "its contents are not those written" in refused(*MF)
    assert "its contents are not those written" in refused(*VAE)


def test_a_truncated_dataset_is_refused_and_the_old_models_stay(refused, folder):
    before = files(folder / "out" / "vae") | files(folder / "out" / "mf")
    path = folder / "out" / "datasets" / "focused_mix" / "slates.npy"
    path.write_bytes(path.read_bytes()[:-30])
    for command in (VAE, MF):
        assert "slates.npy" in refused(*command)
    assert files(folder / "out" / "vae") | files(folder / "out" / "mf") == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, d: d["vae"].update(latent_dim=16), "60 and 32 are needed"),
        (lambda w, d: d.update(items=61), "60 and 32 are needed"),
        (lambda w, d: d["vae"].update(warmup=3), "another version"),
        (lambda w, d: d["vae"].update(beta="much"), "another version"),
        (lambda w, d: d.pop("vae"), "another version"),
        (lambda w, d: w.pop("items.weight"), "not those of a slate VAE"),
        (lambda w, d: w.update({"items.weight": torch.zeros(60, 19)}), "not those of a slate VAE"),
        (lambda w, d: w.pop("bounds.low"), "lacks the bounds"),
    ],
)
def test_a_vae_of_another_configuration_or_version_is_refused(refused, folder, change, words):
    altered(vae_of(folder), change)
    assert words in refused(*TRAIN_GEMS)
    assert not (folder / "out" / "runs").exists()
    assert states(folder) <= {"progress.json"}


def test_a_vae_of_another_size_is_refused_whichever_side_changed(refused, folder):
    vae = ("--pretrained", f"vae={vae_of(folder)}")
    assert "60 and 16 are needed" in refused(*TRAIN_GEMS, *vae, vae={"latent_dim": 16})
    items = ("--items", "more.npy")
    np.save("more.npy", np.random.default_rng(0).random((61, 20), dtype=np.float32))
    assert "61 and 32 are needed" in refused(*TRAIN_GEMS, *vae, *items)
    train_mf = ("train", "--method", "SAC+TopK-MF", *ENV, *SEED, *items)
    assert "has 60 items; 61 are needed" in refused(*train_mf)


def test_the_policy_of_another_configuration_is_refused(gems, refused, folder, capsys):
    assert gems(*TRAIN_SLATEQ)[0] == 0
    run = folder / "out" / "runs" / "SlateQ_focused_mix_seed7"
    altered(run / "policy.safetensors", lambda w, d: d["config"]["agent"].update(state_dim=21))
    assert cli.main(["evaluate", str(run)]) == 2
    assert "are not those of SlateQ" in capsys.readouterr().err
    altered(run / "policy.safetensors", lambda w, d: d["config"]["agent"].update(layers=2))
    assert cli.main(["evaluate", str(run)]) == 2
    assert "'agent.layers' is not a known option" in capsys.readouterr().err
