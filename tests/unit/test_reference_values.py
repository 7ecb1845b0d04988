"""Values that others reported: the file that holds them, and where tables show them."""

import shutil
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest
from synthetic import write_all, write_run
from test_analysis_tables import numbers, rows, table, texts_of

from gems.analysis import catalogue
from gems.analysis.reference_values import ALL, FILE, references
from gems.config import build
from gems.config.paper import ENVIRONMENTS
from gems.errors import GemsError
from gems.methods import METHODS, REFERENCE_METHOD
from gems.pipeline import digest

PAPER = {"beta": 1.0, "lambda_click": 0.5}
OTHER = {"beta": 0.5, "lambda_click": 0.2}


def versus(paths, folder):
    return rows(table("table2_vs_paper", paths, folder))


# The file


def test_every_value_is_of_a_known_method_and_environment_and_has_a_source():
    for row in references():
        assert row.method in METHODS
        assert row.environment in {*ENVIRONMENTS, ALL}
        assert row.source
        assert (row.value is None) == (row.low is not None) == (row.high is not None)


def test_every_value_tells_the_settings_that_its_method_has():
    for row in references():
        entry = METHODS[row.method]
        assert (row.gamma is not None) == entry.trained
        assert (
            (row.beta is not None)
            == (row.lambda_click is not None)
            == ("vae" in entry.prerequisites(build({})))
        )


def test_no_two_values_are_of_the_same_runs():
    counts = Counter(
        (row.kind, row.method, row.environment, *sorted(row.settings().items()))
        for row in references()
    )
    assert set(counts.values()) == {1}


def test_the_file_is_installed_with_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["gems.analysis"]
    assert any(fnmatch(FILE.name, pattern) for pattern in patterns)


# Table 2 beside them


@pytest.mark.parametrize("vae", [PAPER, OTHER], ids=["paper", "other"])
def test_every_value_is_shown_in_the_rows_with_its_settings_and_nowhere_else(tmp_path, vae):
    settings = {"gamma": 0.8, **vae}
    known = {
        (METHODS[row.method].label, environment, row.kind): row
        for row in references()
        for environment in (ENVIRONMENTS if row.environment == ALL else [row.environment])
        if all(getattr(row, name) in (None, value) for name, value in settings.items())
    }
    columns = {
        ("published", "published"): "value",
        ("published", "published_low"): "low",
        ("published", "published_high"): "high",
        ("independent", "independent"): "value",
        ("independent", "independent_seeds"): "seeds",
    }
    found = versus(write_all(tmp_path, ENVIRONMENTS, vae=vae), tmp_path)
    assert len(found) == len(METHODS) * len(ENVIRONMENTS)
    for row in found:
        for (kind, column), name in columns.items():
            reference = known.get((row["method"], row["environment"], kind))
            value = getattr(reference, name, None)
            assert row[column] == ("" if value is None else f"{value:g}")


def test_a_range_over_all_environments_has_no_difference(tmp_path):
    (row,) = versus([write_run(tmp_path, "SAC+WkNN", "diffuse_mix", 100.0)], tmp_path)
    assert numbers(row, "published_low", "published_high") == [95, 107]
    assert (row["published"], row["difference"]) == ("", "")


@pytest.mark.parametrize(
    ("vae", "published", "independent"), [(PAPER, "305.3", "303.18"), (OTHER, "", "321.57")]
)
def test_runs_meet_the_values_of_their_own_coefficients(tmp_path, vae, published, independent):
    path = write_run(tmp_path, REFERENCE_METHOD, "focused_topdown", 310.0, vae=vae)
    (row,) = versus([path], tmp_path)
    assert (row["published"], row["independent"]) == (published, independent)
    assert row["independent_seeds"] == "1"
    assert float(row["difference_independent"]) == pytest.approx(310 - float(independent))


@pytest.mark.parametrize(
    "options", [{"vae": {"beta": 0.5}}, {"vae": {"lambda_click": 0.2}}, {"agent": {"gamma": 0.9}}]
)
def test_runs_with_other_coefficients_meet_no_value(tmp_path, options):
    path = write_run(tmp_path, REFERENCE_METHOD, "focused_topdown", 310.0, **options)
    (row,) = versus([path], tmp_path)
    names = ("published", "difference", "within_interval")
    names += ("independent", "independent_seeds", "difference_independent")
    assert {row[name] for name in names} == {""}


