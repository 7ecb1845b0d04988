"""Kills at random moments: a restart goes on from the last saved state to the very same bytes.

``pytest tests/workflow/test_kill.py --kills 20`` makes 20 of them, a third for each kind of
process.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
ENV, SEED = ("--env", "focused_mix"), ("--seed", "7")
TRAIN = ("train", "--method", "SAC+GeMS", *ENV, *SEED)
PRETRAIN = ("pretrain", *ENV, *SEED)
RUN = Path("results/runs/SAC_GeMS_focused_mix_KL1.0_click0.5_seed7")
CONFIG = {
    "items": {"count": 60},
    "simulator": {"turns": 10},
    "logging": {"users": 300},
    "vae": {"epochs": 6, "batch_slates": 16, "shuffle": True},
    "training": {
        "episodes": 240,
        "random_episodes": 20,
        "validate_every": 60,
        "validation_users": 4,
        "test_users": 8,
        "batch_episodes": 4,
    },
    "device": "cpu",
    "tracking": {"mode": "disabled"},
}
# `gems` with states saved ten times a second, which notes every step and every state saved.
COMMAND = f"""#!{sys.executable}
import functools, os, sys
from gems.runtime import attempt
from gems import cli
from gems.pretraining import lightning
from gems.pretraining import vae_training
from gems.training import checkpoint as state, loop

log = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(*words):
    os.write(log, f"{{os.getpid()}} {{' '.join(map(str, words))}}\\n".encode())

def noted(owner, name, before=None, after=None):
    method = getattr(owner, name)
    @functools.wraps(method)
    def both(self, *arguments, **options):
        before and note(*before(self))
        result = method(self, *arguments, **options)
        after and note(*after(*arguments))
        return result
    setattr(owner, name, both)

def checkpoint(values, path, *_):
    return "vae", "saved" if path.endswith("last.ckpt") else "best", values["global_step"]

