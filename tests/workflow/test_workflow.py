"""The real workflow: what it would do at the paper's scale, and a tiny run from end to end."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflow_runs import ROOT, TINY, configured, environment, jobs, snakemake

from gems.config import build, paper
from gems.methods import METHODS

SEEDS, ENVIRONMENTS = len(paper.SEEDS), len(paper.ENVIRONMENTS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A working directory in which the tiny Table 2 has been built from nothing."""
    folder = tmp_path_factory.mktemp("workflow")
    snakemake("--configfile", configured(folder), cwd=folder)
    return folder


def test_the_papers_configuration_is_480_runs_and_answers_in_seconds(tmp_path):
    started = time.monotonic()
    output = snakemake("-n", "--configfile", ROOT / "config" / "paper.yaml", cwd=tmp_path)
    assert time.monotonic() - started < 20
    models = {"items": 2, "dataset": ENVIRONMENTS, "vae": ENVIRONMENTS * SEEDS, "mf": ENVIRONMENTS}
    assert jobs(output) == {**models, "train": 480, "table2": 1, "all": 1}


def test_the_laptops_configuration_is_all_methods_environments_and_its_seeds(tmp_path):
    seeds = len(build({}).seeds)
    found = jobs(snakemake("-n", "results/table2.csv", cwd=tmp_path))
    assert found["train"] == len(paper.METHODS) * ENVIRONMENTS * seeds
    assert (found["dataset"], found["vae"]) == (ENVIRONMENTS, ENVIRONMENTS * seeds)


def test_table_2_is_built_from_nothing(finished):
    table = pd.read_csv(finished / "results" / "table2.csv")
    assert set(table["method"]) == {METHODS[name].label for name in paper.METHODS}
    assert (table["n_seeds"] == 2).all()
    assert (table["test_users"] == 8).all()
    assert set(table["training_episodes"]) == {0, 8}
    markdown = (finished / "results" / "table2.md").read_text()
    assert "SAC+GeMS" in markdown
    assert "8 training episodes" in markdown


def test_nothing_runs_again_when_nothing_changed(finished):
    output = snakemake("-n", "--configfile", configured(finished), cwd=finished)
    assert "Nothing to be done" in output


def test_options_can_be_changed_on_the_command_line(finished):
    output = snakemake(
        "-n",
        *("--configfile", configured(finished)),
        *("--config", "vae={beta: 0.5}", "seeds=[1]"),
        cwd=finished,
    )
    assert jobs(output) == {"vae": 1, "train": 1, "table2": 1, "all": 1}


def test_options_that_change_no_result_make_nothing_stale(finished):
    changes = {"device": "cpu", "tracking": {"mode": "offline", "project": "other"}}
    output = snakemake("-n", "--configfile", configured(finished, **changes), cwd=finished)
    assert "Nothing to be done" in output


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sac": {"q_lr": 2e-3}}, {"train": 8, "table2": 1}),
        ({"training": {"batch_episodes": 3}}, {"train": 10, "table2": 1}),
        ({"items": {"files": {"diffuse": "none.npy"}}}, {}),
        ({"reinforce": {"policy_lr": 2e-3}}, {"train": 2, "table2": 1}),
        ({"vae": {"learning_rate": 2e-3}}, {"vae": 2, "train": 2, "table2": 1}),
        ({"mf": {"seed": 3}}, {"mf": 1, "train": 2, "table2": 1}),
        ({"seeds": [1, 2, 3]}, {"vae": 1, "train": 8, "table2": 1}),
        ({"methods": ["Random", "SAC+GeMS"]}, {"table2": 1}),
    ],
    ids=lambda names: "+".join(names) or "nothing",
)
def test_a_change_reruns_what_reads_it_and_nothing_else(finished, changes, expected):
    path = configured(finished, **changes)
    found = jobs(snakemake("-n", "--configfile", path, cwd=finished))
    assert {rule: n for rule, n in found.items() if rule != "all"} == expected


