"""Runs of methods and environments that are not in the registry are shown like all others."""

import json

import pytest
from synthetic import write_all
from test_analysis_figures import drawn, runs_of, texts
from test_analysis_tables import rows, table, texts_of

from gems.analysis import catalogue, names
from gems.config.paper import ENVIRONMENTS
from gems.methods import METHODS

MADE_FROM_RUNS = [entry for entry in catalogue.ENTRIES if entry.runs != "none"]


def renamed(paths, **renames):
    """Rename methods or environments in result files: old name -> new name by field."""
    for path in paths:
        result = json.loads(path.read_text())
        for field, new in renames.items():
            result[field] = new.get(result[field], result[field])
        path.write_text(json.dumps(result))
    return paths


def test_unregistered_names_come_last_and_are_shown_as_they_are():
    known = list(METHODS)[:2]
    assert names.order_of_methods(["B", known[1], "A", known[0], "B"]) == [*known, "A", "B"]
    known = list(ENVIRONMENTS)[:2]
    assert names.order_of_environments(["b", known[1], "a", known[0]]) == [*known, "a", "b"]
    assert names.label("Mine") == "Mine"
    assert not names.is_disclosed("Mine")
    for environment in ("mine", "my_own_market", "focused_topdown_again"):
        assert names.environment_title(environment) == environment
    assert names.environment_title("focused_topdown") == "Focused, TopDown"


@pytest.mark.parametrize("entry", MADE_FROM_RUNS, ids=lambda entry: f"{entry.kind} {entry.name}")
def test_every_table_and_figure_takes_runs_of_environments_that_are_not_registered(entry, tmp_path):
    paths = runs_of(entry.name, tmp_path, environments=["focused_topdown", "diffuse_mix"])
    renames = {"focused_topdown": "my_market"}
    if entry.name not in ("figure2", "figure3"):
        renames["diffuse_mix"] = "another"
    renamed(paths, environment=renames)
    if entry.kind == "figure":
        figure, _ = drawn(entry.name, paths, tmp_path)
        titles = [axes.get_title() for axes in figure.axes]
        if entry.name != "aggregate":
            assert any("my_market" in title for title in [*titles, texts(figure), suptitle(figure)])
        return
    output = table(entry.name, paths, tmp_path)
    if "environment" in rows(output)[0]:
        found = dict.fromkeys(row["environment"] for row in rows(output))
        assert [name for name in found if name != "all"] == ["another", "my_market"]
    assert texts_of(output.with_suffix(".html").read_text())


def suptitle(figure):
    return figure.get_suptitle()


@pytest.mark.parametrize("entry", MADE_FROM_RUNS, ids=lambda entry: f"{entry.kind} {entry.name}")
def test_every_table_and_figure_takes_runs_of_methods_that_are_not_registered(entry, tmp_path):
    paths = runs_of(entry.name, tmp_path, environments=["focused_topdown", "diffuse_mix"])
    if entry.name not in ("figure2", "figure3"):
        more = write_all(tmp_path / "more", ["focused_topdown", "diffuse_mix"], (1, 2))
        more = [path for path in more if "REINFORCE" in str(path) or "WkNN" in str(path)]
        paths += renamed(more, method={"REINFORCE+SoftMax": "Zeta", "SAC+WkNN": "Alpha"})
    if entry.kind == "figure":
        figure, _ = drawn(entry.name, paths, tmp_path)
        legend = [text.get_text() for box in figure.legends for text in box.get_texts()]
        if entry.name in ("learning_curves", "turns"):
            assert legend[-2:] == ["Alpha", "Zeta"]
    else:
        found = list(
            dict.fromkeys(row["method"] for row in rows(table(entry.name, paths, tmp_path)))
        )
        if entry.name != "baseline_audit":
            assert found[-2:] == ["Alpha", "Zeta"]


def test_a_method_that_is_not_registered_is_compared_as_an_undisclosed_one(tmp_path):
    paths = write_all(tmp_path, ["focused_topdown"])
    paths = renamed(paths, method={"SAC+TopK-ideal": "Mine"})
    output = table("table2", paths, tmp_path)
    (row,) = rows(output, method="Mine")
    assert row["group"] == "Undisclosed env."
    assert row["p_value"]
