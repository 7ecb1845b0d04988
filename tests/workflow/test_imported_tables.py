"""Item tables from files (`mf.files`): no factorisation, no dataset, and the same runs."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from workflow_runs import TINY, jobs, snakemake

from gems.cli import main
from gems.config import build
from gems.config.variants import apply_variant, fidelity_of_baseline
from gems.methods import METHODS
from gems.pipeline import comparisons, stages, status
from gems.pretraining.models import PRETRAINED
from gems.runtime.weights import load_weights, save_weights

WRITERS = {
    "npy": lambda table, path: np.save(path, table.numpy()),
    "pt": torch.save,
    "safetensors": lambda table, path: save_file({"any name": table}, path),
}
WHERE = ("--env", "focused_mix")
MF = ("pretrain", "--model", "mf", *WHERE)
RUN = "SAC_TopK_MF_focused_mix_seed3"


@pytest.fixture
def table(tmp_path):
    """A table of 60 items, in a file of each format."""
    table = torch.randn(60, 12, generator=torch.Generator().manual_seed(1))
    for suffix, write in WRITERS.items():
        write(table, tmp_path / f"table.{suffix}")
    return table


@pytest.fixture
def by_hand(tmp_path, capsys):
    """Run a command; ``results`` is the folder of results, ``mf`` the section."""

    def run(*arguments, results="results", methods=("SAC+TopK-MF",), **mf):
        values = {**TINY, "results": str(tmp_path / results), "environments": ["focused_mix"]}
        values |= {"seeds": [3], "methods": list(methods), "mf": {**TINY["mf"], **mf}}
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(values))
        code = main([*arguments, "--config", str(config)])
        told = capsys.readouterr()
        return code, told.err if code else told.out

    return run


def named(tmp_path, suffix):
    return {"files": {"focused_mix": str(tmp_path / f"table.{suffix}")}}


def test_runs_with_a_table_of_any_format_are_the_same_and_need_no_dataset(by_hand, table, tmp_path):
    train = ["train", "--method", "SAC+TopK-MF", *WHERE, "--seed", "3"]
    made = {}
    for suffix in WRITERS:
        options = {**named(tmp_path, suffix), "results": suffix}
        assert by_hand("items", "--embedding", "focused", **options)[0] == 0
        assert by_hand(*MF, **options)[0] == 0
        assert by_hand(*train, **options)[0] == 0
        assert by_hand("verify", **options)[0] == 0
        folder = tmp_path / suffix
        assert main(["evaluate", str(folder / "runs" / RUN)]) == 0
        assert not (folder / "datasets").exists()
        names = ("result.json", "policy.safetensors", "curve.csv")
        files = [folder / "runs" / RUN / name for name in names]
        files.append(folder / "mf" / "focused_mix_file.safetensors")
        made[suffix] = [path.read_bytes() for path in files]
    assert made["npy"] == made["pt"] == made["safetensors"]
    assert torch.equal(load_weights(files[-1])["items"], table)
    described = json.loads(files[-1].with_suffix(".json").read_text())
    assert described["source"] == str(tmp_path / "table.safetensors")
    assert described["items"] == 60
    record = json.loads((files[0].with_name("provenance.json")).read_text())
    assert record["config"]["mf"] == named(tmp_path, "safetensors")
    assert record["logged_users"] is None


def test_status_and_verify_know_an_imported_table(by_hand, table, tmp_path):
    options = named(tmp_path, "npy")
    config = build({"results": str(tmp_path / "results"), "environments": ["focused_mix"]})
    assert "datasets" in {row.kind for row in status.read(config)}
    config = build(config.model_dump() | {"methods": ["SAC+TopK-MF"], "mf": options})
    assert {row.kind for row in status.read(config)} == {"items", "mf", "runs"}
    assert by_hand(*MF, **options)[0] == 0
    assert [(row.job, row.state) for row in status.read(config) if row.kind == "mf"] == [
        ("focused_mix_file", "done")
    ]
    assert by_hand("verify", **options)[0] == 0
    # The other environment's file, and options of a factorisation, do not concern it.
    more = {"files": {**options["files"], "focused_divpen": "other.npy"}, "patience": 2}
    assert by_hand("verify", **more)[0] == 0
    assert by_hand("verify", files={"focused_mix": "other.npy"})[0] == 1
    np.save(tmp_path / "table.npy", np.ones((60, 12)))
    assert by_hand("verify", **options)[0] == 1


def test_a_factorised_table_is_not_stale_where_a_file_is_named(by_hand, table, tmp_path):
    by_hand("items", "--embedding", "focused")
    by_hand("simulate", *WHERE)
    assert by_hand(*MF)[0] == 0
    weights = tmp_path / "results" / "mf" / "focused_mix.safetensors"
    before = weights.read_bytes(), weights.with_suffix(".json").read_bytes()
    assert by_hand("verify", **named(tmp_path, "npy"))[0] == 0
    assert by_hand(*MF, files={"diffuse_mix": "other.npy"})[0] == 0
    assert (weights.read_bytes(), weights.with_suffix(".json").read_bytes()) == before


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("none.npy", lambda path: None, "does not exist"),
        ("few.npy", lambda path: np.save(path, np.ones((59, 20))), "holds 59 items, but items"),
        ("flat.npy", lambda path: np.save(path, np.ones(60)), "floats of shape (items, dim"),
        ("words.pt", lambda path: path.write_text("1 2 3"), "cannot be read"),
        ("dict.pt", lambda path: torch.save({"items": torch.ones(60, 2)}, path), "cannot be read"),
        ("nan.npy", lambda path: np.save(path, np.full((60, 2), np.nan)), "holds NaN"),
    ],
)
def test_a_file_that_is_no_such_table_is_one_sentence_and_nothing_is_written(
    by_hand, tmp_path, name, write, sentence
):
    write(tmp_path / name)
    code, error = by_hand(*MF, files={"focused_mix": str(tmp_path / name)})
    assert code == 2
    assert error.startswith("gems: error: ")
    assert (error.count("\n"), error.count(". ")) == (1, 0)
    assert sentence in error
    assert str(tmp_path / name) in error
    assert not (tmp_path / "results" / "mf").exists()


def test_a_run_asks_for_the_import_and_refuses_the_table_of_another_file(by_hand, table, tmp_path):
    train = ["train", "--method", "SAC+TopK-MF", *WHERE, "--seed", "3"]
    by_hand("items", "--embedding", "focused")
    code, error = by_hand(*train, **named(tmp_path, "npy"))
    assert code == 2
    assert (
        f"focused_mix_file.safetensors does not exist; make it with: gems {' '.join(MF)}" in error
    )
    assert by_hand(*MF, **named(tmp_path, "npy"))[0] == 0
    code, error = by_hand(*train, **named(tmp_path, "pt"))
    assert code == 2
    assert "table.npy, but mf.files names" in error
    code, error = by_hand(*train)
    assert code == 2
    assert "focused_mix.safetensors does not exist" in error
    code, error = by_hand(*MF, "--dataset", "any", **named(tmp_path, "pt"))
    assert code == 2
    assert "leave that out to train on a --dataset" in error


FILES = {"focused_mix": "table.npy"}


def run_values(config, method, env):
    return stages.run_job(config, method, env, 1).values


def test_a_run_depends_on_the_file_of_its_own_environment_only():
    plain, config = build({}), build({"mf": {"files": FILES, "patience": 9}})
    mix = run_values(config, "SAC+TopK-MF", "focused_mix")
    assert mix["mf"] == {"files": FILES}
    more = {"mf": {"files": FILES | {"focused_topdown": "b.npy"}, "patience": 8}}
    assert run_values(build(more), "SAC+TopK-MF", "focused_mix") == mix
    named = build({"mf": {"files": FILES}})
    for method, env in (("SAC+TopK-MF", "focused_topdown"), ("SAC+GeMS", "focused_mix")):
        assert run_values(named, method, env) == run_values(plain, method, env)
    elsewhere = [
        stages.pretrained_job(config, PRETRAINED["mf"], "focused_topdown", 1).values
        for config in (named, plain)
    ]
    assert elsewhere[0] == elsewhere[1]


def test_the_audit_takes_an_imported_table_as_released_and_factorises_the_corrected_one():
    config = build({"mf": {"files": FILES}, "environments": ["focused_mix", "focused_topdown"]})
    audit = {
        (run.identity["environment"], run.identity["variant"])
        for run in comparisons.audit(config)
        if run.identity["method"] == "SAC+TopK-MF"
    }
    assert audit == {(env, side) for env in config.environments for side in ("", "paperbaseline")}
    for env, released in (("focused_mix", FILES), ("focused_topdown", {})):
        sides = {}
        for side in ("released", "paper"):
            varied = apply_variant(config, "SAC+TopK-MF", f"{side}baseline")
            sides[side] = stages.run_values(varied, METHODS["SAC+TopK-MF"], env)
            assert fidelity_of_baseline(METHODS["SAC+TopK-MF"], sides[side]) == side
        assert sides["released"]["mf"]["files"] == released
        assert sides["paper"]["mf"]["validation"] == "held_out"
        assert sides["paper"]["mf"]["files"] == {}
    other = build({"mf": {"seed": 5, "discarded_draw": False}})
    assert {run.identity["variant"] for run in comparisons.audit(other)} == {"", "paperbaseline"}


def test_the_workflow_makes_no_dataset_where_a_file_is_named(table, tmp_path):
    path = tmp_path / "config.yaml"

    def run(*arguments, check=True, **options):
        values = {**TINY, "methods": ["SAC+TopK-MF", "SAC+WkNN"], "seeds": [1]}
        values |= {"wknn": {"item_table": "mf"}, "environments": ["focused_mix"], **options}
        path.write_text(yaml.safe_dump(values))
        return snakemake(*arguments, "--configfile", path, cwd=tmp_path, check=check)

    mf = {**TINY["mf"], "files": FILES}
    built = {"items": 1, "mf": 1, "train": 2, "table2": 1, "all": 1}
    assert jobs(run(mf=mf)) == built
    assert (tmp_path / "results" / "mf" / "focused_mix_file.provenance.json").is_file()
    # Options of the factorisation, and files of other environments, make nothing stale.
    others = FILES | {"focused_topdown": "other.npy"}
    assert jobs(run("-n", mf={**mf, "patience": 2, "files": others})) == {}
    both = run("-n", mf=mf, environments=["focused_mix", "focused_topdown"])
    added = {"dataset": 1, "mf": 1, "train": 2, "table2": 1, "all": 1}
    assert jobs(both) == added
    audited = jobs(run("-n", "baseline_audit", mf=mf))
    assert (audited["dataset"], audited["mf"]) == (1, 1)
    elsewhere = {"files": {"focused_mix": "table.pt"}}
    assert jobs(run("-n", mf=elsewhere)) == {"mf": 1, "train": 2, "table2": 1, "all": 1}
    moved = {"mf": {"files": {"focused_mix": "moved.npy"}}, "results": "none yet"}
    assert "moved.npy" in run("-n", check=False, **moved)


def test_a_table_that_was_not_imported_from_the_named_file_is_refused(by_hand, table, tmp_path):
    by_hand("items", "--embedding", "focused")
    save_weights(tmp_path / "own.safetensors", {"items": table}, {})
    train = ["train", "--method", "SAC+TopK-MF", *WHERE, "--seed", "3"]
    own = ["--pretrained", f"mf={tmp_path / 'own.safetensors'}"]
    code, error = by_hand(*train, *own, **named(tmp_path, "npy"))
    assert code == 2
    assert "own.safetensors was not imported, but mf.files names" in error