def test_a_single_run_is_asked_for_by_name_and_its_prerequisites_are_built(tmp_path):
    name = "SAC_GeMS_diffuse_mix_KL0.5_click0.2_seed7"
    target = tmp_path / "results" / "runs" / name / "result.json"
    config = configured(tmp_path)
    output = snakemake("-n", target, "--configfile", config, cwd=tmp_path)
    assert jobs(output) == {"items": 1, "dataset": 1, "vae": 1, "train": 1}
    snakemake(target, "--configfile", config, cwd=tmp_path)
    result = json.loads(target.read_text())
    assert (result["method"], result["environment"], result["seed"]) == (
        "SAC+GeMS",
        "diffuse_mix",
        7,
    )
    saved = json.loads((target.parent / "policy.json").read_text())
    assert saved["config"]["vae"]["beta"] == 0.5
    assert saved["config"]["vae"]["lambda_click"] == 0.2


def test_the_name_of_a_run_that_contradicts_its_method_is_refused(tmp_path):
    config = configured(tmp_path)
    for name, needed in (
        ("SAC_GeMS_diffuse_mix_seed7", "SAC+GeMS needs the part _KL{beta}_click{lambda_click}"),
        ("Random_diffuse_mix_KL0.5_click0.2_seed7", "Random needs nothing"),
    ):
        target = tmp_path / "results" / "runs" / name / "result.json"
        output = snakemake("-n", target, "--configfile", config, cwd=tmp_path, check=False)
        assert f"{needed} between the environment and the seed" in output
        assert "Traceback (most recent" not in output


@pytest.mark.parametrize(
    "target",
    [
        "runs/Randon_diffuse_mix_seed7/result.json",
        "runs/Random_diffuse_mixed_seed7/result.json",
        "runs/Random_diffuse_mix/result.json",
        "vae/focused_mix.safetensors",
    ],
)
def test_a_name_of_nothing_is_refused_in_one_sentence(tmp_path, target):
    config = configured(tmp_path)
    path = tmp_path / "results" / target
    output = snakemake("-n", path, "--configfile", config, cwd=tmp_path, check=False)
    assert "is not the name of a " in output
    assert "Traceback (most recent" not in output


def test_an_error_in_the_configuration_is_one_sentence_before_any_work(tmp_path):
    for options, sentence in (
        ({"methods": ["SAC+Gems"]}, "did you mean 'SAC+GeMS'?"),
        ({"trianing": {}}, "did you mean 'training'?"),
        ({"vae": {"beta": -1}}, "vae.beta"),
    ):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**TINY, **options}))
        output = snakemake("-n", "--configfile", path, cwd=tmp_path, check=False)
        assert sentence in output
        assert "Traceback (most recent" not in output


def test_a_rule_works_by_hand_with_the_same_result(finished, tmp_path):
    results = finished / "results"
    saved = json.loads(
        (results / "runs" / "SlateQ_focused_topdown_seed1" / "policy.json").read_text()
    )
    command = [Path(sys.executable).parent / "gems", "train", "--method", "SlateQ"]
    command += ["--env", "focused_topdown", "--seed", "1", "--output", tmp_path / "run"]
    command += ["--items", results / "items" / "focused.npy"]
    command += ["--config", json.dumps({**saved["config"], "tracking": {"mode": "disabled"}})]
    subprocess.run([str(part) for part in command], check=True, cwd=tmp_path, env=environment())
    theirs = results / "runs" / "SlateQ_focused_topdown_seed1" / "result.json"
    assert (tmp_path / "run" / "result.json").read_bytes() == theirs.read_bytes()


def test_item_embeddings_can_come_from_a_file(finished, tmp_path):
    shutil.copy(finished / "results" / "items" / "focused.npy", tmp_path / "mine.npy")
    config = configured(tmp_path, items={"files": {"focused": str(tmp_path / "mine.npy")}})
    target = tmp_path / "results" / "items" / "focused.npy"
    snakemake(target, "--configfile", config, cwd=tmp_path)
    assert target.read_bytes() == (tmp_path / "mine.npy").read_bytes()
