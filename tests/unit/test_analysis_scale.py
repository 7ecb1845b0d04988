"""What is not at the paper's scale says so."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from gems.analysis.scale import OPTIONS, PAPER, is_paper_scale, scale_note

ROOT = Path(__file__).parents[2]


def runs(seeds=10, users=100_000, **options):
    """Runs of SAC+GeMS; ``options`` replace those of the paper by section."""
    config = {}
    for (section, option), (value, _) in OPTIONS.items():
        config.setdefault(section, {})[option] = options.get(option, value)
    cell = {"method": "SAC+GeMS", "environment": "focused_mix", "variant": "", "vae": "v"}
    scale = {"training_episodes": 100_000, "test_users": 500, "logged_users": users}
    return pd.DataFrame([cell | scale | {"seed": n, "config": config} for n in range(seeds)])


def test_the_papers_scale_is_that_of_its_configuration():
    paper = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    for (section, option), (value, _) in OPTIONS.items():
        assert paper[section][option] == value
    assert PAPER["training_episodes"] == paper["training"]["episodes"]
    assert PAPER["test_users"] == paper["training"]["test_users"]
    assert PAPER["logged_users"] == paper["logging"]["users"]
    assert PAPER["n_seeds"] == len(paper["seeds"])


def test_runs_at_the_papers_scale_need_no_note():
    assert is_paper_scale(runs())
    assert scale_note(runs()) == ""


@pytest.mark.parametrize("name", [option for _, option in OPTIONS])
def test_an_option_of_the_scale_is_told(name):
    other = runs(**{name: 1})
    assert not is_paper_scale(other)
    (words,) = [words for (_, option), (_, words) in OPTIONS.items() if option == name]
    assert words in scale_note(other)


def test_fewer_seeds_or_users_are_told_first():
    note = scale_note(runs(seeds=2, users=9, epochs=1))
    assert "2 of 10 seeds" in note
    assert "9 of 100,000 logged users" in note
    assert "epochs" not in note
