"""Disks that are full or read-only: one sentence each, and nothing lost."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults import (
    ENV,
    MF,
    SIMULATE,
    TRAIN_GEMS,
    TRAIN_SLATEQ,
    VAE,
    files,
    states,
    vae_of,
)

from gems.training.checkpoint import TrainingState


@pytest.fixture
def disk(tmp_path):
    """Mount a disk of some MB: ``mount(size)``, ``mount(size, again=True)`` to change it."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "disk"
    path.mkdir()

    def mount(options, again=False):
        command = ["mount", "-t", "tmpfs", "-o", f"{'remount,' * again}{options}", "tmpfs", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and not again:
            pytest.skip(f"this machine mounts no tmpfs: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return path

    yield mount
    subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)


@pytest.mark.parametrize(
    "command",
    [("items", "--embedding", "diffuse"), SIMULATE, VAE],
    ids=lambda command: command[0],
)
def test_a_full_disk_is_one_sentence_and_leaves_no_half_written_file(
    refused, folder, disk, command
):
    full = disk("size=64k")
    (full / "filler").write_bytes(b"0" * 64 * 1024)
    shutil.copytree(folder / "out", "copy")
    inputs = {
        "items": (),
        "simulate": ("--items", "copy/items/focused.npy"),
        "pretrain": ("--dataset", "copy/datasets/focused_mix"),
    }[command[0]]
    message = refused(*command, *inputs, results=str(full / "out"))
    assert message.endswith(": No space left on device.")
    left = {path.name for path in full.rglob("*") if path.is_file() and path.suffix != ".log"}
    assert left == {"filler"}


def test_a_run_on_a_full_disk_goes_on_from_its_last_state_when_there_is_room(
    gems, refused, folder, disk, monkeypatch
):
    assert gems(*TRAIN_SLATEQ)[0] == 0
    result = "runs/SlateQ_focused_mix_seed7/result.json"
    small = disk("size=64m")
    shutil.copytree(folder / "out" / "items", small / "out" / "items")
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    save, saved = TrainingState.save, []

    def filling(self, values, replay):
        if len(saved) == 3:
            with contextlib.suppress(OSError), (small / "filler").open("wb", 0) as file:
                while True:
                    file.write(b"0" * 4096)
        save(self, values, replay)
        saved.append(values["episode"])

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", filling)
        message = refused(*TRAIN_SLATEQ, results=str(small / "out"))
    assert message.endswith(".pt: No space left on device.")
    (small / "filler").unlink()
    restored = []
    load = TrainingState.load

    def loaded(self, replay):
        restored.append(load(self, replay))
        return restored[-1]

    monkeypatch.setattr(TrainingState, "load", loaded)
    assert gems(*TRAIN_SLATEQ, results=str(small / "out"))[0] == 0
    assert [state["episode"] for state in restored] == saved[-1:]
    assert (small / "out" / result).read_bytes() == (folder / "out" / result).read_bytes()
    record = json.loads((small / "out" / result).with_name("provenance.json").read_text())
    assert record["tries"] == 2
    assert states(small) <= {"progress.json"}


def test_a_pretraining_on_a_full_disk_goes_on_when_there_is_room(gems, refused, folder, disk):
    small = disk("size=4m")  # less than a checkpoint
    dataset = ("--dataset", "out/datasets/focused_mix")
    message = refused(*VAE, *dataset, results=str(small))
    assert message.endswith(".ckpt: No space left on device.")
    disk("size=64m", again=True)
    assert gems(*VAE, *dataset, results=str(small))[0] == 0
    assert vae_of(folder).read_bytes() == (small / "vae" / vae_of(folder).name).read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_a_log_on_a_full_disk_stops_no_work(folder):
    command = [sys.executable, "-m", "gems.cli", "simulate", *ENV, "--config", "tiny.json"]
    before = (folder / "out" / "datasets" / "focused_mix" / "slates.npy").read_bytes()
    shutil.rmtree(folder / "out" / "datasets")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=full, check=False)
    assert done.returncode == 0
    assert (folder / "out" / "datasets" / "focused_mix" / "slates.npy").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_an_output_on_a_full_disk_ends_in_one_sentence():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "gems.cli", "options"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "gems: error: A file cannot be used: No space left on device.\n"


@pytest.mark.parametrize("command", [SIMULATE, MF, TRAIN_GEMS], ids=lambda command: command[0])
def test_a_read_only_results_folder_is_one_sentence(refused, folder, disk, command):
    locked = disk("size=64m")
    shutil.copytree(folder / "out", locked / "out")
    before = files(locked)
    disk("ro", again=True)
    message = refused(*command, results=str(locked / "out"))
    assert "Cannot write" in message
    assert message.endswith("Read-only file system.")
    assert files(locked) == before
