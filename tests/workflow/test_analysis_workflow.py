"""Tables, figures, variants and the report in the real workflow at a tiny scale."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import workflow_runs
import yaml
from workflow_runs import ROOT, TINY, environment, jobs, snakemake

from gems.analysis import catalogue
from gems.config import load, paper, variants
from gems.methods import METHODS, slug
from gems.pipeline import comparisons

SMALL = {
    **TINY,
    "seeds": [1],
    "methods": ["ShortTermOracle", "SAC+TopK-ideal", "Random", "SAC+GeMS"],
    "analysis": {"betas": [1.0], "lambdas": [0.5]},
}
RULES = {entry.rule for entry in catalogue.ENTRIES}
GEMS = "SAC_GeMS_focused_topdown_KL1.0_click0.5_seed1"


def configured(folder, **changes):
    return workflow_runs.configured(folder, SMALL, **changes)


def runs_of(path):
    """Runs that all tables and figures of a configuration need, by name."""
    config = load([str(path)])
    needs = [comparisons.job_of_entry(config, entry).needs for entry in catalogue.ENTRIES]
    return {job.name for jobs in needs for job in jobs}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A working directory in which everything has been built from nothing."""
    folder = tmp_path_factory.mktemp("analysis")
    path = configured(folder)
    built = jobs(snakemake("everything", "--configfile", path, cwd=folder))
    assert {*RULES, "configuration", "everything"} < {*built}
    assert built["train"] == len(runs_of(path))
    return folder


def test_everything_is_built_from_nothing(finished):
    results = finished / "results"
    for entry in catalogue.TABLES.values():
        assert len(pd.read_csv(results / entry.path))
        assert "</table>" in (results / entry.shown).read_text()
    for entry in catalogue.FIGURES.values():
        assert (results / entry.path).read_bytes().startswith(b"%PDF")
        assert (results / entry.shown).read_bytes().startswith(b"\x89PNG")
    resolved = yaml.safe_load((results / "configuration.yaml").read_text())
    assert resolved["wknn"]["credit"] == "observed"
    assert resolved["analysis"]["seeds"] == [1]


def test_both_sides_of_the_audit_lie_beside_each_other(finished):
    audit = pd.read_csv(finished / "results" / "baseline_audit.csv")
    slugs = {METHODS[name].label: slug(name) for name in variants.audited()}
    assert set(audit["method"]) == set(slugs)
    for row in audit.to_dict("records"):
        method = slugs[row["method"]]
        for side, suffix in (("released", ""), ("paper", "_paperbaseline")):
            folder = finished / "results" / "runs" / f"{method}_focused_topdown_seed1{suffix}"
            result = json.loads((folder / "result.json").read_text())
            assert row[f"mean_{side}"] == pytest.approx(result["test_return"])


def test_nothing_runs_again_when_nothing_changed(finished):
    output = snakemake("-n", "everything", "--configfile", configured(finished), cwd=finished)
    assert "Nothing to be done" in output


def entries(*sets):
    """Rules of the tables and figures that are made from one of these sets of runs."""
    return {entry.rule for entry in catalogue.ENTRIES if entry.runs in sets}


OF_RUNS = RULES - entries("none")


