"""What a GPU computes, and jobs that share the GPUs of a machine, tried without any GPU."""

import collections
import fcntl
import os
import re
import subprocess
import sys
import time

import pytest
import torch
from cluster_runs import finish, started
from learners import TRAINED, learner_of

from gems.data.replay import Batch
from gems.runtime import device
from gems.training.rollout import rollout

GPUS = {"CUDA_VISIBLE_DEVICES": "0,GPU-5e/1"}
JOB = """
import os, sys
from gems.runtime.device import pick_device
pick_device("auto"), pick_device("auto")
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A machine on which no other job has a GPU."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def elsewhere(monkeypatch):
    """Tensors say that they are on a GPU, and stay where they are."""
    for name in ("randn", "zeros"):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, device=None, make=make, **k: make(*a, **k))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor)
    monkeypatch.setattr(torch.Tensor, "device", property(lambda tensor: torch.device("cuda")))


@pytest.mark.parametrize("fidelity", ["released", "paper"])
@pytest.mark.parametrize("method", TRAINED)
def test_updates_are_the_same_where_nothing_is_compiled(models, method, fidelity, request):
    (learner, simulator), (other, _) = (learner_of(method, models, fidelity) for _ in range(2))
    batch = Batch.of(rollout(learner.policy, simulator, 5, "random", 1), torch.device("cpu"))
    figures = [learner.update(batch, torch.Generator().manual_seed(i)) for i in range(3)]
    request.getfixturevalue("elsewhere")
    for number, ours in enumerate(figures):
        theirs = other.update(batch, torch.Generator().manual_seed(number))
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert figures[0] != figures[2]


def start(environment):
    return subprocess.Popen(
        [sys.executable, "-c", JOB],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_jobs_spread_over_the_gpus_and_a_killed_one_makes_room(folder):
    jobs = [start(GPUS) for _ in range(4)]
    try:
        seen = [job.stdout.readline().strip() for job in jobs]
        assert collections.Counter(seen) == {"0": 2, "GPU-5e/1": 2}
        jobs[1].kill()
        jobs[1].wait()
        jobs.append(start(GPUS))
        assert jobs[-1].stdout.readline().strip() == seen[1]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


@pytest.mark.parametrize("visible", ["", "3"], ids=["no GPU", "one GPU"])
def test_where_there_is_nothing_to_choose_nothing_is_claimed(folder, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device.pick_device("auto")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert not device.claims_folder().exists()


def test_a_job_on_the_cpu_claims_no_gpu(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    device.pick_device("cpu")
    assert not device.claims_folder().exists()


def in_use():
    """Jobs on each of the GPUs 0 and 1 now."""
    device.claims_folder().mkdir(mode=0o700, exist_ok=True)
    with (device.claims_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [len(device.claims(gpu)) for gpu in ("0", "1")]


def test_the_profile_puts_no_more_jobs_on_a_gpu_than_may_share_it(folder):
    methods = ["SlateQ", "REINFORCE+SoftMax"]
    together = []
    with started(
        folder,
        "gpu",
        *("--cores", "8", "--resources", "gpu=2"),
        changes={"methods": methods, "seeds": [1, 2]},
        variables={"CUDA_VISIBLE_DEVICES": "0,1"},
    ) as workflow:
        while workflow.poll() is None:
            together.append(in_use())
            time.sleep(0.05)
        finish(workflow, folder)
    assert [1, 1] in together
    assert [max(jobs) for jobs in zip(*together, strict=True)] == [1, 1]
    logs = (folder / "results" / "logs" / "runs").glob("*.log")
    seen = [re.search(r"^GPU (\d) of 0, 1$", log.read_text(), re.MULTILINE)[1] for log in logs]
    assert len(seen) == 4
    assert set(seen) == {"0", "1"}
