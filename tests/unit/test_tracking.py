"""Tracking: what an offline run writes, that it changes no result, that it can stop no run."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runtimes
import workflow_runs
import yaml
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.proto.swanlab.run.v1.run_pb2 import RunState
from swanlab.sdk.internal.core_python.store import DataStoreReader

from gems import cli
from gems.config import build
from gems.envs import items
from gems.envs.simulator import Simulator
from gems.errors import GemsError
from gems.runtime import tracking
from gems.training import loop
from gems.training.checkpoint import TrainingState
from gems.training.rollout import rollout
from gems.training.run import Run

TINY = workflow_runs.TINY | {
    "results": "out",
    "vae": {"epochs": 2, "batch_slates": 4},
    "mf": {"validate_every": 60, "patience": 1},
    "training": workflow_runs.TINY["training"] | {"episodes": 12},
    "device": "cpu",
    "tracking": {"mode": "offline", "project": "slates", "description": "a test"},
}
RUN = "SAC_TopK_ideal_focused_mix_seed1"


@pytest.fixture
def gems(tmp_path, monkeypatch, capsys):
    """Run a command under the tiny configuration in an empty folder: (status, out, err)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))

    def run(*arguments, config=None, **options):
        sources = ["tiny.json", json.dumps({**(config or {}), **options})]
        given = [part for source in sources for part in ("--config", source)]
        status = cli.main([*map(str, arguments), *given])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def records(folder):
    """Every record of a tracked run, read by SwanLab's own reader."""
    (file,) = folder.glob("run-*.swanlab")
    reader = DataStoreReader()
    reader.open(file)
    found = []
    for raw in reader:
        record = Record()
        record.ParseFromString(raw)
        found.append(record)
    return found


def tracked(folder=Path("swanlog")):
    """The one tracked run in ``folder``: its start, its values {key: {step: value}}, its end."""
    (run,) = [path for path in folder.iterdir() if path.is_dir()]
    found = records(run)
    values = {}
    for record in found:
        if record.HasField("scalar"):
            steps = values.setdefault(record.scalar.key, {})
            assert record.scalar.step not in steps, "a step is tracked twice"
            steps[record.scalar.step] = record.scalar.value.number
    config = yaml.safe_load((run / "files" / "config.yaml").read_text())
    config = {key: entry["value"] for key, entry in config.items()}
    return found[0].start, values, config, found[-1].finish


def train(gems, *extra, method="SAC+TopK-ideal", **options):
    gems("items", "--embedding", "focused")
    arguments = ("--method", method, "--env", "focused_mix", "--seed", 1)
    return gems("train", *arguments, *extra, **options)


