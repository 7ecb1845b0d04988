"""Speed and memory of the parts of a run: ``python benchmarks/run.py [ROW ...]``.

Every time is the median of several repeats after a warm-up, on one thread. It is also given in G,
the time of a 1024 x 1024 x 1024 float32 matrix product measured right before it, so that figures
can be compared on a noisy machine. Target is the goal of a row; Released is the time of the
authors' released code, measured in the same way. ``--json FILE`` writes all figures. Rows that end
in a number of turns or items show how the cost grows; each is measured in a process of its own,
which also reports its peak memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from gems.agents.base import Learner
from gems.config import build
from gems.data import dataset
from gems.data.logging_policy import log_users
from gems.data.replay import Batch
from gems.envs import items
from gems.envs.simulator import Simulator
from gems.pipeline.stages import Job, run_job
from gems.pretraining.mf import BPR
from gems.pretraining.vae import SlateVAE
from gems.pretraining.vae_training import action_bounds
from gems.runtime.process import set_up_process
from gems.runtime.weights import save_weights
from gems.training.rollout import rollout
from gems.training.run import Run

ENVIRONMENT, SEED = "focused_topdown", 1
TURNS, ITEMS = (100, 200, 400), (1_000, 10_000, 100_000)
CONFIG = build({"tracking": {"mode": "disabled"}})
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """One line of the table; ``reach`` and ``released`` are in G, or in the row's own unit."""

    name: str
    measure: Callable[[], tuple[float, str] | tuple[float, str, float]]
    reach: float | None = None
    released: float | None = None


def median(work: Callable[[], object], repeats: int) -> tuple[float, str]:
    """Median seconds of ``work`` after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times), "s"


def job_of(method: str) -> Job:
    """The run of a method, in a temporary folder."""
    config = CONFIG.model_copy(update={"results": _FOLDER.name})
    return run_job(config, method, ENVIRONMENT, SEED)


@cache
def inputs() -> dict[str, Path]:
    """Items, and models with random weights, by name: speed needs no training."""
    files = job_of("SAC+GeMS").inputs | job_of("SAC+TopK-MF").inputs
    items.save(files["items"], items.make("focused", CONFIG))
    torch.manual_seed(SEED)
    save_weights(files["mf"], {"items": torch.randn(CONFIG.items.count, 20)}, {})
    vae = SlateVAE(CONFIG.items.count, 10, CONFIG.vae)
    low, high = action_bounds(vae, logged(100))
    described = {"items": CONFIG.items.count, "vae": CONFIG.vae.model_dump(mode="json")}
    weights = {**vae.state_dict(), "bounds.low": low, "bounds.high": high}
    save_weights(files["vae"], weights, described)
    return files


_FOLDER = tempfile.TemporaryDirectory(prefix="gems-benchmark-")


def simulator() -> Simulator:
    """A simulator of the benchmark's environment."""
    catalogue = items.make("focused", CONFIG)
    return Simulator(catalogue, CONFIG.environment(ENVIRONMENT))


@cache
def logged(users: int) -> dataset.Dataset:
    """A logged dataset."""
    folder = Path(_FOLDER.name) / f"dataset{users}"
    log_users(simulator(), CONFIG.logging.model_copy(update={"users": users}), ENVIRONMENT, folder)
    return dataset.read(folder)


@cache
def agent(method: str) -> tuple[Learner, Simulator]:
    """An untrained learner and its simulator."""
    job = job_of(method)
    files = {name: inputs()[name] for name in job.inputs}
    run = Run("benchmark", method, ENVIRONMENT, SEED, CONFIG, files, job.values)
    environment = run.simulator()
    learner = run.agent(environment)
    if hasattr(learner.policy, "epsilon"):
        learner.policy.epsilon.fill_(CONFIG.slateq.epsilon_end)
    return learner, environment