@pytest.mark.parametrize(
    ("changes", "models", "analyses"),
    [
        ({"reinforce": {"policy_lr": 2e-3}}, {"train": 2}, entries("audit")),
        ({"vae": {"learning_rate": 2e-3}}, {"vae": 2, "train": 3}, OF_RUNS),
        ({"analysis": {"betas": [1.0, 2.0]}}, {"vae": 2, "train": 2}, entries("figure3")),
        (
            {"analysis": {"audit_environments": ["focused_mix"]}},
            {"train": 9, "vae": 1, "mf": 2},
            entries("audit"),
        ),
        ({"vae": {"latent_dim": 16}}, {"train": 3}, None),
        ({"slateq": {"credit": "chosen"}}, {"train": 1}, entries("audit")),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_change_reruns_what_it_must_and_nothing_else(finished, changes, models, analyses):
    path = configured(finished, **changes)
    found = jobs(snakemake("-n", "everything", "--configfile", path, cwd=finished))
    ran = {rule: n for rule, n in found.items() if rule in ("train", "vae", "mf")}
    assert ran == models
    if analyses is not None:
        assert {*found} & RULES == analyses


def test_table_2_alone_needs_no_variant(tmp_path):
    output = snakemake("-n", "--configfile", configured(tmp_path), cwd=tmp_path)
    expected = {"items": 1, "dataset": 1, "vae": 1, "train": 4, "table2": 1, "all": 1}
    assert jobs(output) == expected


def test_everything_at_the_papers_scale_is_known_in_seconds(tmp_path):
    paper_scale = ROOT / "config" / "paper.yaml"
    found = jobs(snakemake("-n", "everything", "--configfile", paper_scale, cwd=tmp_path))
    wanted = runs_of(paper_scale)
    seeds, audited = len(paper.SEEDS), len(variants.audited())
    # Table 2, SAC+GeMS without discounting, and the other side of the audited baselines.
    assert any(name.endswith("_gamma0.0") for name in wanted)
    assert found["train"] == len(wanted)
    assert found["train"] >= 480 + seeds + audited * len(paper.ENVIRONMENTS) * seeds


def test_under_the_papers_fidelity_the_released_baselines_are_the_variants(tmp_path):
    path = configured(tmp_path, fidelity="paper")
    output = snakemake("-n", "baseline_audit", "--configfile", path, cwd=tmp_path)
    assert jobs(output)["train"] == 9
    assert len(set(re.findall(r"seed1_releasedbaseline/result\.json", output))) == 1
    assert "paperbaseline" not in output


def test_a_variant_is_asked_for_by_name(finished):
    target = finished / "results" / "runs" / f"{GEMS}_gamma0.0" / "result.json"
    output = snakemake("-n", target, "--configfile", configured(finished), cwd=finished)
    assert "Nothing to be done" in output
    saved = json.loads((target.parent / "provenance.json").read_text())
    assert (saved["variant"], saved["config"]["agent"]["gamma"]) == ("gamma0.0", 0.0)
    assert saved["logged_users"] == TINY["logging"]["users"]


def test_a_variant_that_changes_nothing_of_its_method_is_refused(tmp_path):
    target = tmp_path / "results" / "runs" / "Random_focused_mix_seed1_gamma0.0" / "result.json"
    config = configured(tmp_path)
    output = snakemake("-n", target, "--configfile", config, cwd=tmp_path, check=False)
    assert "Variant gamma0.0 changes nothing that Random reads" in output


def test_a_variant_by_hand_has_the_same_result(finished, tmp_path):
    results = finished / "results"
    theirs = results / "runs" / "SlateQ_focused_topdown_seed1_paperbaseline"
    values = {name: SMALL[name] for name in ("items", "simulator", "training", "tracking")}
    command = [Path(sys.executable).parent / "gems", "train", "--method", "SlateQ"]
    command += ["--env", "focused_topdown", "--seed", "1", "--variant", "paperbaseline"]
    command += ["--items", results / "items" / "focused.npy", "--output", tmp_path / "run"]
    command += ["--config", json.dumps(values)]
    subprocess.run([str(part) for part in command], check=True, cwd=tmp_path, env=environment())
    for name in ("result.json", "curve.csv", "turns.csv", "scores.csv", "policy.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (theirs / name).read_bytes()


def test_a_figure_by_hand_is_that_of_the_workflow(finished, tmp_path):
    results = sorted(finished.glob("results/runs/*/result.json"))
    command = [Path(sys.executable).parent / "gems", "figure", "--name", "baseline_audit"]
    command += [*results, "--output", tmp_path / "baseline_audit.pdf"]
    subprocess.run([str(part) for part in command], check=True, env=environment())
    for name in ("baseline_audit.pdf", "baseline_audit.png"):
        theirs = finished / "results" / "figures" / name
        assert (tmp_path / name).read_bytes() == theirs.read_bytes()


def test_the_report_is_made_without_a_network_and_shows_everything(finished, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:9")
    path = finished / "results" / "report.html"
    config = configured(finished)
    snakemake("everything", "--configfile", config, "--report", path, cwd=finished)
    page = path.read_text()
    results = json.loads(re.search(r"var results = (\{.*?\});?\s*</script>", page, re.DOTALL)[1])
    shown = {Path(name).name for name in results}
    assert shown == {"configuration.html"} | {entry.shown.name for entry in catalogue.ENTRIES}
    assert all(entry["caption"] for entry in results.values())
    order = json.loads(re.search(r"var categories = (\{.*?\});?\s*</script>", page, re.DOTALL)[1])
    assert list(order) == list(catalogue.CATEGORIES.values())