def test_an_offline_run_holds_name_tags_configuration_and_every_figure(gems):
    status, out, _ = train(gems)
    assert (status, out) == (0, "")
    start, values, config, finish = tracked()
    assert (start.name, start.project, start.description) == (RUN, "slates", "a test")
    assert list(start.tags) == ["SAC+TopK (ideal)", "focused_mix", "seed_1"]
    saved = json.loads(Path(f"out/runs/{RUN}/policy.json").read_text())
    for section, options in saved["config"].items():
        for name, value in options.items():
            assert config[f"config.{section}.{name}"] == value
    assert (config["seed"], config["environment"]) == (1, "focused_mix")
    with Path(f"out/runs/{RUN}/curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["episode"]) for row in rows] == [4, 8, 12]
    for row in rows:
        for name, text in row.items():
            if text and name != "episode":
                assert values[name][int(row["episode"])] == pytest.approx(float(text))
    learnt = ("q_loss", "policy_loss", "alpha_loss", "alpha", "q_value", "soft_return_to_go")
    assert all(set(values[name]) == {8, 12} for name in learnt)
    always = ("validation_return", "validation_bored_topics", "episodes_per_second")
    assert all(set(values[name]) == {4, 8, 12} for name in always)
    result = json.loads(Path(f"out/runs/{RUN}/result.json").read_text())
    assert values["test_return"] == {12: result["test_return"]}
    assert values["test_standard_error"] == {12: pytest.approx(result["test_standard_error"])}
    assert finish.state == RunState.RUN_STATE_FINISHED


def test_pretrained_models_track_their_losses(gems):
    gems("items", "--embedding", "focused")
    gems("simulate", "--env", "focused_mix")
    gems("pretrain", "--env", "focused_mix", "--seed", 5)
    start, values, config, _ = tracked()
    assert start.name.startswith("GeMS_focused_mix_latentdim32_")
    assert list(start.tags) == ["GeMS_VAE", "focused_mix", "seed_5"]
    assert config["vae.batch_slates"] == 4
    assert set(values["val_total"]) == {90, 180}
    assert set(values["train_total"]) == set(values["batches_per_second"]) == {50, 100, 150}
    config = {"tracking": {"mode": "offline", "folder": "mf"}, "mf": {"seed": 3, "batch_pairs": 2}}
    gems("pretrain", "--model", "mf", "--env", "focused_mix", config=config)
    start, values, _, _ = tracked(Path("mf"))
    assert start.name == "MF_focused_mix_seed3"
    assert list(start.tags) == ["MF", "focused_mix", "seed_3"]
    assert values["val_loss"]
    assert values["train_loss"]


def test_tracking_changes_no_result(gems, tmp_path):
    for mode in ("disabled", "offline"):
        train(gems, "--output", mode, config={"tracking": {"mode": mode}})
    for name in ("result.json", "curve.csv", "policy.safetensors"):
        assert (tmp_path / "disabled" / name).read_bytes() == (
            tmp_path / "offline" / name
        ).read_bytes()


class Killed(BaseException):
    """As abrupt as a signal."""


def test_a_resumed_run_is_one_tracked_run_with_each_step_once(gems, monkeypatch):
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    learn = loop.Trainer._learn

    def killed(self, episode):
        if self._episode == 10:
            raise Killed
        return learn(self, episode)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_learn", killed)
        with pytest.raises(Killed):
            train(gems)
    first, values, _, finish = tracked()
    assert set(values["validation_return"]) == {4, 8}
    assert finish.state == RunState.RUN_STATE_CRASHED
    train(gems)
    second, values, _, finish = tracked()
    assert (second.name, second.id) == (first.name, first.id)
    assert set(values["validation_return"]) == {4, 8, 12}
    assert set(values["test_return"]) == {12}
    assert finish.state == RunState.RUN_STATE_FINISHED
    assert not Path(f"out/.state/runs/{RUN}").exists()


def test_a_finished_run_that_is_repeated_is_tracked_beside_the_first(gems):
    train(gems)
    train(gems)
    assert len(list(Path("swanlog").glob("run-*"))) == 2


def warnings_of(err):
    return [line for line in err.splitlines() if line.startswith("Tracking failed")]


def test_a_folder_that_cannot_be_made_warns_once_and_the_run_goes_on(gems, tmp_path):
    (tmp_path / "taken").write_text("a file")
    status, _, err = train(gems, config={"tracking": {"mode": "offline", "folder": "taken/x"}})
    assert status == 0
    assert len(warnings_of(err)) == 1
    assert Path(f"out/runs/{RUN}/result.json").exists()


def test_the_cloud_without_a_key_warns_once_and_asks_nobody(gems, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SWANLAB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SWANLAB_ROOT", str(tmp_path / "home"))
    status, out, err = train(gems, config={"tracking": {"mode": "cloud"}})
    assert (status, out) == (0, "")
    assert len(warnings_of(err)) == 1
    assert "no API key" in warnings_of(err)[0]


def test_a_cloud_that_never_answers_neither_stops_nor_holds_a_run(gems, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("SWANLAB_ROOT", str(tmp_path / "home"))
        monkeypatch.setenv("SWANLAB_API_KEY", "a" * 21)
        monkeypatch.setenv("SWANLAB_API_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        tracker = runtimes.tracker(mode="cloud")
        assert time.monotonic() - started < 5  # the import of swanlab may be the first
        with tracker:
            tracker.log({"loss": 1.0}, 1)
        assert time.monotonic() - started < 7


FULL = """
import resource, sys
from runtimes import tracker
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with tracker(folder=sys.argv[1]) as tracked:
    for step in range(2000):
        tracked.log({"loss": 1.0, "return": 2.0}, step)
print("went on")
"""


def test_a_disk_that_fills_up_warns_once_and_the_run_goes_on(tmp_path):
    """Files may not grow beyond 20 kB here, as on a disk with no more room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "swanlog")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert len(warnings_of(done.stderr)) == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options", [{"project": "two words"}, {"workspace": "a/b"}, {"description": "x" * 1025}]
)
def test_names_that_swanlab_refuses_are_told_before_any_work(options):
    with pytest.raises(GemsError, match=f"tracking.{next(iter(options))}"):
        build({"tracking": options})


def test_boredom_told_from_recorded_episodes_is_the_simulators_own(tmp_path):
    items.save(tmp_path / "items.npy", items.generate(2, "focused", 50, 1.0))
    config = build({"simulator": {"turns": 40}})
    files = {"items": tmp_path / "items.npy"}
    oracle = Run("x", "ShortTermOracle", "focused_divpen", 1, config, files, {})
    simulator = oracle.simulator()
    assert isinstance(simulator, Simulator)
    episodes = rollout(oracle.agent(simulator), simulator, 20, "greedy", 1, "test")
    assert episodes.bored.any(axis=(0, 1)).sum() > 3
    told = simulator.boredom(episodes.slates, episodes.clicks)
    assert (told == episodes.bored).all()
