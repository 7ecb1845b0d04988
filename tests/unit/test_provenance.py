"""Provenance: what the record of a result tells, and what `gems verify` finds out from it."""

import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from options import TINY

from gems import cli
from gems.config import build
from gems.errors import GemsError
from gems.methods import slug
from gems.pipeline import digest, verify
from gems.runtime.files import sha256

SEED = 7
METHODS = ("Random", "SAC+GeMS", "SAC+TopK-MF")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a whole chain of results, made by the commands."""
    folder = tmp_path_factory.mktemp("provenance")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "tiny.json").write_text(json.dumps(TINY))
        env, seed = ("--env", "focused_mix"), ("--seed", str(SEED))
        for command in (
            ("items", "--embedding", "focused"),
            ("simulate", *env),
            ("pretrain", *env, *seed),
            ("pretrain", "--model", "mf", *env),
            *(("train", "--method", method, *env, *seed) for method in METHODS),
        ):
            assert cli.main([*command, "--config", "tiny.json"]) == 0
        results = [f"out/{run_of(method)}/result.json" for method in METHODS]
        for what, name, output in (
            ("table", "table2", "out/table2.csv"),
            ("figure", "turns", "out/figures/turns.pdf"),
        ):
            assert cli.main([what, "--name", name, *results, "--output", output]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of the results that a test may damage, as working directory."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def verified(folder, capsys):
    """Run ``gems verify``: exit status and what it says of each result that does not match."""

    def run(*arguments):
        status = cli.main(["verify", *map(str, arguments), "--config", "tiny.json"])
        *lines, _ = capsys.readouterr().out.splitlines()
        found = dict(line.split(": ", 1) for line in lines if line.startswith("out"))
        return status, {name.removeprefix("out/"): what for name, what in found.items()}

    return run


def run_of(method):
    vae = "_KL1.0_click0.5" if method == "SAC+GeMS" else ""
    return f"runs/{slug(method)}_focused_mix{vae}_seed{SEED}"


VAE = f"vae/GeMS_focused_mix_latentdim32_beta1.0_lambdaclick0.5_lambdaprior0.0_scratch_seed{SEED}"
TABLE, FIGURE = "table2.csv", "figures/turns.pdf"
RECORDS = {
    *(
        f"{name}.provenance.json"
        for name in ("items/focused", "mf/focused_mix", VAE, TABLE, FIGURE)
    ),
    *(f"{run_of(method)}/provenance.json" for method in METHODS),
    "datasets/focused_mix/provenance.json",
}


def drawn(*methods):
    """What is told of the table and the figure where runs of these methods do not match."""
    runs = ", ".join(sorted(map(run_of, methods)))
    return dict.fromkeys((TABLE, FIGURE), f"stale inputs ({runs})")


def test_every_result_has_a_record(made):
    found = {str(path.relative_to(made / "out")) for path in made.rglob("*provenance.json")}
    assert found == RECORDS


def test_a_record_names_code_configuration_packages_host_times_and_device(made):
    record = json.loads((made / "out" / run_of("SAC+GeMS") / "provenance.json").read_text())
    assert (record["method"], record["environment"], record["seed"]) == (
        *("SAC+GeMS", "focused_mix"),
        SEED,
    )
    assert record["code"] == digest.code_digest("gems.training.run", "gems.methods.sac_gems")
    assert record["config"]["training"]["episodes"] == 4
    assert record["config"]["vae"]["beta"] == 1.0
    for package in ("torch", "numpy", "numba", "pytorch-lightning", "gems"):
        assert record["packages"][package] == importlib.metadata.version(package)
    assert record["host"] == socket.gethostname()
    assert record["device"] == "cpu"
    assert record["tries"] == 1
    assert record["variant"] == ""
    assert record["logged_users"] == TINY["logging"]["users"]
    started, ended = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
    assert started <= ended


def test_records_chain_from_the_run_to_the_items(made):
    path, chain = made / "out" / run_of("SAC+GeMS") / "provenance.json", []
    while path.is_file():
        record = json.loads(path.read_text())
        chain.append(record["stage"])
        inputs = {(path.parent / name).resolve(): value for name, value in record["inputs"].items()}
        for file, value in inputs.items():
            assert sha256(file) == value
        source = next((p for p in inputs if "vae" in p.parts or "datasets" in p.parts), None)
        source = source or next(iter(inputs), path)
        path = source.with_suffix(".none")
        for beside in (source.parent / "provenance.json", source.with_suffix(".provenance.json")):
            path = beside if beside.is_file() else path
    assert chain == ["run", "vae", "dataset", "items"]


def test_results_that_match_are_told_so_with_status_0(verified):
    assert verified() == (0, {})


def test_results_that_were_moved_still_match(verified, folder):
    (folder / "out").rename(folder / "moved")
    assert verified("moved") == (0, {})


def forget():
    """As in a new process, which has read no module yet."""
    digest._parse.cache_clear()
    digest._file.cache_clear()


def test_other_code_is_told_for_the_results_that_it_made_and_those_made_from_them(
    verified, folder, monkeypatch
):
    shutil.copytree(digest.ROOT, folder / "gems")
    monkeypatch.setattr(digest, "ROOT", folder / "gems")
    forget()
    module = folder / "gems" / "pretraining" / "vae_training.py"
    module.write_text(module.read_text() + "\n# A comment.\n")
    assert verified() == (0, {})
    module.write_text(module.read_text() + "\nCHANGED = True\n")
    forget()
    status, found = verified()
    forget()
    assert status == 1
    assert found == {
        VAE: "code has changed",
        run_of("SAC+GeMS"): f"stale inputs ({VAE})",
        **drawn("SAC+GeMS"),
    }


@pytest.mark.parametrize(
    ("options", "stale"),
    [
        ({"sac": {"q_lr": 0.5}}, {run_of("SAC+GeMS"), run_of("SAC+TopK-MF"), TABLE, FIGURE}),
        ({"vae": {"learning_rate": 0.5}}, {VAE, run_of("SAC+GeMS"), TABLE, FIGURE}),
        ({"vae": {"beta": 0.5}}, set()),
        ({"mf": {"validation": "held_out"}}, {run_of("SAC+TopK-MF"), TABLE, FIGURE}),
        ({"mf": {"seed": 3}}, {"mf/focused_mix", run_of("SAC+TopK-MF"), TABLE, FIGURE}),
        ({"items": {"files": {"diffuse": "x.npy"}}}, set()),
        ({"device": "auto", "tracking": {"mode": "offline"}}, set()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_another_configuration_is_told_for_the_results_that_read_it(verified, options, stale):
    status, found = verified("--config", json.dumps(options))
    assert set(found) == stale
    assert status == (1 if stale else 0)


def test_another_configuration_is_told_option_by_option(verified):
    _, found = verified("--config", '{"sac": {"q_lr": 0.5}}')
    message = found[run_of("SAC+TopK-MF")]
    assert message == "options have changed (sac.q_lr was 0.001, is 0.5)"


@pytest.mark.parametrize("name", ["result.json", "policy.safetensors", "curve.csv"])
def test_a_damaged_file_is_told(verified, folder, name):
    path = folder / "out" / run_of("Random") / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    problem = f"{name} is damaged or was changed"
    status, found = verified()
    assert status == 1
    assert found[run_of("Random")] == problem
    assert set(found) == {run_of("Random"), TABLE, FIGURE}


@pytest.mark.parametrize(
    ("name", "suffix"), [(TABLE, ".csv"), (TABLE, ".md"), (FIGURE, ".pdf"), (FIGURE, ".png")]
)
def test_an_edited_table_or_figure_is_told(verified, folder, name, suffix):
    path = (folder / "out" / name).with_suffix(suffix)
    path.write_bytes(path.read_bytes().replace(b"1", b"9"))
    assert verified() == (1, {name: f"{path.name} is damaged or was changed"})


def test_a_table_of_results_that_are_others_now_is_told(verified, folder):
    """Made again with other code, the runs match; the table is still that of the old ones."""
    for method in METHODS:
        result = folder / "out" / run_of(method) / "result.json"
        record = result.with_name("provenance.json")
        old = sha256(result)
        result.write_text(result.read_text() + "\n")
        record.write_text(record.read_text().replace(old, sha256(result)))
    status, found = verified()
    assert status == 1
    assert set(found) == {TABLE, FIGURE}
    for told in found.values():
        assert f"inputs have changed ({run_of('Random')}/provenance.json" in told
        assert f"{run_of('Random')}/result.json" in told
        assert "and 3 more" in told


def test_a_figure_of_another_file_beside_the_results_is_told(verified, folder):
    path = folder / "out" / run_of("Random") / "turns.csv"
    record, old = path.with_name("provenance.json"), sha256(path)
    unchanged = record.stat()
    path.write_text(path.read_text() + "\n")
    record.write_text(record.read_text().replace(old, sha256(path)))
    assert unchanged.st_size == record.stat().st_size
    status, found = verified()
    assert status == 1
    changed = f"{run_of('Random')}/provenance.json"
    assert found[TABLE] == f"inputs have changed ({changed})"
    assert found[FIGURE] == f"inputs have changed ({changed}, {run_of('Random')}/turns.csv)"


def test_a_table_without_a_record_or_of_an_unknown_name_is_told(verified, folder):
    (folder / "out" / f"{FIGURE}.provenance.json").unlink()
    record = folder / "out" / f"{TABLE}.provenance.json"
    record.write_text(record.read_text().replace('"table2"', '"table3"'))
    status, found = verified()
    assert status == 1
    assert found[FIGURE] == "no provenance record"
    assert "'table3' is not a known table" in found[TABLE]


def test_a_damaged_input_is_told_wherever_it_was_used(verified, folder):
    (folder / "out" / "mf" / "focused_mix.safetensors").write_bytes(b"")
    status, found = verified()
    assert status == 1
    assert found == {
        "mf/focused_mix": "focused_mix.safetensors is damaged or was changed",
        run_of("SAC+TopK-MF"): (
            "inputs have changed (mf/focused_mix.safetensors); stale inputs (mf/focused_mix)"
        ),
        **drawn("SAC+TopK-MF"),
    }


def test_a_missing_file_and_a_damaged_or_missing_record_are_told(verified, folder):
    out = folder / "out"
    (out / run_of("Random") / "curve.csv").unlink()
    (out / run_of("SAC+TopK-MF") / "provenance.json").write_text("{")
    (out / f"{VAE}.provenance.json").unlink()
    status, found = verified()
    assert status == 1
    assert found == {
        run_of("Random"): "curve.csv is missing",
        run_of("SAC+TopK-MF"): "damaged provenance record",
        VAE: "no provenance record",
        **{
            name: f"inputs have changed ({run_of('SAC+TopK-MF')}/provenance.json); {told}"
            for name, told in drawn("Random").items()
        },
    }


def test_a_result_of_a_method_that_is_no_more_is_told(verified, folder):
    path = folder / "out" / run_of("Random") / "provenance.json"
    path.write_text(path.read_text().replace('"Random"', '"Randon"'))
    status, found = verified()
    assert status == 1
    assert "'Randon' is not a known method" in found[run_of("Random")]


@pytest.mark.parametrize(
    "change",
    [{"stage": "run"}, {"stage": 1}, {"environment": 1}, {"environment": []}, {"config": None}],
    ids=str,
)
def test_a_record_that_does_not_tell_what_its_stage_needs_is_damaged(verified, folder, change):
    path = folder / "out" / "datasets" / "focused_mix" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    status, found = verified()
    assert status == 1
    assert found["datasets/focused_mix"] == "damaged provenance record"


def test_inputs_that_are_not_here_are_no_mismatch(verified, folder, capsys):
    for name in ("items", "datasets", "vae", "mf"):
        shutil.rmtree(folder / "out" / name)
    assert verified() == (0, {})


def test_a_run_of_other_models_than_its_name_tells_is_told(verified, folder):
    """As where a file of weights, or its description, was copied over another."""
    described = (folder / "out" / VAE).with_name(f"{(folder / 'out' / VAE).name}.json")
    described.write_text(described.read_text().replace("}", " }", 1))
    status, found = verified()
    assert status == 1
    assert found[VAE] == f"{described.name} is damaged or was changed"
    changed = f"inputs have changed ({VAE}.json)"
    assert found[run_of("SAC+GeMS")] == f"{changed}; stale inputs ({VAE})"


def test_a_table_and_a_figure_without_results_are_of_the_runs_of_the_configuration(folder):
    options = {"methods": [*METHODS], "environments": ["focused_mix"], "seeds": [SEED]}
    config = ("--config", "tiny.json", "--config", json.dumps(options))
    names = {"table2.csv": "table", "figures/turns.pdf": "figure"}
    before = {name: (folder / "out" / name).read_bytes() for name in names}
    shutil.rmtree(folder / "out" / "figures")
    for name, command in names.items():
        assert cli.main([command, "--name", Path(name).stem, *config]) == 0
        assert (folder / "out" / name).read_bytes() == before[name]


def test_a_missing_run_of_the_configuration_is_one_sentence(folder, capsys):
    assert cli.main(["table", "--config", "tiny.json"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gems: error: ")
    assert error.endswith("result.json does not exist.\n")


def test_results_of_other_folders_and_names_are_drawn_together(folder):
    """Folders of one name, as those of two experiments."""
    first = folder / "out" / run_of("Random")
    second = shutil.copytree(folder / "out" / run_of("SAC+TopK-MF"), folder / "b" / first.name)
    (second / "result.json").rename(second / "mine.json")
    results = [str(first / "result.json"), str(second / "mine.json")]
    assert cli.main(["table", *results, "--config", "tiny.json", "--output", "both.csv"]) == 0
    assert (folder / "both.csv").read_text().count("\n") == 3


def test_a_folder_without_results_is_one_sentence(tmp_path):
    with pytest.raises(GemsError, match="There is no result in"):
        verify.verify(tmp_path, build({}))


@pytest.mark.slow
def test_480_runs_are_verified_in_seconds_and_without_torch(folder):
    original = folder / "out" / run_of("SAC+GeMS")
    for number in range(479):
        copy = original.parent / f"{original.name}{number}"
        shutil.copytree(original, copy, copy_function=os.link)
    script = (
        "import sys; from gems.cli import main; status = main(['verify', '--config', 'tiny.json'])"
        "; assert 'torch' not in sys.modules; sys.exit(status)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    checked = len(RECORDS) + 479
    assert f"{checked} results checked, 0 do not match (tiny.json)" in done.stdout
    assert seconds < 20
