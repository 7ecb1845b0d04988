"""docs/extending.md: its code runs as it stands there, from an extension to Table 2."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflow_runs import ROOT, TINY, snakemake

GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", GUIDE, re.DOTALL))
# An environment of other sizes, with the click model of the guide.
SKIMMING = {
    "items": {"generate": "diffuse", "count": 50, "topics": 8, "topic_dim": 3},
    "click_model": {"kind": "position", "exponent": 1.5},
    "simulator": {"slate_size": 5, "turns": 8},
}
METHODS = {"MostPopular": "Most popular", "TD3+GeMS": "TD3+GeMS", "SAC+TopK-PCA": "SAC+TopK (PCA)"}


def gems(*arguments, cwd, **environment):
    command = [Path(sys.executable).parent / "gems", *arguments]
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder outside the package in which the guide's methods have been run by Snakemake."""
    folder = tmp_path_factory.mktemp("extending")
    for name, code in FILES.items():
        (folder / name).write_text(code, encoding="utf-8")
    config = TINY | {
        "results": "out",
        "extensions": list(FILES),
        "methods": ["Random", *METHODS],
        "seeds": [1],
        "environments": ["focused_topdown", "skimming"],
        "custom_environments": {"skimming": SKIMMING},
        "analysis": {"audit_environments": ["focused_topdown"]},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    targets = ["table2.csv", "table1.csv", "figures/learning_curves.pdf"]
    snakemake(*(f"out/{t}" for t in targets), "--configfile", "mine.yaml", cwd=folder)
    return folder


def test_methods_of_an_extension_have_rows_in_table_2(built):
    table = pd.read_csv(built / "out" / "table2.csv")
    assert set(METHODS.values()) < set(table["method"])
    assert set(table["environment"]) == {"focused_topdown", "skimming"}
    assert table["mean"].notna().all()


def test_methods_of_an_extension_have_their_assumptions_in_table_1(built):
    text = (built / "out" / "table1.csv").read_text()
    assert all(label in text for label in METHODS.values())


def test_results_of_an_extension_are_verified_and_their_status_is_known(built):
    verified = gems("verify", "--config", "mine.yaml", cwd=built)
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    status = gems("status", "--json", "--config", "mine.yaml", cwd=built)
    states = {row["job"]: row["state"] for row in json.loads(status.stdout)}
    assert states["MostPopular_focused_topdown_seed1"] == "done"
    assert set(states.values()) == {"done"}


def test_a_change_of_an_extension_makes_its_own_runs_stale_only(built):
    file = built / "td3_gems.py"
    before = file.read_text()
    file.write_text(before.replace("value[:, -1] = 0", "value[:, -1] = 1"))
    try:
        verified = gems("verify", "--config", "mine.yaml", cwd=built)
    finally:
        file.write_text(before)
    runs = [line for line in verified.stdout.splitlines() if "/runs/" in line.split(":")[0]]
    assert len(runs) == 2
    assert all("TD3_GeMS" in run and "code has changed" in run for run in runs)


def test_a_policy_of_an_extension_is_evaluated_again(built):
    run = built / "out" / "runs" / "TD3_GeMS_focused_topdown_KL1.0_click0.5_seed1"
    done = gems("evaluate", run, cwd=built)
    result = json.loads((run / "result.json").read_text())
    assert json.loads(done.stdout)["test_return"] == result["test_return"], done.stderr


def test_an_installed_package_announces_its_methods(tmp_path):
    (tmp_path / "popular.py").write_text(FILES["most_popular.py"])
    described = tmp_path / "popular-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: popular\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[gems.methods]\npopular = popular\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    config = json.dumps({"methods": ["MostPopular"], "results": str(tmp_path / "out")})
    status = gems("status", "--config", config, cwd=tmp_path, PYTHONPATH=path)
    assert "MostPopular_focused_mix_seed58407201" in status.stdout, status.stderr


POPULAR = FILES["most_popular.py"]
TD3 = FILES["td3_gems.py"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("raise ValueError('no')", "cannot be imported: ValueError: no"),
        (POPULAR.replace('"MostPopular"', '"SAC-GeMS"'), "Two methods are named"),
        (POPULAR.replace('"MostPopular"', '"Most_seed3"'), "its name must match"),
        (POPULAR.replace('("LD",)', '("XX",)'), "assumptions are among"),
        (POPULAR.replace('("popularity",)', '"popularity"'), "needs must be a tuple"),
        (TD3.replace("(AgentConfig, TD3Config)", "TD3Config"), "options must be a tuple"),
        (TD3.replace('section = "td3"', 'section = "sac"'), "has the name of another option"),
        (TD3.replace('section = "td3"', 'section = "seeds"'), "has the name of another option"),
    ],
)
def test_an_extension_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, code, words):
    (tmp_path / "wrong.py").write_text(code)
    done = gems("status", "--config", json.dumps({"extensions": ["wrong.py"]}), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    missing = gems("status", "--config", json.dumps({"extensions": ["none.py"]}), cwd=tmp_path)
    assert "'none.py' does not exist" in missing.stderr
