"""Statistics over seeds, and Table 2."""

import csv
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_analysis_tables import cells_of

from gems.analysis import catalogue, layout
from gems.analysis.runs import read_results
from gems.analysis.statistics import half_width, welch_p
from gems.analysis.tables.table2 import sheet, table2
from gems.config.paper import ENVIRONMENTS
from gems.errors import GemsError
from gems.methods import METHODS

COLUMNS = [
    "method",
    "group",
    "environment",
    "n_seeds",
    "mean",
    "half_width",
    "p_value",
    "significant",
    "holm_p_value",
    "hedges_g",
    "training_episodes",
    "test_users",
    "paper_scale",
]
DISCLOSED = [method.label for method in METHODS.values() if method.disclosed]
UNDISCLOSED = [method.label for method in METHODS.values() if not method.disclosed]
OTHERS = [name for name, method in METHODS.items() if not method.disclosed and name != "SAC+GeMS"]

# Mean returns of 500 users over 100 turns of 10 slots, in steps of 1/500.
returns = st.integers(0, 500_000).map(lambda total: total / 500)
samples = st.lists(returns, min_size=2, max_size=10)


@pytest.fixture
def runs(tmp_path):
    """Write result files: {(method, environment): returns, one a seed}."""

    def write(cells):
        paths = []
        for (method, environment), values in cells.items():
            for seed, value in enumerate(values):
                paths.append(tmp_path / f"{method}_{environment}_{seed}.json")
                result = {
                    "method": method,
                    "environment": environment,
                    "seed": seed,
                    "test_return": value,
                    "training_episodes": 200 if METHODS[method].trained else 0,
                    "test_users": 500,
                    "best_episode": 100,
                }
                paths[-1].write_text(json.dumps(result))
        return paths

    return write


@pytest.fixture
def table(runs):
    return lambda cells: table2(read_results(runs(cells)))


