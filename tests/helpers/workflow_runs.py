"""The project's workflow at a tiny scale, for tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TINY = {
    "seeds": [1, 2],
    "environments": ["focused_topdown"],
    "items": {"count": 60},
    "simulator": {"turns": 10},
    "logging": {"users": 40},
    "vae": {"epochs": 1, "batch_slates": 64},
    "mf": {"validate_every": 5, "patience": 1},
    "training": {
        "episodes": 8,
        "random_episodes": 4,
        "validate_every": 4,
        "validation_users": 4,
        "test_users": 8,
        "batch_episodes": 2,
    },
    "tracking": {"mode": "disabled"},
}


def environment(project=ROOT):
    """Variables with which commands are those of ``project`` and of this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(project)}


def snakemake(*arguments, cwd=ROOT, check=True, project=ROOT):
    """Run the workflow of ``project``, the original or a copy, in the folder ``cwd``."""
    command = [sys.executable, "-m", "snakemake", "--nolock"]
    command += ["--snakefile", project / "workflow" / "Snakefile"]
    command += ["--workflow-profile", project / "workflow" / "profiles" / "default"]
    command += arguments if "--cores" in arguments else ("--cores", "2", *arguments)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def jobs(output):
    """Number of jobs of each rule that a dry run announces."""
    if "Job stats:" not in output:
        return {}
    table = output.split("Job stats:")[1].split("total")[0]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def configured(folder, base=TINY, **changes):
    """Write ``base`` with ``changes`` of sections to a file in ``folder``."""
    values = {**base, "results": str(folder / "results")}
    for name, value in changes.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