def logging_slate() -> tuple[float, str]:
    """Seconds to log one slate."""
    users = 2_000_000 // CONFIG.items.count
    config = CONFIG.logging.model_copy(update={"users": users})
    folder, environment = Path(_FOLDER.name) / "logging", simulator()
    seconds, unit = median(lambda: log_users(environment, config, ENVIRONMENT, folder), 3)
    return seconds / (users * CONFIG.simulator.turns), unit


def collect(method: str) -> tuple[float, str]:
    """Seconds to collect one training episode."""
    learner, environment = agent(method)
    return median(lambda: rollout(learner.policy, environment, 1, "explore", SEED, "c"), 15)


def update(method: str) -> tuple[float, str]:
    """Seconds of one update on a batch as in training."""
    learner, environment = agent(method)
    n = 1 if learner.on_policy else CONFIG.training.batch_episodes
    episodes = rollout(learner.policy, environment, n, "random", SEED, "u")
    batch, generator = Batch.of(episodes, CPU), torch.Generator()
    return median(lambda: learner.update(batch, generator), 15)


def validation(method: str) -> tuple[float, str]:
    """Seconds to validate on 200 users."""
    learner, environment = agent(method)
    return median(lambda: rollout(learner.policy, environment, 200, "greedy", SEED, "v"), 3)


def vae_batch() -> tuple[float, str]:
    """Seconds of one training batch of the VAE, reading it included."""
    vae, data = SlateVAE(CONFIG.items.count, 10, CONFIG.vae), logged(100)
    optimiser = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        slates, clicks = data.read(slice(0, CONFIG.vae.batch_slates))
        noise = torch.randn(len(slates), CONFIG.vae.latent_dim)
        losses = vae.losses(torch.from_numpy(slates), torch.from_numpy(clicks), noise)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()

    return median(step, 40)


def mf_batch() -> tuple[float, str]:
    """Seconds of one training batch of matrix factorisation on 10,000 users."""
    model = BPR(logged(10_000), CONFIG.mf)
    optimiser = model.configure_optimizers()
    batches = iter(model.train_dataloader())

    def step() -> None:
        model.loss(*next(batches)).backward()
        optimiser.step()
        optimiser.zero_grad()

    return median(step, 300)


# A process of little memory in between: what one had before it started another counts as the
# other's peak.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20)
"""


def peak_gb(command: list[str]) -> float:
    """Run a command and give the peak of its memory."""
    run = [sys.executable, "-c", PEAK, *command]
    return float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


def _train(training: dict[str, int]) -> tuple[float, float]:
    """Seconds and peak GB of a whole job of SAC+GeMS."""
    inputs()
    command = [sys.executable, "-m", "gems.cli", "train", "--method", "SAC+GeMS"]
    command += ["--env", ENVIRONMENT, "--seed", str(SEED)]
    changed = {"results": _FOLDER.name, "tracking": {"mode": "disabled"}, "training": training}
    command += ["--config", json.dumps(changed)]
    started = time.perf_counter()
    peak = peak_gb(command)
    return time.perf_counter() - started, peak


def start() -> tuple[float, str]:
    """Seconds of a job that collects one episode and tests on one user: its start."""
    training = {"episodes": 1, "random_episodes": 1, "validate_every": 1}
    training |= {"validation_users": 1, "test_users": 1}
    return median(lambda: _train(training), 3)[0], "s a job"


def memory() -> tuple[float, str]:
    """Peak GB of a SAC+GeMS run with a full replay; a run reads no logged data."""
    n = CONFIG.training.replay_episodes
    training = {"episodes": n + 5, "random_episodes": n, "validate_every": n + 5}
    return _train(training)[1], "GB"


def scaled(row: str, option: str, value: int) -> tuple[float, str, float]:
    """Seconds, unit and peak GB of another row with ``value`` turns or items, in a new process."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, row, option, str(value), "--json", file.name]
        peak = peak_gb(command)
        (figure,) = json.load(file)
    return figure["value"], figure["unit"], peak


