"""The project's workflow while it runs under one of its profiles, for tests."""

import contextlib
import os
import signal
import subprocess
import sys

import yaml
from workflow_runs import ROOT, environment

PROFILES = ROOT / "workflow" / "profiles"
# Every method once. The search among all 100 items makes SAC+WkNN slow enough to be caught.
TINY = {
    "seeds": [1],
    "environments": ["focused_topdown"],
    "items": {"count": 100},
    "simulator": {"turns": 10},
    "logging": {"users": 40},
    "vae": {"epochs": 1, "batch_slates": 64},
    "mf": {"validate_every": 5, "patience": 1},
    "wknn": {"neighbours": 100},
    "training": {
        "episodes": 300,
        "random_episodes": 20,
        "validate_every": 300,
        "validation_users": 4,
        "test_users": 8,
    },
    "tracking": {"mode": "disabled"},
}
SECONDS = 600


@contextlib.contextmanager
def started(folder, profile, *arguments, changes=(), variables=()):
    """The workflow, running in ``folder`` with a profile of the project; it ends with the test."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({**TINY, **dict(changes)}))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow" / "Snakefile"]
    command += ["--workflow-profile", PROFILES / profile, *arguments]
    command += ["--configfile", folder / "config.yaml"]
    with (folder / "snakemake.log").open("w") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={**environment(), **dict(variables)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def finish(process, folder):
    """Wait for the workflow, which must succeed."""
    assert process.wait(SECONDS) == 0, (folder / "snakemake.log").read_text()[-5000:]
