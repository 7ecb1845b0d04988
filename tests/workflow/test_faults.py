"""Numbers that overflow, memory that runs out, data without a click: one sentence each."""

import json
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from faults import (
    ENV,
    MF,
    SEED,
    SIMULATE,
    TRAIN_GEMS,
    TRAIN_SLATEQ,
    VAE,
    files,
)

from gems.methods import METHODS


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (TRAIN_SLATEQ, {"slateq": {"q_lr": 1e38}}),
        (TRAIN_GEMS, {"sac": {"q_lr": 1e38, "policy_lr": 1e38}}),
        (VAE, {"vae": {"learning_rate": 1e38}}),
        (MF, {"mf": {"learning_rate": 1e38}}),
    ],
    ids=["SlateQ", "SAC+GeMS", "vae", "mf"],
)
def test_a_loss_that_is_not_a_number_is_one_sentence(refused, folder, command, options):
    shutil.copytree("out/items", "new/items")
    shutil.copytree("out/datasets", "new/datasets")
    shutil.copytree("out/vae", "new/vae")
    shutil.rmtree("new/vae") if command[0] == "pretrain" else None
    before = files(folder / "new")
    message = refused(*command, results="new", **options)
    assert "is not a number at batch" in message or "became nan" in message or "inf" in message
    left = {name for name in files(folder / "new") if not {".state", "logs"} & {*name.parts}}
    assert left == set(before)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "Random"])
def test_episodes_without_a_click_are_trained_on_and_tested(gems, folder, method):
    """No item is ever relevant, so that nobody clicks."""
    nobody = {"simulator": {"turns": 6, "relevance_threshold": 50.0}}
    assert gems("train", "--method", method, *ENV, *SEED, **nobody)[0] == 0
    (path,) = (folder / "out" / "runs").glob("*/result.json")
    assert json.loads(path.read_text())["test_returns"] == [0, 0, 0]


def test_a_dataset_without_a_click_is_refused_by_factorisation_and_taken_by_the_vae(
    gems, refused, folder
):
    nobody = {"simulator": {"turns": 6, "relevance_threshold": 50.0}}
    assert gems(*SIMULATE, **nobody)[0] == 0
    assert "has no click to" in refused(*MF)
    assert gems(*VAE)[0] == 0


def test_running_out_of_memory_is_one_sentence(folder):
    """The machine's own limit on the address space, which numpy meets."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, 8 * 10**9))

    options = json.dumps({"training": {"test_users": 10**6}, "simulator": {"turns": 1000}})
    command = [sys.executable, "-m", "gems.cli", "train", "--method", "Random", *ENV, *SEED]
    done = subprocess.run(
        [*command, "--config", "tiny.json", "--config", options],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("gems: error: Out of memory")
    assert done.stderr.count("\n") == 1


def test_the_errors_of_pytorch_and_numpy_for_memory_are_known():
    from gems.errors import out_of_memory

    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert out_of_memory(raised.value)
    with pytest.raises(MemoryError) as raised:
        np.empty(2**58)
    assert out_of_memory(raised.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not out_of_memory(RuntimeError("shapes do not match"))


def test_an_error_of_the_code_keeps_its_traceback(gems, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("gems.training.loop.rollout", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        gems(*TRAIN_SLATEQ)
