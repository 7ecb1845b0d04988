"""The workflow on a real SLURM: Table 2 as on one machine, through a requeue and an scancel."""

import re
import time

import pytest
from cluster_runs import SECONDS, finish, started
from slurm_cluster import NoClusterError, cluster, slurm

CAUGHT = "SAC_WkNN_focused_topdown_seed1"


@pytest.fixture(scope="module")
def running():
    try:
        with cluster(cpus=2) as folder:
            yield folder
    except NoClusterError as reason:
        pytest.skip(f"no SLURM here: {reason}")


class Caught:
    """The job of one run, as it is told to end and goes on."""

    def __init__(self, folder, workflow):
        self._folder, self._workflow = folder, workflow
        self._log = folder / "results" / "logs" / "runs" / f"{CAUGHT}.log"

    def wait(self, what):
        """Wait until ``what`` gives something that is true, and return it."""
        deadline = time.monotonic() + SECONDS
        while not (found := what()):
            assert self._workflow.poll() is None, (self._folder / "snakemake.log").read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)
        return found

    def episodes(self):
        """Episodes that the present log tells of, as it went on."""
        text = self._log.read_text() if self._log.exists() else ""
        return [int(n) for n in re.findall(rf"{CAUGHT}: (?:starts at )?(\d+)/300 episodes", text)]

    def job(self):
        """Number of the running job of SLURM."""
        jobs = slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines()
        return next((job for job, what in map(str.split, jobs) if "SAC_WkNN" in what), None)

    def end(self, *command):
        """Tell the training to end by a command of SLURM; give the episodes it had done."""
        first = self.wait(self.episodes)[0]
        time.sleep(0.5)
        job = self.wait(self.job)
        slurm(*command, job)
        state = "squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job
        self.wait(lambda: slurm(*state) in ("PENDING", "CANCELLED"))
        last = self.episodes()[-1]
        assert first < last < 300
        return last


def test_table_2_on_slurm_is_the_one_of_a_single_machine(running, tmp_path):
    local, remote = tmp_path / "local", tmp_path / "slurm"
    seconds = {}

    began = time.monotonic()
    with started(local, "default", "--cores", "2") as workflow:
        finish(workflow, local)
    seconds["local"] = time.monotonic() - began

    began = time.monotonic()
    options = ["--slurm-no-account", "--slurm-status-command", "squeue", "--latency-wait", "5"]
    options += ["--slurm-init-seconds-before-status-checks", "3"]
    options += ["--seconds-between-status-checks", "3"]
    with started(remote, "slurm", *options) as workflow:
        caught = Caught(remote, workflow)
        requeued = caught.end("scontrol", "requeue")
        caught.wait(lambda: caught.episodes()[:1] == [requeued])
        cancelled = caught.end("scancel")
        finish(workflow, remote)
    seconds["slurm"] = time.monotonic() - began

    assert (caught.episodes()[0], caught.episodes()[-1]) == (cancelled, 300)
    assert "status is: 'CANCELLED'" in (remote / "snakemake.log").read_text()
    for name in ("table2.csv", "table2.md"):
        expected = (local / "results" / name).read_bytes()
        assert (remote / "results" / name).read_bytes() == expected
    print({name: round(value) for name, value in seconds.items()})
