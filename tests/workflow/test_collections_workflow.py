"""Snakemake trains a policy, collects data with it, and pretrains the next agent on this data."""

import json
from pathlib import Path

import pytest
import yaml
from workflow_runs import TINY, jobs, snakemake

from gems import cli
from gems.data import dataset

MEDIUM = {"method": "SAC+GeMS", "environment": "focused_topdown", "seed": 1, "quality": "medium"}
CONFIG = TINY | {
    "results": "out",
    "methods": ["SAC+GeMS"],
    "seeds": [1],
    "training": TINY["training"] | {"keep": [6]},
    "dataset": "medium",
    "collections": {"medium": MEDIUM | {"users": 30}},
}
RUN = "out/runs/SAC_GeMS_focused_topdown_KL1.0_click0.5_on_medium_seed1/result.json"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the run of SAC+GeMS whose VAE was pretrained on a collected dataset."""
    folder = tmp_path_factory.mktemp("collections")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    snakemake(RUN, "--configfile", "config.yaml", cwd=folder)
    return folder


def planned(folder, **changes):
    """The jobs that a dry run plans after changes of the configuration."""
    (folder / "changed.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    return jobs(snakemake("-n", RUN, "--configfile", "changed.yaml", cwd=folder))


def test_the_dataset_holds_what_the_kept_policy_showed(built):
    data = dataset.read(built / "out" / "datasets" / "medium")
    assert (data.users, data.turns) == (30, TINY["simulator"]["turns"])
    assert data.meta["policy"]["episode"] == 6


def test_both_policies_are_there_and_everything_is_up_to_date(built, monkeypatch, capsys):
    assert len(list((built / "out" / "runs").iterdir())) == 2
    assert planned(built) == {}
    monkeypatch.chdir(built)
    assert cli.main(["verify", "--config", "config.yaml"]) == 0, capsys.readouterr().out


def test_a_changed_collection_is_collected_again_and_trained_on(built):
    more = {"medium": MEDIUM | {"users": 31}}
    assert planned(built, collections=more) == {"collection": 1, "vae": 1, "train": 1}


def test_a_dataset_that_nobody_makes_is_refused_before_any_job(built):
    (built / "missing.yaml").write_text(yaml.safe_dump(CONFIG | {"dataset": "logs"}))
    said = snakemake("-n", "--configfile", "missing.yaml", cwd=built, check=False)
    assert "The dataset logs does not exist in out/datasets; import it with" in said


def test_an_imported_dataset_is_pretrained_on(built, monkeypatch):
    monkeypatch.chdir(built)
    slate = list(range(10))
    rows = [{"user": n % 9, "slate": slate[n % 3 :] + slate[: n % 3]} for n in range(70)]
    text = "".join(json.dumps(row | {"clicks": [1, 0] * 5}) + "\n" for row in rows)
    (built / "logs.jsonl").write_text(text)
    imported = ["import", "logs.jsonl", "--name", "logs", "--items", "60"]
    assert cli.main([*imported, "--config", "config.yaml"]) == 0
    (built / "logs.yaml").write_text(yaml.safe_dump(CONFIG | {"dataset": "logs"}))
    run = RUN.replace("on_medium", "on_logs")
    planned = jobs(snakemake("-n", run, "--configfile", "logs.yaml", cwd=built))
    assert planned == {"vae": 1, "train": 1}
    assert (
        cli.main(["pretrain", "--dataset", "logs", "--seed", "1", "--config", "config.yaml"]) == 0
    )


def test_a_finished_run_is_collected_by_hand(built, monkeypatch, capsys):
    monkeypatch.chdir(built)
    run = str(Path(RUN).parent)
    collect = ["collect", "mine", "--run", run, "--config", "config.yaml"]
    options = ["--quality", "medium", "--users", "5", "--users-seed", "4"]
    assert cli.main([*collect, *options, "--output", "out/datasets/other"]) == 0
    assert cli.main([*collect, *options]) == 0
    assert cli.main([*collect, "--users", "6"]) == 2
    assert cli.main([*collect, *options, "--output", "out/datasets/focused_topdown"]) == 2
    assert dataset.read(built / "out" / "datasets" / "mine").users == 5
    assert cli.main(["verify", "--config", "config.yaml"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["collect", "mine"], "defines no collection mine"),
        (["collect", "medium", "--users", "5"], "defines medium under collections"),
        (["collect", "x", "--run", "nowhere"], "nowhere is not the folder of a finished run"),
        (["collect", "x", "--run", str(Path(RUN).parent), "--quality", "good"], "not 'good'"),
        (["pretrain", "--dataset", "medium", "--env", "focused_topdown"], "Leave out --env"),
        (["pretrain", "--dataset", "none"], "The dataset none does not exist"),
    ],
)
def test_a_mistake_is_refused_before_any_work(built, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(built)
    seed = ["--seed", "1"] if arguments[0] == "pretrain" else []
    assert cli.main([*arguments, *seed, "--config", "config.yaml"]) == 2
    assert words in capsys.readouterr().err