def written(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def row(table, label, environment="focused_mix"):
    return table[(table["method"] == label) & (table["environment"] == environment)].iloc[0]


def cell_of(markdown, label, column=1):
    return cells_of(markdown, label)[column - 1]


def to_markdown(table):
    return layout.to_markdown(sheet(table))


def write_table2(paths, output):
    catalogue.write_table("table2", paths, output)


@given(samples)
def test_the_interval_is_that_of_students_t(values):
    expected = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    assert half_width(values) == pytest.approx(expected, abs=1e-9)
    if len(set(values)) > 1:
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert 2 * half_width(values) == pytest.approx(high - low, rel=1e-6, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(samples, samples)
def test_the_p_value_is_that_of_welchs_t_test(a, b):
    va, vb = (stats.tvar(x) / len(x) for x in (a, b))
    if va + vb < 1e-9:
        return
    t = (sum(a) / len(a) - sum(b) / len(b)) / math.sqrt(va + vb)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    assert welch_p(a, b) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-9)
    assert welch_p(a, b) == pytest.approx(
        stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-6, abs=1e-12
    )
    assert welch_p(b, a) == pytest.approx(welch_p(a, b), abs=1e-12)


@given(returns, samples)
def test_one_seed_has_no_interval_and_no_p_value(value, others):
    assert math.isnan(half_width([value]))
    assert math.isnan(welch_p([value], others))
    assert math.isnan(welch_p(others, [value]))


@given(returns, st.integers(2, 10), st.integers(2, 10))
def test_identical_values_have_an_interval_of_0_and_do_not_differ(value, n, m):
    assert half_width([value] * n) == pytest.approx(0, abs=1e-9)
    assert welch_p([value] * n, [value] * m) == 1


def test_different_values_without_spread_differ():
    assert welch_p([1.0, 1.0], [2.0, 2.0]) == 0


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(st.dictionaries(st.sampled_from(list(METHODS)), samples, min_size=1))
def test_every_cell_is_the_statistics_of_its_returns(tmp_path_factory, cells):
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for method, values in cells.items():
        for seed, value in enumerate(values):
            paths.append(folder / f"{method}{seed}.json")
            result = {"method": method, "environment": "focused_mix", "seed": seed}
            result |= {"test_return": value, "training_episodes": 0, "test_users": 500}
            paths[-1].write_text(json.dumps(result))
    table = table2(read_results(paths))
    for method, values in cells.items():
        found = row(table, METHODS[method].label)
        assert found["n_seeds"] == len(values)
        assert found["mean"] == pytest.approx(sum(values) / len(values))
        assert found["half_width"] == pytest.approx(half_width(values))
        compared = method in OTHERS and "SAC+GeMS" in cells
        assert math.isnan(found["p_value"]) == (not compared)
        if compared:
            assert found["p_value"] == welch_p(cells["SAC+GeMS"], values)
            assert found["significant"] == (found["p_value"] < 0.05)
        else:
            assert found["significant"] is None


def test_rows_are_in_the_order_of_the_paper_whatever_the_order_of_files(runs):
    paths = runs({(m, e): [1.0, 2.0] for m in METHODS for e in ENVIRONMENTS})
    table = table2(read_results(reversed(paths)))
    cells = [(method, e) for method in METHODS.values() for e in ENVIRONMENTS]
    assert table["method"].tolist() == [method.label for method, _ in cells]
    assert table["environment"].tolist() == [environment for _, environment in cells]
    groups = {True: "Disclosed env.", False: "Undisclosed env."}
    assert table["group"].tolist() == [groups[method.disclosed] for method, _ in cells]
    assert table.equals(table2(read_results(paths)))


def test_the_csv_has_exactly_the_documented_columns(runs, tmp_path):
    write_table2(runs({("Random", "focused_mix"): [1.0, 2.0]}), tmp_path / "table2.csv")
    assert list(written(tmp_path / "table2.csv")[0]) == COLUMNS


def test_the_csv_leaves_empty_what_one_seed_cannot_tell(runs, tmp_path):
    cells = {("Random", "focused_mix"): [30.0], ("SAC+GeMS", "focused_mix"): [300.0]}
    write_table2(runs(cells), tmp_path / "table2.csv")
    for line in written(tmp_path / "table2.csv"):
        assert line["n_seeds"] == "1"
        assert line["mean"]
        assert (line["half_width"], line["p_value"], line["significant"]) == ("", "", "")


def test_the_csv_compares_undisclosed_methods_with_gems_and_no_other(runs, tmp_path):
    cells = {(method, "focused_mix"): [1.0 + i, 2.5 + i] for i, method in enumerate(METHODS)}
    write_table2(runs(cells), tmp_path / "table2.csv")
    compared = {
        line["method"]: line["significant"] in ("True", "False") and float(line["p_value"]) >= 0
        for line in written(tmp_path / "table2.csv")
        if line["p_value"] or line["significant"]
    }
    assert compared == dict.fromkeys([x for x in UNDISCLOSED if x != "SAC+GeMS"], True)


def test_the_csv_and_the_markdown_are_the_same_bytes_for_the_same_results(runs, tmp_path):
    cells = {(method, "focused_mix"): [1.0, 2.5] for method in METHODS}
    for name in ("a", "b"):
        write_table2(runs(cells), tmp_path / f"{name}.csv")
    for kind in ("csv", "md"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


# Returns of SAC+GeMS are 300 on average in all of these.
BEATEN, AHEAD, CLOSE, ONE = [100.0, 101.0, 99.0], [400.0, 401.0], [299.0, 302.0], [100.0]


@pytest.mark.parametrize(
    ("others", "dagger"),
    [
        (dict.fromkeys(OTHERS, BEATEN), True),
        ({"Random": BEATEN}, True),
        ({**dict.fromkeys(OTHERS, BEATEN), "SAC+WkNN": CLOSE}, False),
        ({**dict.fromkeys(OTHERS, BEATEN), "SAC+WkNN": AHEAD}, False),
        ({**dict.fromkeys(OTHERS, BEATEN), "SAC+WkNN": ONE}, False),
        ({"Random": BEATEN, "SAC+TopK-ideal": AHEAD}, True),
        ({}, False),
        ({"SAC+TopK-ideal": BEATEN}, False),
    ],
    ids=[
        "beats all",
        "beats the one there is",
        "one is not significantly worse",
        "one is significantly better",
        "one has one seed only",
        "a disclosed method is better",
        "nothing to compare with",
        "only disclosed methods to compare with",
    ],
)
def test_a_dagger_marks_gems_where_it_beats_all_other_undisclosed_methods(table, others, dagger):
    cells = {(method, "focused_mix"): values for method, values in others.items()}
    cells["SAC+GeMS", "focused_mix"] = [299.0, 300.0, 301.0]
    markdown = to_markdown(table(cells))
    assert ("†" in cell_of(markdown, "SAC+GeMS")) == dagger
    for method in others:
        assert "†" not in cell_of(markdown, METHODS[method].label)


def test_a_dagger_holds_for_its_environment_only(table):
    cells = {("SAC+GeMS", env): [299.0, 300.0, 301.0] for env in ENVIRONMENTS}
    cells |= {("Random", env): BEATEN for env in ENVIRONMENTS}
    cells["Random", "focused_mix"] = CLOSE
    markdown = to_markdown(table(cells))
    daggers = ["†" in cell_of(markdown, "SAC+GeMS", i) for i in range(1, 7)]
    assert daggers == [True, False, True, True, True, True]


def test_the_markdown_has_the_layout_of_the_paper(table):
    cells = {(method, "diffuse_mix"): [10.0, 20.0] for method in METHODS}
    cells |= {("Random", "focused_topdown"): [34.0]}
    lines = to_markdown(table(cells)).splitlines()
    assert lines[0].split() == ["|", "Method", "|", "focused_topdown", "|", "diffuse_mix", "|"]
    rows = lines[2 : lines.index("")]
    first = [line.split("|")[1].strip() for line in rows]
    assert first == ["**Disclosed env.**", *DISCLOSED, "**Undisclosed env.**", *UNDISCLOSED]
    assert {line.count("|") for line in rows} == {4}
    assert cell_of("\n".join(lines), "Random", 1) == "34.0"
    assert cell_of("\n".join(lines), "Random", 2) == "15.0 ± 63.5"
    assert cell_of("\n".join(lines), "SlateQ", 1) == ""


def test_the_caption_tells_seeds_episodes_and_users(table):
    cells = {("Random", "focused_mix"): [1.0, 2.0], ("SAC+GeMS", "focused_mix"): [1.0, 2.0, 3.0]}
    caption = to_markdown(table(cells)).splitlines()[-1]
    assert "2 to 3 seeds; 200 training episodes, 500 test users" in caption


@pytest.mark.parametrize("field", ["training_episodes", "test_users"])
def test_runs_of_one_cell_at_different_scales_are_refused(runs, field):
    paths = runs({("SAC+GeMS", "focused_mix"): [1.0, 2.0]})
    result = json.loads(paths[1].read_text())
    paths[1].write_text(json.dumps({**result, field: 7}))
    message = rf"SAC\+GeMS in focused_mix differ in {field}: \[7, "
    with pytest.raises(GemsError, match=message):
        table2(read_results(paths))


def test_two_results_of_one_run_are_refused(runs):
    paths = runs({("SAC+GeMS", "focused_mix"): [1.0, 2.0]})
    with pytest.raises(GemsError, match=r"of one run: SAC\+GeMS, focused_mix, 1"):
        read_results([*paths, paths[1]])


def test_no_results_are_refused(tmp_path):
    with pytest.raises(GemsError, match="needs results"):
        write_table2([], tmp_path / "table2.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"method": "SAC+GeMS"}', None])
def test_a_damaged_or_missing_result_is_told_with_its_path(runs, tmp_path, content):
    paths = runs({("SAC+GeMS", "focused_mix"): [1.0, 2.0]})
    if content is None:
        paths[1].unlink()
    else:
        paths[1].write_text(content)
    with pytest.raises(GemsError) as raised:
        write_table2(paths, tmp_path / "table2.csv")
    assert str(paths[1]) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "table2.csv").exists()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("method", ["SAC+GeMS"]),
        ("environment", None),
        ("seed", None),
        ("seed", [1]),
        ("test_return", None),
        ("test_return", "100"),
        ("test_return", float("nan")),
        ("training_episodes", None),
        ("training_episodes", "many"),
        ("test_users", [500]),
    ],
)
def test_a_result_with_a_field_that_cannot_be_used_is_told(runs, tmp_path, field, wrong):
    paths = runs({("SAC+GeMS", "focused_mix"): [1.0, 2.0]})
    result = json.loads(paths[1].read_text())
    paths[1].write_text(json.dumps({**result, field: wrong}))
    with pytest.raises(GemsError, match=re.escape(str(paths[1]))):
        write_table2(paths, tmp_path / "table2.csv")
