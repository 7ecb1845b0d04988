"""The workflow as a module of another workflow, and datasets that enter by their contents."""

import os
import subprocess
import sys

import pytest
import yaml
from workflow_runs import ROOT, TINY, configured, jobs, snakemake

IMPORTER = """
{configfile}
module gems:
    snakefile: "{root}/workflow/Snakefile"
    {config}

use rule * from gems as gems_*

rule mine:
    default_target: True
    input: rules.gems_table2.output
"""


@pytest.mark.parametrize("own_configuration", [False, True])
def test_another_workflow_imports_this_one_as_a_module(tmp_path, own_configuration):
    lines = {"configfile": "", "config": "", "root": ROOT}
    if own_configuration:
        lines |= {"configfile": 'configfile: "mine.yaml"', "config": 'config: config["gems"]'}
        mine = TINY | {"methods": ["Random"], "results": "out"}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"gems": mine}))
    (tmp_path / "Snakefile").write_text(IMPORTER.format(**lines))
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"  # noqa: PTH120
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    options = [] if own_configuration else ["-n"]
    done = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    planned = jobs(done.stdout + done.stderr)
    assert planned["gems_table2"] == planned["mine"] == 1
    if own_configuration:
        assert planned["gems_train"] == len(TINY["seeds"])
        assert (tmp_path / "out" / "table2.csv").is_file()


def test_an_identical_dataset_that_is_made_again_makes_nothing_stale(tmp_path):
    config = configured(tmp_path, methods=["SAC+TopK-MF"], seeds=[1])
    snakemake("--configfile", config, cwd=tmp_path)
    dataset = tmp_path / "results" / "datasets" / "focused_topdown" / "dataset.json"
    before = dataset.stat().st_mtime_ns
    snakemake(dataset, "--force", "--configfile", config, cwd=tmp_path)
    assert dataset.stat().st_mtime_ns > before
    assert "Nothing to be done" in snakemake("-n", "--configfile", config, cwd=tmp_path)
