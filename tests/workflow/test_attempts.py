"""A job runs once at a time, and its tries are counted."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import (
    MF,
    TRAIN_SLATEQ,
    VAE,
    vae_of,
)
from workflow_runs import ROOT, environment

from gems.errors import GemsError
from gems.runtime.attempt import Attempt


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (TRAIN_SLATEQ, "runs/SlateQ_focused_mix_seed7"),
        (VAE, "vae/{vae}"),
        (MF, "mf/focused_mix"),
    ],
    ids=["train", "pretrain", "mf"],
)
def test_a_job_that_is_at_work_is_not_started_twice(gems, refused, folder, command, state):
    state = Path("out") / ".state" / state.format(vae=vae_of(folder).stem)
    with Attempt(state):
        message = refused(*command)
    assert f"This job is already running (PID {os.getpid()} on {socket.gethostname()}). " in message
    assert f"Wait for it, or stop it with `kill {os.getpid()}`." in message
    assert gems(*command)[0] == 0


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_stops_no_job(folder, monkeypatch, error):
    def unsupported(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("fcntl.flock", unsupported)
    for _ in range(2):
        with Attempt(Path("state/c")) as attempt:
            assert attempt.number == 1
        assert not Path("state/c").exists()


def test_a_lock_ends_with_its_process_and_tries_are_counted(folder):
    script = (
        "import os, signal; from pathlib import Path; from gems.runtime.attempt import Attempt\n"
        "Attempt(Path('state/a')).__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script], check=False)
    started = json.loads(Path("state/a/attempt.json").read_text())["started"]
    with Attempt(Path("state/a")) as attempt:
        assert (attempt.number, attempt.started) == (3, started)
    assert not Path("state").exists() or not Path("state/a").exists()


def test_a_failed_attempt_keeps_its_state_and_leaves_nothing_if_there_is_none(folder):
    def fail(*saved):
        with Attempt(Path("state/b")):
            for name in saved:
                Path("state/b", name).write_text("")
            raise GemsError("No.")

    for saved in ((), ("x.pt",)):
        with pytest.raises(GemsError, match="No"):
            fail(*saved)
        assert Path("state/b").exists() == bool(saved)


def test_two_snakemakes_on_one_folder_the_second_is_told_and_the_first_goes_on(folder, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile"]
    command += [str(ROOT / "workflow" / "Snakefile"), "out2/datasets/focused_mix/slates.npy"]
    command += ["--config", 'results="out2"', "logging={users: 100}"]
    options = {"env": environment(), "text": True, "cwd": folder}
    with (tmp_path / "first").open("w") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, **options)
        while first.poll() is None and not list(folder.glob(".snakemake/locks/*")):
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # however slow the second is
        second = subprocess.run(command, capture_output=True, check=False, **options)
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0, (tmp_path / "first").read_text()
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stderr
    assert (folder / "out2" / "datasets" / "focused_mix" / "provenance.json").is_file()
