"""What the profile for SLURM asks for at the paper's scale, as a dry run tells it."""

import collections
import re
import subprocess
import sys

import pytest
from cluster_runs import PROFILES
from workflow_runs import ROOT, environment

from gems.config import load
from gems.pipeline.stages import DATASET, ITEMS, RUN, jobs

PAPER = str(ROOT / "config" / "paper.yaml")


@pytest.mark.parametrize("attempt", [1, 3])
def test_time_limits_follow_the_scale_and_grow_with_each_try(tmp_path, attempt):
    command = [sys.executable, "-m", "snakemake", "-n", "--nolock", "--attempt", attempt]
    command += ["--snakefile", ROOT / "workflow" / "Snakefile"]
    command += ["--workflow-profile", PROFILES / "slurm", "--configfile", PAPER]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    asked = collections.Counter()
    for rule, job in re.findall(
        r"^rule (?!all)(\w+):\n(.*?)\n\[", done.stdout + "\n[", re.M | re.S
    ):
        minutes, memory = (re.search(rf"\b{name}=(\d+)", job) for name in ("runtime", "mem_mb"))
        asked[rule, int(minutes[1]), int(memory[1])] += 1
    megabytes = {ITEMS: 1000, DATASET: 2000 * attempt}
    limits = collections.Counter({("table2", 10, 1000): 1})
    for job in jobs(load([PAPER])):
        rule = "train" if job.stage == RUN else job.stage
        minutes = 10 if job.stage == ITEMS else (10 + round(3 * job.minutes)) * attempt
        limits[rule, minutes, megabytes.get(job.stage, 3000 * attempt)] += 1
    assert asked == limits
    assert sum(n for (rule, *_), n in asked.items() if rule == "train") == 480
