"""Faults of the disk, the memory, the inputs and the user: one sentence each, and nothing lost."""

import contextlib
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gems import cli, registry
from gems.attempt import Attempt
from gems.errors import GemsError
from gems.training.state import TrainingState
from gems.weights import load_config, load_weights, save_weights

ROOT = Path(__file__).parents[1]
ENV, SEED = ("--env", "focused_mix"), ("--seed", "7")
TINY = {
    "results": "out",
    "items": {"count": 60},
    "simulator": {"turns": 6},
    "logging": {"users": 20},
    "vae": {"epochs": 2, "batch_slates": 32},
    "mf": {"validate_every": 5, "patience": 1},
    "training": {
        "episodes": 6,
        "random_episodes": 2,
        "validate_every": 3,
        "validation_users": 2,
        "test_users": 3,
        "batch_episodes": 2,
    },
    "device": "cpu",
    "tracking": {"mode": "disabled"},
}
TRAIN_GEMS = ("train", "--method", "SAC+GeMS", *ENV, *SEED)
TRAIN_SLATEQ = ("train", "--method", "SlateQ", *ENV, *SEED)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with items, a dataset and pretrained models."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "tiny.json").write_text(json.dumps(TINY))
        for command in (
            ("items", "--embedding", "focused"),
            ("simulate", *ENV),
            ("pretrain", *ENV, *SEED),
            ("mf", *ENV),
        ):
            assert cli.main([*command, "--config", "tiny.json"]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it, as working directory."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def gems(folder, capsys):
    """Run a command: exit status and standard error, progress and the end of a log aside."""

    def run(*arguments, **options):
        config = ("--config", "tiny.json", "--config", json.dumps(options))
        try:
            status = cli.main([*map(str, arguments), *config])
        except SystemExit as end:
            status = end.code
        lines = capsys.readouterr().err.splitlines()
        others = " a second", ": starts at ", "The log stops, the job goes on"
        told = [line for line in lines if not any(words in line for words in others)]
        return status, "\n".join(told)

    return run


@pytest.fixture
def refused(gems):
    """Run a command that must end in status 2 and one sentence, which is returned."""

    def run(*arguments, **options):
        status, error = gems(*arguments, **options)
        assert status == 2
        assert error.startswith("gems: error: ")
        assert error.count("\n") == 0
        assert "Traceback" not in error
        return error

    return run


@pytest.fixture
def disk(tmp_path):
    """Mount a disk of some MB: ``mount(size)``, ``mount(size, again=True)`` to change it."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "disk"
    path.mkdir()

    def mount(options, again=False):
        command = ["mount", "-t", "tmpfs", "-o", f"{'remount,' * again}{options}", "tmpfs", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and not again:
            pytest.skip(f"this machine mounts no tmpfs: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return path

    yield mount
    subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)


def vae_of(folder):
    return next((folder / "out" / "vae").glob("*.safetensors"))


def states(folder):
    """Names of what jobs have left for their next try."""
    return {path.name for path in (folder / "out" / ".state").rglob("*") if path.is_file()}


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "command",
    [("items", "--embedding", "diffuse"), ("simulate", *ENV), ("pretrain", *ENV, *SEED)],
    ids=lambda command: command[0],
)
def test_a_full_disk_is_one_sentence_and_leaves_no_half_written_file(
    refused, folder, disk, command
):
    full = disk("size=64k")
    (full / "filler").write_bytes(b"0" * 64 * 1024)
    shutil.copytree(folder / "out", "copy")
    inputs = {
        "items": (),
        "simulate": ("--items", "copy/items/focused.npy"),
        "pretrain": ("--dataset", "copy/datasets/focused_mix"),
    }[command[0]]
    message = refused(*command, *inputs, results=str(full / "out"))
    assert message.endswith(": No space left on device.")
    left = {path.name for path in full.rglob("*") if path.is_file() and path.suffix != ".log"}
    assert left == {"filler"}


def test_a_run_on_a_full_disk_goes_on_from_its_last_state_when_there_is_room(
    gems, refused, folder, disk, monkeypatch
):
    assert gems(*TRAIN_SLATEQ)[0] == 0
    result = "runs/SlateQ_focused_mix_seed7/result.json"
    small = disk("size=64m")
    shutil.copytree(folder / "out" / "items", small / "out" / "items")
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    save, saved = TrainingState.save, []

    def filling(self, values, replay):
        if len(saved) == 3:
            with contextlib.suppress(OSError), (small / "filler").open("wb", 0) as file:
                while True:
                    file.write(b"0" * 4096)
        save(self, values, replay)
        saved.append(values["episode"])

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", filling)
        message = refused(*TRAIN_SLATEQ, results=str(small / "out"))
    assert message.endswith(".pt: No space left on device.")
    (small / "filler").unlink()
    restored = []
    load = TrainingState.load

    def loaded(self, replay):
        restored.append(load(self, replay))
        return restored[-1]

    monkeypatch.setattr(TrainingState, "load", loaded)
    assert gems(*TRAIN_SLATEQ, results=str(small / "out"))[0] == 0
    assert [state["episode"] for state in restored] == saved[-1:]
    assert (small / "out" / result).read_bytes() == (folder / "out" / result).read_bytes()
    record = json.loads((small / "out" / result).with_name("provenance.json").read_text())
    assert record["tries"] == 2
    assert states(small) <= {"progress.json"}


def test_a_pretraining_on_a_full_disk_goes_on_when_there_is_room(gems, refused, folder, disk):
    small = disk("size=4m")  # less than a checkpoint
    dataset = ("--dataset", "out/datasets/focused_mix")
    message = refused("pretrain", *ENV, *SEED, *dataset, results=str(small))
    assert message.endswith(".ckpt: No space left on device.")
    disk("size=64m", again=True)
    assert gems("pretrain", *ENV, *SEED, *dataset, results=str(small))[0] == 0
    assert vae_of(folder).read_bytes() == (small / "vae" / vae_of(folder).name).read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_a_log_on_a_full_disk_stops_no_work(folder):
    command = [sys.executable, "-m", "gems.cli", "simulate", *ENV, "--config", "tiny.json"]
    before = (folder / "out" / "datasets" / "focused_mix" / "slates.npy").read_bytes()
    shutil.rmtree(folder / "out" / "datasets")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=full, check=False)
    assert done.returncode == 0
    assert (folder / "out" / "datasets" / "focused_mix" / "slates.npy").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_an_output_on_a_full_disk_ends_in_one_sentence():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "gems.cli", "options"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "gems: error: A file cannot be used: No space left on device.\n"


@pytest.mark.parametrize(
    "command", [("simulate", *ENV), ("mf", *ENV), TRAIN_GEMS], ids=lambda command: command[0]
)
def test_a_read_only_results_folder_is_one_sentence(refused, folder, disk, command):
    locked = disk("size=64m")
    shutil.copytree(folder / "out", locked / "out")
    before = files(locked)
    disk("ro", again=True)
    message = refused(*command, results=str(locked / "out"))
    assert "Cannot write" in message
    assert message.endswith("Read-only file system.")
    assert files(locked) == before


@pytest.mark.parametrize("command", ["pretrain", "mf"])
def test_a_dataset_of_another_environment_is_refused(refused, folder, command):
    arguments = ("--env", "diffuse_mix", "--dataset", "out/datasets/focused_mix")
    message = refused(command, *arguments, *(SEED if command == "pretrain" else ()))
    assert "was logged in focused_mix, not in diffuse_mix" in message


@pytest.mark.parametrize("name", ["slates.npy", "clicks.npy"])
def test_a_dataset_of_the_right_size_with_other_contents_is_refused(refused, folder, name):
    path = folder / "out" / "datasets" / "focused_mix" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "its contents are not those written" in refused("mf", *ENV)
    assert "its contents are not those written" in refused("pretrain", *ENV, *SEED)


def test_a_truncated_dataset_is_refused_and_the_old_models_stay(refused, folder):
    before = files(folder / "out" / "vae") | files(folder / "out" / "mf")
    path = folder / "out" / "datasets" / "focused_mix" / "slates.npy"
    path.write_bytes(path.read_bytes()[:-30])
    for command in (("pretrain", *ENV, *SEED), ("mf", *ENV)):
        assert "slates.npy" in refused(*command)
    assert files(folder / "out" / "vae") | files(folder / "out" / "mf") == before


def altered(path, change):
    """Save the weights at ``path`` again with their description changed."""
    weights, described = load_weights(path), load_config(path)
    change(weights, described)
    save_weights(path, weights, described)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, d: d["vae"].update(latent_dim=16), "60 and 32 are needed"),
        (lambda w, d: d.update(items=61), "60 and 32 are needed"),
        (lambda w, d: d["vae"].update(warmup=3), "another version"),
        (lambda w, d: d["vae"].update(beta="much"), "another version"),
        (lambda w, d: d.pop("vae"), "another version"),
        (lambda w, d: w.pop("items.weight"), "not those of a slate VAE"),
        (lambda w, d: w.update({"items.weight": torch.zeros(60, 19)}), "not those of a slate VAE"),
        (lambda w, d: w.pop("bounds.low"), "lacks the bounds"),
    ],
)
def test_a_vae_of_another_configuration_or_version_is_refused(refused, folder, change, words):
    altered(vae_of(folder), change)
    assert words in refused(*TRAIN_GEMS)
    assert not (folder / "out" / "runs").exists()
    assert states(folder) <= {"progress.json"}


def test_a_vae_of_another_size_is_refused_whichever_side_changed(refused, folder):
    vae = ("--vae", str(vae_of(folder)))
    assert "60 and 16 are needed" in refused(*TRAIN_GEMS, *vae, vae={"latent_dim": 16})
    items = ("--items", "more.npy")
    np.save("more.npy", np.random.default_rng(0).random((61, 20), dtype=np.float32))
    assert "61 and 32 are needed" in refused(*TRAIN_GEMS, *vae, *items)
    train_mf = ("train", "--method", "SAC+TopK-MF", *ENV, *SEED, *items)
    assert "has 60 items; 61 are needed" in refused(*train_mf)


def test_the_policy_of_another_configuration_is_refused(gems, refused, folder, capsys):
    assert gems(*TRAIN_SLATEQ)[0] == 0
    run = folder / "out" / "runs" / "SlateQ_focused_mix_seed7"
    altered(run / "policy.safetensors", lambda w, d: d["config"]["agent"].update(state_dim=21))
    assert cli.main(["evaluate", str(run)]) == 2
    assert "are not those of SlateQ" in capsys.readouterr().err
    altered(run / "policy.safetensors", lambda w, d: d["config"]["agent"].update(layers=2))
    assert cli.main(["evaluate", str(run)]) == 2
    assert "'agent.layers' is not a known option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (TRAIN_SLATEQ, {"slateq": {"q_lr": 1e38}}),
        (TRAIN_GEMS, {"sac": {"q_lr": 1e38, "policy_lr": 1e38}}),
        (("pretrain", *ENV, *SEED), {"vae": {"learning_rate": 1e38}}),
        (("mf", *ENV), {"mf": {"learning_rate": 1e38}}),
    ],
    ids=["SlateQ", "SAC+GeMS", "vae", "mf"],
)
def test_a_loss_that_is_not_a_number_is_one_sentence(refused, folder, command, options):
    shutil.copytree("out/items", "new/items")
    shutil.copytree("out/datasets", "new/datasets")
    shutil.copytree("out/vae", "new/vae")
    shutil.rmtree("new/vae") if command[0] == "pretrain" else None
    before = files(folder / "new")
    message = refused(*command, results="new", **options)
    assert "is not a number at batch" in message or "became nan" in message or "inf" in message
    left = {name for name in files(folder / "new") if not {".state", "logs"} & {*name.parts}}
    assert left == set(before)


@pytest.mark.parametrize("method", [m for m in registry.METHODS if m != "Random"])
def test_episodes_without_a_click_are_trained_on_and_tested(gems, folder, method):
    """No item is ever relevant, so that nobody clicks."""
    nobody = {"simulator": {"turns": 6, "relevance_threshold": 50.0}}
    assert gems("train", "--method", method, *ENV, *SEED, **nobody)[0] == 0
    (path,) = (folder / "out" / "runs").glob("*/result.json")
    assert json.loads(path.read_text())["test_returns"] == [0, 0, 0]


def test_a_dataset_without_a_click_is_refused_by_factorisation_and_taken_by_the_vae(
    gems, refused, folder
):
    nobody = {"simulator": {"turns": 6, "relevance_threshold": 50.0}}
    assert gems("simulate", *ENV, **nobody)[0] == 0
    assert "has no click to" in refused("mf", *ENV)
    assert gems("pretrain", *ENV, *SEED)[0] == 0


def test_running_out_of_memory_is_one_sentence(folder):
    """The machine's own limit on the address space, which numpy meets."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, 8 * 10**9))

    options = json.dumps({"training": {"test_users": 10**6}, "simulator": {"turns": 1000}})
    command = [sys.executable, "-m", "gems.cli", "train", "--method", "Random", *ENV, *SEED]
    done = subprocess.run(
        [*command, "--config", "tiny.json", "--config", options],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("gems: error: Out of memory")
    assert done.stderr.count("\n") == 1


def test_the_errors_of_pytorch_and_numpy_for_memory_are_known():
    from gems.errors import out_of_memory

    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert out_of_memory(raised.value)
    with pytest.raises(MemoryError) as raised:
        np.empty(2**58)
    assert out_of_memory(raised.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not out_of_memory(RuntimeError("shapes do not match"))


def test_an_error_of_the_code_keeps_its_traceback(gems, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("gems.training.loop.rollout", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        gems(*TRAIN_SLATEQ)


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (TRAIN_SLATEQ, "runs/SlateQ_focused_mix_seed7"),
        (("pretrain", *ENV, *SEED), "vae/{vae}"),
        (("mf", *ENV), "mf/focused_mix"),
    ],
    ids=["train", "pretrain", "mf"],
)
def test_a_job_that_is_at_work_is_not_started_twice(gems, refused, folder, command, state):
    state = Path("out") / ".state" / state.format(vae=vae_of(folder).stem)
    with Attempt(state):
        message = refused(*command)
    assert f"Process {os.getpid()} on " in message
    assert "works on this job already" in message
    assert gems(*command)[0] == 0


def test_a_lock_ends_with_its_process_and_tries_are_counted(folder):
    script = (
        "import os, signal; from pathlib import Path; from gems.attempt import Attempt\n"
        "Attempt(Path('state/a')).__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script], check=False)
    started = json.loads(Path("state/a/attempt.json").read_text())["started"]
    with Attempt(Path("state/a")) as attempt:
        assert (attempt.number, attempt.started) == (3, started)
    assert not Path("state").exists() or not Path("state/a").exists()


def test_a_failed_attempt_keeps_its_state_and_leaves_nothing_if_there_is_none(folder):
    def fail(*saved):
        with Attempt(Path("state/b")):
            for name in saved:
                Path("state/b", name).write_text("")
            raise GemsError("No.")

    for saved in ((), ("x.pt",)):
        with pytest.raises(GemsError, match="No"):
            fail(*saved)
        assert Path("state/b").exists() == bool(saved)


def test_two_snakemakes_on_one_folder_the_second_is_told_and_the_first_goes_on(folder, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile"]
    command += [str(ROOT / "workflow" / "Snakefile"), "out2/datasets/focused_mix/slates.npy"]
    command += ["--config", 'results="out2"', "logging={users: 100}"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    options = {"env": {**os.environ, "PATH": path}, "text": True, "cwd": folder}
    with (tmp_path / "first").open("w") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, **options)
        while first.poll() is None and not list(folder.glob(".snakemake/locks/*")):
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # however slow the second is
        second = subprocess.run(command, capture_output=True, check=False, **options)
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0, (tmp_path / "first").read_text()
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stderr
    assert (folder / "out2" / "datasets" / "focused_mix" / "provenance.json").is_file()


class Payload:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("form", ["pickle", "torch"])
@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("vae", TRAIN_GEMS),
        ("mf", ("train", "--method", "SAC+TopK-MF", *ENV, *SEED)),
        ("out/items/focused.npy", TRAIN_SLATEQ),
        ("out/datasets/focused_mix/slates.npy", ("mf", *ENV)),
        ("items.pt", (*TRAIN_SLATEQ, "--items", "items.pt")),
    ],
    ids=["vae", "mf", "items", "dataset", "tensor of items"],
)
def test_a_pickle_where_data_is_expected_is_refused_and_never_executed(
    refused, folder, place, command, form
):
    place = next((folder / "out" / place).glob("*.safetensors"), Path(place))
    with place.open("wb") as file:
        pickle.dump(Payload(), file) if form == "pickle" else torch.save({"a": Payload()}, file)
    assert place.name in refused(*command)
    assert not Path("executed").exists()


def test_a_pickle_in_the_place_of_a_state_is_refused_and_never_executed(
    refused, folder, monkeypatch
):
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", lambda self, *_: torch.save(Payload(), self._file))
        patch.setattr("gems.training.run.test", lambda *_: (_ for _ in ()).throw(GemsError("No.")))
        refused(*TRAIN_SLATEQ)
    message = refused(*TRAIN_SLATEQ)
    assert ".pt is damaged; remove " in message
    assert not Path("executed").exists()


def test_a_damaged_checkpoint_of_a_pretraining_is_refused_and_never_executed(
    gems, refused, folder, monkeypatch
):
    def full(*_):
        raise GemsError("No.")

    with monkeypatch.context() as patch:
        patch.setattr("gems.rankers.vae_training.save_weights", full)
        refused("pretrain", *ENV, *SEED)
    (last,) = (folder / "out" / ".state").rglob("last.ckpt")
    torch.save(Payload(), last)
    message = refused("pretrain", *ENV, *SEED)
    assert f"last.ckpt is damaged; remove {last.parent.relative_to(folder)} to start" in message
    assert not Path("executed").exists()
    shutil.rmtree(last.parent)
    assert gems("pretrain", *ENV, *SEED)[0] == 0
