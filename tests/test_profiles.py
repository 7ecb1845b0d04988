"""What the profile for SLURM asks for at the paper's scale, as a dry run tells it."""

import collections
import re
import subprocess
import sys

import pytest
from test_slurm import PROFILES, ROOT


@pytest.mark.parametrize("attempt", [1, 3])
def test_time_limits_follow_the_scale_and_grow_with_each_try(tmp_path, attempt):
    command = [sys.executable, "-m", "snakemake", "-n", "--nolock", "--attempt", attempt]
    command += ["--snakefile", ROOT / "workflow" / "Snakefile"]
    command += ["--workflow-profile", PROFILES / "slurm"]
    command += ["--configfile", ROOT / "config" / "paper.yaml"]
    done = subprocess.run(
        [str(part) for part in command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    asked = collections.Counter()
    for rule, job in re.findall(
        r"^rule (?!all)(\w+):\n(.*?)\n\[", done.stdout + "\n[", re.M | re.S
    ):
        minutes, memory = (re.search(rf"\b{name}=(\d+)", job) for name in ("runtime", "mem_mb"))
        asked[rule, int(minutes[1]), int(memory[1])] += 1
    limits = {
        ("items", 10, 1000): 2,
        ("dataset", 12 * attempt, 2000 * attempt): 6,
        ("vae", 225 * attempt, 3000 * attempt): 60,
        ("mf", 47 * attempt, 3000 * attempt): 6,
        ("train", 10 * attempt, 3000 * attempt): 120,
        ("train", 135 * attempt, 3000 * attempt): 300,
        ("train", 410 * attempt, 3000 * attempt): 60,
        ("table2", 10, 1000): 1,
    }
    assert asked == limits
