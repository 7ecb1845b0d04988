"""docs/python.md: its examples run as they stand there, at a smaller scale."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from workflow_runs import ROOT, TINY

from gems import cli
from gems.config import build

GUIDE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
SEED = 58407201
# The examples count on the default number of items.
SMALL = {name: value for name, value in TINY.items() if name != "items"}
RUN = "results/runs/SAC_GeMS_focused_topdown_KL1.0_click0.5_seed58407201"


def gems(*arguments, capsys=None):
    assert cli.main([*arguments, "--config", "small.json"]) == 0
    return capsys.readouterr().out if capsys else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the run of the examples."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "small.json").write_text(json.dumps(SMALL))
        where = "--env", "focused_topdown"
        gems("items", "--embedding", "focused")
        gems("simulate", *where)
        gems("pretrain", *where, "--seed", str(SEED))
        gems("train", "--method", "SAC+GeMS", *where, "--seed", str(SEED))
    return folder


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "")  # restored after an example has set it


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_as_it_stands_there(number, capsys):
    code = EXAMPLES[number].replace("20_000", "101")
    exec(compile(code, f"example {number + 1} of docs/python.md", "exec"), {})
    assert capsys.readouterr().out or "learn(" in code


@pytest.mark.parametrize("line", re.findall(r"^\$ (gems .*?)(?: +#.*)?$", GUIDE, re.MULTILINE))
def test_a_command_runs_as_it_stands_there(line, capsys):
    (session,) = re.findall(r'^\{"user": "a", "slates".*$', GUIDE, re.MULTILINE)
    Path("sessions.jsonl").write_text(session + "\n")
    _, *arguments = shlex.split(line)
    if arguments[0] == "recommend":
        assert cli.main(arguments) == 0
        assert len(json.loads(capsys.readouterr().out)["slate"]) == 10
    else:
        gems(*arguments)


def test_the_command_that_collects_is_that_of_the_guide():
    (line,) = re.findall(r"`(gems collect .*?)`", GUIDE)
    gems(*shlex.split(line.replace("RUN", RUN))[1:])


def test_the_configuration_of_the_collections_is_valid():
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    config = build(yaml.safe_load(text))
    assert set(config.collections) == {"random", "medium", "expert", "mixed"}
