"""Fixtures for tests of faults: commands in a folder with results, which must be refused."""

import json
import shutil

import pytest
from faults import (
    MF,
    SIMULATE,
    TINY,
    VAE,
)

from gems import cli


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with items, a dataset and pretrained models."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "tiny.json").write_text(json.dumps(TINY))
        for command in (
            ("items", "--embedding", "focused"),
            SIMULATE,
            VAE,
            MF,
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
        others = " a second", ": starts at ", ": held-out users: ", "Cannot write the log; the job"
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