state.SAVE_SECONDS, state.MAX_TIME_SHARE = 0.1, 1.0
vae_training.PART_BATCHES = 25
noted(loop.Trainer, "_learn", before=lambda self: ("train", "step", self._episode))
noted(state.TrainingState, "save", after=lambda values, *_: ("train", "saved", values["episode"]))
vae = vae_training.VAETraining
noted(vae, "training_step", before=lambda self: ("vae", "step", self.global_step))
noted(lightning._AtomicCheckpoints, "save_checkpoint", after=checkpoint)
noted(attempt.Attempt, "__exit__", after=lambda kind, *_: (sys.argv[1], "done", int(kind is None)))
sys.exit(cli.main())
"""


class Folder:
    """A working directory with the workflow's results, and the notes of all that ran in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = path / "notes"
        (path / "bin").mkdir(parents=True)
        (path / "bin" / "gems").write_text(COMMAND)
        (path / "bin" / "gems").chmod(0o755)
        (path / "config.json").write_text(json.dumps(CONFIG))

    def start(self, *command: str) -> subprocess.Popen:
        """Start a command, in a process group of its own."""
        scripts = [str(self.path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        with (self.path / "log").open("a") as log:
            return subprocess.Popen(
                command,
                cwd=self.path,
                env={
                    **os.environ,
                    "PATH": os.pathsep.join(scripts),
                    "NOTES": str(self.notes),
                    "PYTHONPATH": str(ROOT),
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def gems(self, *command: str) -> subprocess.Popen:
        return self.start("gems", *command, "--config", "config.json")

    def snakemake(self, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet"]
        command += ["--snakefile", str(ROOT / "workflow" / "Snakefile"), *options]
        return self.start(*command, str(RUN / "result.json"), "--configfile", "config.json")

    def finish(self, process: subprocess.Popen) -> None:
        assert process.wait() == 0, (self.path / "log").read_text()

    def steps(self) -> list[tuple[int, str, str, int]]:
        """Notes in order: process, stage, ``step`` or ``saved`` or ``done``, and its number."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        parts = [line.split() for line in lines]
        return [(int(p[0]), p[1], p[2], int(p[3])) for p in parts if len(p) == 4]

    def results(self) -> dict[str, bytes]:
        """The VAE and the run, byte by byte; records tell times."""
        paths = [*self.path.glob("results/vae/*"), *(self.path / RUN).glob("*")]
        kept = [path for path in paths if not path.name.endswith("provenance.json")]
        return {path.name: path.read_bytes() for path in kept}

    def forget(self, *names: str) -> None:
        """Remove results, so that they are made once more."""
        for name in names:
            shutil.rmtree(self.path / "results" / name, ignore_errors=True)
        self.notes.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results that nobody disturbed, and the seconds that each stage works."""
    folder = Folder(tmp_path_factory.mktemp("kill") / "undisturbed")
    seconds = {}
    commands = ("items", "--embedding", "focused"), ("simulate", *ENV), PRETRAIN, TRAIN
    for command in commands:
        started = time.monotonic()
        process = folder.gems(*command)
        while process.poll() is None and not any(s[0] == process.pid for s in folder.steps()):
            started = time.monotonic()
            time.sleep(0.01)
        folder.finish(process)
        seconds[command[0]] = time.monotonic() - started
    assert {"result.json", "curve.csv", "policy.safetensors"} <= folder.results().keys()
    return folder, seconds


@pytest.fixture
def moments(request):
    """Random moments, as shares of the time that a job works: one for each kill of this test."""
    kinds = ("train", "pretrain", "snakemake")
    kind = next(name for name in kinds if f"killed_{name}" in request.node.name)
    kills = len(range(kinds.index(kind), request.config.getoption("kills"), len(kinds)))
    rng = random.Random(kind if kills <= 1 else None)
    return [rng.random() for _ in range(kills)]


def assert_whole(folder: Path) -> None:
    """Every file that is not hidden is whole: nothing half-written has a final name."""
    readers: dict[str, Callable] = {
        ".json": lambda path: json.loads(path.read_text()),
        ".npy": np.load,
        ".safetensors": load_file,
    }
    for path in (folder / "results").rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in readers and not hidden:
            readers[path.suffix](path)


def assert_little_is_repeated(steps: list[tuple[int, str, str, int]]) -> None:
    """Every try of a stage starts at the last state saved before it, or later.

    A job that is done has no state any more: if Snakemake, or its own last second, is killed before
    Snakemake has noted that it is done, it is made again.
    """
    for stage, command in (("vae", "pretrain"), ("train", "train")):
        saved, last = 0, None
        for process, where, kind, number in steps:
            if where == stage and kind == "step" and process != last:
                assert number >= saved
                last = process
            if where == stage and kind == "saved":
                saved = number
            if where == command and kind == "done" and number:
                saved = 0


def survive(folder: Folder, command: tuple[str, ...], moments: list[float], seconds: float) -> None:
    """Kill ``command`` at each of ``moments`` after it began to work; then let it finish."""
    for moment in moments:
        while not (process := killed(folder, command, moment * seconds)).returncode:
            folder.finish(process)  # done before the kill: it starts afresh
            folder.forget({"train": "runs", "pretrain": "vae"}[command[0]])
        assert process.returncode == -signal.SIGKILL
        assert_whole(folder.path)
    folder.finish(folder.gems(*command))
    assert_little_is_repeated(folder.steps())
    assert not (folder.path / "results" / ".state").exists()


def killed(folder: Folder, command: tuple[str, ...], seconds: float) -> subprocess.Popen:
    """Start a command and kill it some seconds after its first step, if it is not done then."""
    process = folder.gems(*command)
    while process.poll() is None and not any(step[0] == process.pid for step in folder.steps()):
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.wait()
    return process


def copy_of(undisturbed: Folder, path: Path, *names: str) -> Folder:
    folder = Folder(path)
    for name in names:
        shutil.copytree(undisturbed.path / "results" / name, path / "results" / name)
    return folder


def test_a_killed_train_goes_on_to_the_same_bytes(undisturbed, moments, tmp_path):
    reference, seconds = undisturbed
    folder = copy_of(reference, tmp_path / "work", "items", "vae")
    survive(folder, TRAIN, moments, seconds["train"])
    assert folder.results() == reference.results()


def test_a_killed_pretrain_goes_on_to_the_same_bytes(undisturbed, moments, tmp_path):
    reference, seconds = undisturbed
    folder = copy_of(reference, tmp_path / "work", "datasets")
    survive(folder, PRETRAIN, moments, seconds["pretrain"])
    of_vae = [name for name in reference.results() if name.startswith("GeMS_")]
    assert folder.results() == {name: reference.results()[name] for name in of_vae}


def test_a_killed_snakemake_goes_on_to_the_same_bytes(undisturbed, moments, tmp_path):
    """Killed alone, with all its jobs, or only its job, one after the other."""
    reference, seconds = undisturbed
    folder = copy_of(reference, tmp_path / "work", "items", "datasets")
    for number, moment in enumerate(moments):
        delay = moment * (seconds["pretrain"] + seconds["train"])
        while not kill_snakemake(folder, number % 3, delay):
            folder.forget("vae", "runs")
        assert_whole(folder.path)
        assert folder.snakemake("--unlock").wait() == 0
    folder.finish(folder.snakemake())
    assert_little_is_repeated(folder.steps())
    assert folder.results() == reference.results()
    assert not (folder.path / "results" / ".state").exists()


def kill_snakemake(folder: Folder, kind: int, seconds: float) -> bool:
    """Start Snakemake and kill it, all that it started, or its job; False if it was done before."""
    process = folder.snakemake()
    known = {step[0] for step in folder.steps()}
    while process.poll() is None and not {step[0] for step in folder.steps()} - known:
        time.sleep(0.02)
    time.sleep(seconds)
    if process.poll() is not None:
        folder.finish(process)
        return False
    if kind == 0:  # its orphan is asked to end, as the sentence of the lock says
        process.kill()
        process.wait()
        with_group(process, signal.SIGTERM)
    elif kind == 1:
        with_group(process, signal.SIGKILL)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(folder.steps()[-1][0], signal.SIGKILL)
        return process.wait() != 0
    return True


def with_group(leader: subprocess.Popen, number: int) -> None:
    """Send a signal to all that ``leader`` started, and wait until they are gone."""
    while True:
        try:
            os.killpg(leader.pid, number)
        except ProcessLookupError:
            return
        time.sleep(0.05)
        leader.poll()


def test_a_job_that_a_scheduler_preempts_saves_its_state_first(undisturbed, tmp_path):
    reference, _ = undisturbed
    folder = copy_of(reference, tmp_path / "work", "items", "vae")
    process = folder.gems(*TRAIN)
    while not any(step[0] == process.pid and step[3] >= 60 for step in folder.steps()):
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    *_, (_, _, kind, saved), ended = folder.steps()
    assert (kind, ended[2:]) == ("saved", ("done", 0))
    folder.finish(folder.gems(*TRAIN))
    again = [s for s in folder.steps() if s[0] != process.pid]
    assert again[0][2:] == ("step", saved)
    assert folder.results() == reference.results()
    assert json.loads((folder.path / RUN / "provenance.json").read_text())["tries"] == 2
