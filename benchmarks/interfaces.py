"""Speed and memory of environments, policies, collections and imports.

``python benchmarks/interfaces.py [ROW ...]`` prints a table. Each row is measured in a process of
its own, on one thread; seconds are processor time, and the peak memory is that of the process with
its libraries. The policy is one of SAC+GeMS at the default sizes, after two episodes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import gymnasium
import numpy as np
import pandas as pd

import gems
from gems import cli
from gems.data import dataset

SMALL = {
    "logging": {"users": 1000},
    "vae": {"epochs": 1},
    "training": {"episodes": 2, "random_episodes": 1, "validate_every": 2, "test_users": 2},
    "tracking": {"mode": "disabled"},
}
ENVIRONMENT = "focused_topdown"
RUN = f"results/runs/SAC_GeMS_{ENVIRONMENT}_KL1.0_click0.5_seed1"


def prepare() -> None:
    """Make the run, a log of a million slates, and 100,000 sessions, in the working directory."""
    Path("small.json").write_text(json.dumps(SMALL))
    where = ["--env", ENVIRONMENT]
    for command in (
        ["items", "--embedding", "focused"],
        ["simulate", *where],
        ["pretrain", *where, "--seed", "1"],
        ["train", "--method", "SAC+GeMS", *where, "--seed", "1"],
    ):
        if cli.main([*command, "--config", "small.json"]):
            raise SystemExit(f"gems {' '.join(command)} failed")
    data = dataset.read(Path("results/datasets") / ENVIRONMENT)
    seen = data.read(slice(0, data.slates))
    users = np.repeat(np.arange(data.users), 100)
    table = pd.DataFrame(
        {"user": users, "slate": list(seen.items), "clicks": list(seen.clicks > 0)}
    )
    log = pd.concat([table.assign(user=users + part * data.users) for part in range(10)])
    log.to_parquet("log.parquet")
    with Path("sessions.jsonl").open("w") as file:
        for first in range(0, 1_000_000, 10):
            part = slice(first % data.slates, first % data.slates + 10)
            shown, clicks = seen.items[part].tolist(), seen.clicks[part].astype(int).tolist()
            file.write(json.dumps({"slates": shown, "clicks": clicks}) + "\n")


def environment(users: int) -> Callable[[], tuple[int, str]]:
    """Random slates for at least 100,000 turns of users; actions are drawn beforehand."""

    def measure() -> tuple[int, str]:
        single = users == 1
        make = gymnasium.make if single else lambda name: gymnasium.make_vec(name, num_envs=users)
        env = make(f"gems/{ENVIRONMENT}-v0")
        slates = [env.action_space.sample() for _ in range(50)]
        turns = max(300, 100_000 // users)
        env.reset(seed=1)
        env.step(slates[0])
        restart_clock()
        env.reset(seed=1)
        for turn in range(turns):
            over = env.step(slates[turn % len(slates)])[3]
            if single and over:
                env.reset()
        return turns * users, "turns"

    return measure


def collection(epsilon: float) -> Callable[[], tuple[int, str]]:
    def measure() -> tuple[int, str]:
        gems.collect(RUN, "collected", users=10_000, epsilon=epsilon)
        return 10_000, "users"

    return measure


def recommendation() -> tuple[int, str]:
    arguments = ["recommend", RUN, "--history", "sessions.jsonl", "--output", "slates.jsonl"]
    if cli.main(arguments):
        raise SystemExit("gems recommend failed")
    return 100_000, "sessions"


def importing() -> tuple[int, str]:
    return gems.import_logs("log.parquet", "imported").slates, "slates"


ROWS: dict[str, Callable[[], tuple[int, str]]] = {
    **{f"environment:{users}": environment(users) for users in (1, 100, 1_000, 10_000)},
    "collect": collection(0.0),
    "collect:epsilon": collection(0.5),
    "recommend": recommendation,
    "import": importing,
}
_started = 0.0


def restart_clock() -> None:
    global _started
    _started = time.process_time()


def measured(name: str) -> str:
    """One line of the table."""
    restart_clock()
    count, unit = ROWS[name]()
    seconds = time.process_time() - _started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {name} | {count:,} {unit} | {seconds:.1f} | {count / seconds:,.0f} | {peak:,.0f} |"


def run(name: str) -> str:
    """What a process of its own prints for a row, or why it failed."""
    command = [sys.executable, os.path.realpath(__file__), "--here", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=", ".join(ROWS))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        (name,) = arguments.rows
        print(measured(name) if name in ROWS else prepare())
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run("prepare")  # not here: a process inherits the peak memory of the one that starts it
        print("| Row | Amount | Seconds | Per second | Peak MB |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name in arguments.rows or ROWS:
            print(run(name), flush=True)


if __name__ == "__main__":
    sys.exit(main())