# Released: seconds on a machine where G was 35 ms, divided by it.
ROWS = [
    Row("logging", logging_slate, 0.00035, 0.026),
    *(
        Row(f"collect:{method}", lambda method=method: collect(method), reach, released)
        for method, reach, released in (
            ("SAC+GeMS", 0.2, 6.3),
            ("SAC+TopK-ideal", 0.2, 5.7),
            ("SlateQ", 0.2, 4.6),
            ("REINFORCE+SoftMax", 0.2, 5.6),
            ("SAC+WkNN", 0.6, 20),
        )
    ),
    *(
        Row(f"update:{method}", lambda method=method: update(method), reach, released)
        for method, reach, released in (
            ("SAC+GeMS", 1.3, 6.5),
            ("SAC+TopK-ideal", 1.2, 5.9),
            ("SAC+WkNN", 4, 198),
            ("SlateQ", 1.2, 2.9),
            ("REINFORCE+SoftMax", 0.15, 1.14),
        )
    ),
    *(
        Row(f"validation:{method}", lambda method=method: validation(method), 12, 1250)
        for method in ("SAC+GeMS", "SAC+TopK-ideal", "SlateQ", "REINFORCE+SoftMax")
    ),
    Row("validation:SAC+WkNN", lambda: validation("SAC+WkNN")),
    Row("vae_batch", vae_batch, 0.8, 1.46),
    Row("mf_batch", mf_batch),
    Row("start", start, 5),
    Row("memory", memory, 0.7, 7.5),
    *(
        Row(f"{row}:{value}_{option}", partial(scaled, row, f"--{option}", value))
        for option, values, rows in (
            ("turns", TURNS, ("collect:SAC+GeMS", "update:SAC+GeMS")),
            (
                "items",
                ITEMS,
                ("logging", "collect:SAC+TopK-ideal", "collect:SAC+GeMS", "vae_batch"),
            ),
        )
        for row in rows
        for value in values
    ),
]


@dataclass(frozen=True)
class Figure:
    """What was measured of one row; ``in_g`` is missing where G means nothing.

    ``peak_gb`` is the peak memory of the process that measured it, where that did nothing else.
    """

    row: str
    value: float
    unit: str
    g_seconds: float
    in_g: float | None
    reach: float | None
    released: float | None
    peak_gb: float | None


def measure(row: Row) -> Figure:
    """Measure G, then the row."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    g, _ = median(lambda: a @ b, 9)
    value, unit, *peak = row.measure()
    in_g = value / g if unit == "s" else None
    return Figure(row.name, value, unit, g, in_g, row.reach, row.released, *(peak or [None]))


def shown(figure: Figure) -> str:
    """One line of the table."""
    in_ms = f"{figure.value * 1e3:.4g} ms"
    value = in_ms if figure.unit == "s" else f"{figure.value:.3g} {figure.unit}"
    cells = [figure.row, value, f"{figure.g_seconds * 1e3:.1f} ms"]
    compared = (figure.in_g, figure.reach, figure.released)
    cells += ["" if value is None else f"{value:.3g}" for value in (*compared, figure.peak_gb)]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure the rows asked for, or all."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(names))
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    parser.add_argument("--turns", type=int, default=100, help="turns of an episode")
    parser.add_argument("--items", type=int, default=1000, help="number of items")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(names):
        parser.error(f"unknown row {min(unknown)}; allowed: {', '.join(names)}")
    global CONFIG
    scale = {"items": {"count": args.items}, "simulator": {"turns": args.turns}}
    CONFIG = build({"tracking": {"mode": "disabled"}, **scale})
    set_up_process()
    print("| Row | Median | G | In G | Target | Released | Peak GB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    figures = []
    for row in ROWS:
        if not args.rows or row.name in args.rows:
            figures.append(measure(row))
            print(shown(figures[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