def test_a_run_that_does_not_tell_its_coefficients_is_refused_by_name(tmp_path):
    path = write_run(tmp_path, REFERENCE_METHOD, "focused_topdown", 310.0)
    path.with_name("provenance.json").unlink()
    with pytest.raises(
        GemsError, match=r"SAC_GeMS.*provenance\.json is missing or lacks vae\.beta"
    ):
        versus([path], tmp_path)


def test_people_read_the_independent_value_its_seeds_and_its_source(tmp_path):
    paths = [
        write_run(tmp_path, method, "diffuse_mix", 250.0) for method in (REFERENCE_METHOD, "SlateQ")
    ]
    page = table("table2_vs_paper", paths, tmp_path).with_suffix(".html").read_text()
    assert "Independent (1 seed)" in page
    assert "offline-slate-rl" in page
    row = next(line for line in texts_of(page) if line[0] == METHODS[REFERENCE_METHOD].label)
    assert row[-2:] == ["255.5", "-5.5"]
    assert "nan" not in page.lower()
    assert "None" not in page


@pytest.mark.parametrize(
    ("returns", "within"), [((300.0, 312.0), "True"), ((310.0, 310.5), "False")]
)
def test_whether_the_published_value_lies_in_our_interval(tmp_path, returns, within):
    paths = [
        write_run(tmp_path, "SAC+GeMS", "focused_topdown", value, seed)
        for seed, value in enumerate(returns)
    ]
    (row,) = versus(paths, tmp_path)
    mean = sum(returns) / 2
    assert numbers(row, "mean", "published", "difference") == pytest.approx(
        [mean, 305.3, mean - 305.3]
    )
    assert row["within_interval"] == within


def test_a_value_that_agrees_to_its_published_decimal_is_within_an_interval_of_0(tmp_path):
    for number, (mean, within) in enumerate(((107.742, "True"), (107.762, "False"))):
        folder = tmp_path / str(number)
        runs = [write_run(folder, "ShortTermOracle", "focused_topdown", mean, s) for s in (1, 2)]
        (row,) = versus(runs, folder)
        assert (float(row["half_width"]), row["within_interval"]) == (0, within)
        table("table2", runs, folder)
        assert "An interval of 0" in (folder / "table2.md").read_text()


def test_one_seed_cannot_tell_whether_the_published_value_is_within(tmp_path):
    paths = [write_run(tmp_path, "SAC+GeMS", "focused_topdown", 305.3)]
    (row,) = versus(paths, tmp_path)
    assert (row["half_width"], row["within_interval"]) == ("", "")


def test_the_myopic_agent_is_compared_with_its_own_published_value(tmp_path):
    paths = [
        write_run(
            tmp_path, "SAC+GeMS", "focused_topdown", 300.0 if not variant else 190.0, seed, variant
        )
        for seed in (1, 2)
        for variant in ("", "gamma0.0")
    ]
    main, myopic = versus(paths, tmp_path)
    assert numbers(main, "mean", "published") == [300.0, 305.3]
    assert myopic["method"] == "SAC+GeMS (γ = 0)"
    assert numbers(myopic, "mean", "published", "difference") == pytest.approx([190, 194.3, -4.3])


def test_the_audit_tells_no_published_gap_of_runs_with_other_coefficients(tmp_path):
    paths = [
        write_run(tmp_path, "REINFORCE+SoftMax", "focused_mix", 100.0, variant=variant)
        for variant in ("", "paperbaseline")
    ]
    paths.append(write_run(tmp_path, REFERENCE_METHOD, "focused_mix", 300.0, vae=OTHER))
    (row,) = rows(table("baseline_audit", paths, tmp_path))
    assert (row["published"], row["published_gap"]) == ("233.5", "")


# What becomes stale


def forget():
    digest._parse.cache_clear()
    digest._file.cache_clear()


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("303.18", "303.19", {"table2_vs_paper", "baseline_audit"}),
        ("# ", "# In other words: ", set()),
    ],
    ids=["value", "comment"],
)
def test_a_changed_value_makes_stale_the_tables_that_read_it(
    tmp_path, monkeypatch, old, new, stale
):
    def codes():
        forget()
        return {
            name: digest.code_digest(*catalogue.modules(e)) for name, e in catalogue.TABLES.items()
        }

    before = codes()
    package = tmp_path / "gems"
    path = package / FILE.relative_to(digest.ROOT)
    shutil.copytree(digest.ROOT, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "ROOT", package)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = codes()
    forget()
    assert {name for name in before if after[name] != before[name]} == stale
