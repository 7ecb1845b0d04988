"""`gems status`: done, running, failed, stopped and missing jobs, quickly."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from gems import cli
from gems.config import build, paper
from gems.errors import GemsError
from gems.pipeline import running, stages, status
from gems.pretraining.models import PRETRAINED
from gems.runtime.progress import Progress

METHODS = ["Random", "SAC+GeMS", "SAC+TopK-MF"]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return build({"methods": METHODS, "environments": ["focused_mix"], "seeds": [1, 2]})


@pytest.fixture
def job(config):
    return stages.run_job(config, "Random", "focused_mix", 1)


def of(config, job):
    (row,) = [row for row in status.read(config) if (row.kind, row.job) == (job.folder, job.name)]
    return row


def finish(job, **result):
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_text(json.dumps(result))


def told(job, **values):
    """What a job on this host, or another, would have told of itself."""
    job.state.mkdir(parents=True, exist_ok=True)
    here = {"host": socket.gethostname(), "pid": os.getpid(), "log": "", "state": "running"}
    job.progress.write_text(json.dumps(here | values))


def test_every_job_of_the_configuration_is_listed_and_missing_at_first(config):
    rows = status.read(config)
    assert {row.state for row in rows} == {"missing"}
    kinds = [row.kind for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "items": 1,
        "datasets": 1,
        "vae": 2,
        "mf": 1,
        "runs": 6,
    }


def test_runs_of_variants_that_have_begun_are_listed_too(config):
    done, running = (
        stages.run_job(config, "SAC+GeMS", "focused_mix", seed, "gamma0.0") for seed in (1, 2)
    )
    finish(done, test_return=3.0)
    told(running)
    assert (of(config, done).state, of(config, done).value) == ("done", 3.0)
    assert of(config, running).state == "running"


def test_models_of_other_options_that_have_begun_are_listed_too(config):
    other = build(config.model_dump() | {"vae": {"beta": 0.5}, "mf": {"validation": "held_out"}})
    vae, mf = (stages.pretrained_job(other, PRETRAINED[n], "focused_mix", 1) for n in ("vae", "mf"))
    assert mf.name == "focused_mix_held_out"
    told(vae)
    told(mf)
    assert [of(config, job).state for job in (vae, mf)] == ["running", "running"]
    finish(mf)
    mf.progress.unlink()
    assert [of(config, job).state for job in (vae, mf)] == ["running", "done"]
    listed = [(row.kind, row.job) for row in status.read(config)]
    assert len(set(listed)) == len(listed)


def test_methods_without_pretrained_models_need_no_dataset(tmp_path):
    rows = status.read(build({"methods": ["Random"], "results": str(tmp_path)}))
    assert {row.kind for row in rows} == {"items", "runs"}


def test_a_finished_run_shows_its_test_return(config, job):
    finish(job, test_return=42.5)
    assert of(config, job) == status.Row("runs", job.name, "done", value=42.5)


def test_a_running_job_shows_how_far_it_is(config, job, monkeypatch):
    monkeypatch.setattr(running, "BEAT_SECONDS", 0.01)
    with running.running(job):
        assert of(config, job).state == "running"
        with Progress("x", 10, "episodes") as stage:
            stage.advance(4, **{"validation return": 12.0})
            time.sleep(0.3)
            row = of(config, job)
    assert (row.state, row.progress, row.value) == ("running", "4/10 episodes", 12.0)
    assert row.seconds_left > 0
    assert row.seconds_silent < 5
    assert not job.progress.exists()


def test_a_failed_job_shows_the_last_line_of_its_log(config, job):
    with pytest.raises(GemsError), running.running(job):
        raise GemsError("q_loss became nan at episode 3.")
    row = of(config, job)
    assert row.state == "failed"
    assert row.error.endswith("ERROR q_loss became nan at episode 3.")
    assert row.error in status.table([row])
    with pytest.raises(ZeroDivisionError), running.running(job):
        1 / 0  # noqa: B018
    assert of(config, job).error == "ZeroDivisionError: division by zero"


def test_a_failed_job_that_is_tried_again_and_done_is_done(config, job):
    with pytest.raises(GemsError), running.running(job):
        raise GemsError("no room")
    with running.running(job):
        finish(job, test_return=1.0)
    assert of(config, job).state == "done"


def test_a_result_outlives_a_later_try_that_failed(config, job):
    finish(job, test_return=1.0)
    with pytest.raises(GemsError), running.running(job):
        raise GemsError("another result, of items that are damaged")
    assert of(config, job).state == "done"


# A shell's background job ignores SIGINT, and so do its children, unless they ask for it.
KILLED = """
import signal, time
from gems.pipeline import running, stages
from gems.config import build, paper
signal.signal(signal.SIGINT, signal.default_int_handler)
with running.running(stages.run_job(build({}), "Random", "focused_mix", 1)):
    print("runs", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_job_is_stopped(config, job, kind):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"runs\n"
        assert of(config, job).state == "running"
        process.send_signal(kind)
        process.wait()
    assert of(config, job).state == "stopped"


def test_a_job_of_another_host_runs_as_long_as_it_gives_signs_of_life(config, job):
    told(job, host="elsewhere", pid=1)
    assert of(config, job).state == "running"
    long_ago = time.time() - status.SILENT_SECONDS - 1
    os.utime(job.progress, (long_ago, long_ago))
    assert of(config, job).state == "stopped"


def test_a_job_with_a_training_state_and_nobody_at_it_is_stopped(config, job):
    job.state.mkdir(parents=True)
    (job.state / "x.pt").touch()
    assert of(config, job).state == "stopped"


def test_what_a_killed_job_told_does_not_hide_a_later_result(config, job):
    told(job, state="stopped")
    long_ago = time.time() - 100
    os.utime(job.progress, (long_ago, long_ago))
    finish(job, test_return=3.0)
    assert of(config, job).state == "done"


def test_a_damaged_result_and_a_half_written_progress_are_no_error(config, job):
    finish(job)
    assert of(config, job) == status.Row("runs", job.name, "done")
    job.output.unlink()
    job.state.mkdir(parents=True)
    job.progress.write_text("{")
    assert of(config, job).state == "stopped"


def test_the_command_prints_a_table_with_counts(config, job, capsys):
    finish(job, test_return=42.5)
    told(stages.run_job(config, "SAC+GeMS", "focused_mix", 2), done=3, total=9, unit="episodes")
    options = json.dumps(config.model_dump(mode="json"))
    assert cli.main(["status", "--config", options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "JOB", "STATE", "PROGRESS", "RETURN", "LEFT"]
    assert len(lines) == 13
    assert lines[-1] == "11 jobs: 1 done, 1 running, 0 failed, 0 stopped, 9 missing"
    assert any(line.split() == ["runs", job.name, "done", "42.5"] for line in lines)
    assert cli.main(["status", "--json", "--config", options]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["job"]: row["state"] for row in rows}[job.name] == "done"


def test_the_papers_480_runs_are_told_in_two_seconds_without_torch(tmp_path):
    scale = {"results": str(tmp_path / "out"), "seeds": list(paper.SEEDS)}
    planned = list(stages.jobs(build(scale)))
    assert sum(job.stage == stages.RUN for job in planned) == 480
    for job in planned:
        finish(job, test_return=100.0, test_returns=[100] * 500)
    script = "import sys; from gems.cli import main; main(); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", script, "status", "--config", json.dumps(scale)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 10
    n = len(planned)
    assert done.stdout.endswith(f"{n} jobs: {n} done, 0 running, 0 failed, 0 stopped, 0 missing\n")
