"""Logs of jobs: where they lie, what they hold, how they end; progress in files, on a terminal."""

import fcntl
import itertools
import json
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import date
from pathlib import Path

import pytest

from gems import cli
from gems.config import build
from gems.errors import GemsError
from gems.pipeline import running, stages
from gems.pipeline.running import log_file
from gems.pretraining.models import PRETRAINED
from gems.runtime import progress
from gems.runtime.progress import Progress, duration

TINY = {
    "simulator": {"turns": 4},
    "items": {"count": 60},
    "training": {
        "episodes": 4,
        "random_episodes": 2,
        "validate_every": 2,
        "validation_users": 2,
        "test_users": 3,
    },
    "device": "cpu",
    "tracking": {"mode": "disabled"},
}
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) "


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.getLogger("gems").setLevel(logging.INFO)
    return stages.run_job(build({}), "Random", "focused_mix", 7)


def test_logs_lie_where_they_are_promised(tmp_path, monkeypatch):
    class LeapDay(date):
        today = classmethod(lambda cls: cls(2028, 2, 29))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "date", LeapDay)
    config = build({"mf": {"seed": 3}})
    vae, mf = (
        stages.pretrained_job(config, PRETRAINED[n], "focused_mix", 3) for n in ("vae", "mf")
    )
    made = {
        "GeMS_VAE/focused_mix_latentdim32_KL1.0_click0.5": vae,
        "MF/focused_mix": mf,
        "SAC_GeMS/focused_mix_KL1.0_click0.5": stages.run_job(config, "SAC+GeMS", "focused_mix", 3),
        "SAC_WkNN/diffuse_mix": stages.run_job(config, "SAC+WkNN", "diffuse_mix", 3),
    }
    for path, job in made.items():
        assert log_file(job) == Path(f"logs/log_3/{path}_20280229.log")


def test_logs_of_other_results_do_not_mix_with_those_of_the_default():
    assert build({"results": "results/paper"}).logs == "results/paper/logs"
    assert build({"results": "elsewhere", "logs": "mine"}).logs == "mine"
    assert build({}).logs == "logs"


def test_a_later_try_goes_on_in_the_log_of_the_first(job):
    first = job.log.with_name(f"{job.log.name}_20200131.log")
    first.parent.mkdir(parents=True)
    first.write_text("the first try\n")
    with running.running(job):
        pass
    assert log_file(job) == first
    assert first.read_text().startswith("the first try\n")
    assert "done in 0:00:00" in first.read_text()
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_mistake_ends_the_log_in_its_sentence(job):
    with pytest.raises(GemsError), running.running(job):
        raise GemsError("The dataset is damaged.")
    text = log_file(job).read_text()
    assert re.search(STAMP + r"The dataset is damaged\.\n$", text)
    assert "Traceback" not in text


def test_an_error_ends_the_log_with_its_traceback(job):
    with pytest.raises(ZeroDivisionError), running.running(job):
        1 / 0  # noqa: B018
    lines = log_file(job).read_text().splitlines()
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_signal_is_told_in_the_log(job):
    with pytest.raises(SystemExit), running.running(job):
        sys.exit(143)
    log = log_file(job).read_text()
    assert log.endswith("stopped by a signal; run it again to resume\n")


def test_a_log_that_cannot_be_written_warns_once_and_the_job_goes_on(job, capsys):
    job.log.parent.parent.mkdir(parents=True)
    job.log.parent.write_text("a file where the folder should be")
    with running.running(job):
        logging.getLogger("gems").info("one")
        logging.getLogger("gems").info("two")
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert err[0].startswith("Cannot write the log; the job continues without it: ")


def test_lines_of_progress_are_stamped_and_flushed_at_once(job, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with running.running(job), Progress("training", 4, "episodes") as stage:
        stage.advance(1, **{"validation return": 103.25})
        lines = log_file(job).read_text().splitlines()
        assert all(re.match(STAMP, line) for line in lines)
        assert lines[-2].endswith("training: starts at 0/4 episodes")
        pattern = (
            r"training: 1/4 episodes, \S+ episodes a second, \S+ left, validation return 103\.2$"
        )
        assert re.search(pattern, lines[-1])


def test_lines_come_at_most_every_thirty_seconds_besides_the_first_and_last(job, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("training", 1000, "episodes") as stage:
        shown = []
        monkeypatch.setattr(stage, "_line", lambda line=stage._line: (shown.append(now[0]), line()))
        for _ in range(1000):
            now[0] += 0.1
            stage.advance()
    assert len(shown) == 4
    assert all(b - a >= 30 for a, b in itertools.pairwise(shown[:3]))


def test_the_time_left_is_that_of_the_speed_of_late(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("training", 10_000, "episodes", done=1000) as stage:
        for _ in range(1000):  # the random phase: 100 a second
            now[0] += 0.01
            stage.advance()
        for _ in range(4000):  # learning: 10 a second
            now[0] += 0.1
            stage.advance()
        snapshot = stage.snapshot()
    assert (snapshot["done"], snapshot["total"]) == (6000, 10_000)
    assert snapshot["seconds_left"] == pytest.approx(400, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05"), (360_000, "100:00:00")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def command(tmp_path):
    config = json.dumps({**TINY, "results": str(tmp_path / "out")})
    cli.main(["items", "--embedding", "focused", "--config", config])
    arguments = ["train", "--method", "SAC+TopK-ideal", "--env", "focused_mix", "--seed", "1"]
    return [sys.executable, "-m", "gems.cli", *arguments, "--config", config]


@pytest.mark.slow
def test_a_command_shows_plain_lines_in_a_file_and_nothing_on_standard_output(tmp_path):
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "SAC_TopK_ideal_focused_mix_seed1: starts at 0/4 episodes"
    assert "4/4 episodes" in lines[-2]
    assert "test return" in lines[-1]
    assert "\r" not in done.stderr
    (log,) = (tmp_path / "out" / "logs" / "log_1" / "SAC_TopK_ideal").iterdir()
    assert [line for line in lines if line not in log.read_text()] == []


@pytest.mark.slow
def test_a_command_shows_one_bar_on_a_terminal_and_lines_in_its_log(tmp_path):
    arguments = command(tmp_path)
    terminal, inside = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    job = subprocess.Popen(arguments, stderr=inside, stdout=subprocess.DEVNULL)
    os.close(inside)
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    assert job.wait() == 0
    os.close(terminal)
    text = shown.decode()
    assert "100%" in text
    assert "validation return " in text
    assert "episodes a second" not in text
    (log,) = (tmp_path / "out" / "logs" / "log_1" / "SAC_TopK_ideal").iterdir()
    assert "4/4 episodes" in log.read_text()
