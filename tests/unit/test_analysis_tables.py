"""Tables against numbers computed by hand: Tables 1 and 2, audit, statistics, run times."""

import csv
import json
import math
import re
import shutil
import subprocess

import pytest
from options import presets
from scipy import stats
from synthetic import PAPER_SCALE, write_all, write_run

from gems.analysis import catalogue
from gems.analysis.runs import read_results
from gems.analysis.scale import scale_note
from gems.config import build
from gems.config.paper import ENVIRONMENTS
from gems.config.variants import BASELINES, overrides_of
from gems.errors import GemsError
from gems.methods import ASSUMPTIONS, METHODS, REFERENCE_METHOD

TEN_SEEDS = range(10)


def rows(path, **wanted):
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def table(name, results, folder):
    output = folder / f"{name}.csv"
    catalogue.write_table(name, results, output)
    return output


def texts_of(page):
    """The texts of a page in HTML: a list of cells for each row of its table."""
    lines = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]


def cells_of(markdown, label):
    """The cells of a row of a table in Markdown after its label."""
    lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines())
    return next(cells[1:] for cells in lines if cells[:1] == [label])


def numbers(row, *names):
    return [float(row[name]) if row[name] else math.nan for name in names]


# Table 2


def test_table_2_adjusts_its_p_values_within_an_environment_and_tells_effect_sizes(tmp_path):
    paths = write_all(tmp_path, ["focused_mix", "diffuse_mix"])
    written = rows(table("table2", paths, tmp_path), environment="focused_mix")
    tested = [row for row in written if row["p_value"]]
    others = [
        m.label for name, m in METHODS.items() if not m.disclosed and name != REFERENCE_METHOD
    ]
    assert [row["method"] for row in tested] == others
    raw = sorted(float(row["p_value"]) for row in tested)
    adjusted = sorted(float(row["holm_p_value"]) for row in tested)
    n = len(others)
    expected = [max((n - i) * raw[i] for i in range(k + 1)) for k in range(n)]
    assert adjusted == pytest.approx(expected, rel=1e-4)
    # Means differ by 100 for each place between, standard deviation 3, three seeds a side.
    places = list(METHODS).index(REFERENCE_METHOD) - list(METHODS).index("Random")
    (row,) = (row for row in tested if row["method"] == "Random")
    assert float(row["hedges_g"]) == pytest.approx(100 * places / 3 * (1 - 3 / 15), rel=1e-5)


def test_table_2_is_written_in_four_formats_with_the_best_undisclosed_method_bold(tmp_path):
    paths = write_all(tmp_path, ENVIRONMENTS, offset={REFERENCE_METHOD: 5000})
    output = table("table2", paths, tmp_path)
    best = next(row for row in rows(output) if row["method"] == "SAC+GeMS")
    shown = f"{float(best['mean']):.1f} ± 7.5"
    markdown = output.with_suffix(".md").read_text()
    assert cells_of(markdown, "SAC+GeMS")[0] == f"**{shown} †**"
    assert not any("**" in text for text in cells_of(markdown, "SAC+TopK (MF)"))
    latex = output.with_suffix(".tex").read_text()
    assert rf"\bfseries {shown} †".replace("±", r"$\pm$").replace("†", r"$\dagger$") in latex
    assert r"\renewcommand{\thetable}{2}" in latex
    page = output.with_suffix(".html").read_text()
    cell = re.search(rf'id="(\w+)" class="[^"]*" ?>{shown} †<', page)[1]
    assert re.search(rf"#{cell}\b[^}}]*{{\s*font-weight: bold", page)


def test_a_disclosed_method_is_never_bold(tmp_path):
    paths = write_all(tmp_path, ["focused_mix"], offset={"SAC+TopK-ideal": 5000})
    markdown = table("table2", paths, tmp_path).with_suffix(".md").read_text()
    assert cells_of(markdown, "SAC+TopK (ideal)") == ["5206.0 ± 7.5"]
    assert cells_of(markdown, "SAC+GeMS")[0].startswith("**")


def test_marks_are_explained_where_they_are_shown_and_nowhere_else(tmp_path):
    alone = [write_run(tmp_path / "alone", REFERENCE_METHOD, "focused_mix", 300.0)]
    close = [
        write_run(tmp_path / "close", method, "focused_mix", value, seed)
        for method, values in ((REFERENCE_METHOD, (300.0, 310.0)), ("Random", (299.0, 309.0)))
        for seed, value in enumerate(values)
    ]
    far = write_all(tmp_path / "far", ["focused_mix"], offset={REFERENCE_METHOD: 5000})
    cases = ((alone, False, False, False), (close, True, False, True), (far, True, True, True))
    for paths, interval, dagger, bold in cases:
        output = table("table2", paths, tmp_path)
        for suffix in (".md", ".tex", ".html"):
            text = output.with_suffix(suffix).read_text()
            assert ("±" in text or r"$\pm$" in text) == interval
            assert ("†" in text or r"$\dagger$" in text) == dagger
            assert ("Bold" in text) == bold


def test_no_table_shows_a_negative_zero_or_a_group_without_rows(tmp_path):
    returns = {
        "ShortTermOracle": 107.69,
        "Random": 34.0,
        "SAC+TopK-ideal": 429.0,
        REFERENCE_METHOD: 305.299,
    }
    paths = [
        write_run(tmp_path, method, "focused_topdown", value + shift, seed)
        for method, value in returns.items()
        for seed, shift in ((1, 0.0), (2, 1e-13))
    ]
    paths += [
        write_run(tmp_path, "SlateQ", "focused_topdown", value, 1, variant)
        for value, variant in ((100.0, ""), (99.9999, "paperbaseline"))
    ]
    for name in ("table2", "table2_vs_paper", "aggregate", "baseline_audit"):
        page = texts_of(table(name, paths, tmp_path).with_suffix(".html").read_text())
        texts = [text for row in page for text in row]
        assert not [text for text in texts if re.search(r"-0(\.0+)?(?![.\d])", text)]
        headings = [bool(row[0]) and not any(row[1:]) for row in page]
        assert not any(a and b for a, b in zip(headings, [*headings[1:], True], strict=True))


def test_table_1_takes_no_results(tmp_path):
    path = write_run(tmp_path, "SlateQ", "focused_mix", 1.0)
    with pytest.raises(GemsError, match="takes no results"):
        table("table1", [path], tmp_path)


def test_table_2_of_variants_alone_is_refused(tmp_path):
    path = write_run(tmp_path, REFERENCE_METHOD, "focused_mix", 1.0, variant="gamma0.0")
    with pytest.raises(GemsError, match="All results are of variants"):
        table("table2", [path], tmp_path)


def test_variants_do_not_enter_table_2(tmp_path):
    paths = [
        write_run(tmp_path, "SAC+GeMS", "focused_mix", 300.0),
        write_run(tmp_path, "SAC+GeMS", "focused_mix", 100.0, variant="gamma0.0"),
    ]
    assert rows(table("table2", paths, tmp_path))[0]["mean"] == "300"


@pytest.mark.parametrize(
    ("seed", "names"), [(1, r"KL0\.1.* and .*KL1\.0.*"), (2, r"KL1\.0.* and .*KL0\.1.*")]
)
def test_runs_of_two_vaes_are_refused_by_name(tmp_path, seed, names):
    paths = [
        write_run(tmp_path, "SAC+GeMS", "focused_mix", 300.0, seed=1),
        write_run(tmp_path, "SAC+GeMS", "focused_mix", 100.0, seed=seed, vae={"beta": 0.1}),
    ]
    with pytest.raises(GemsError, match=f"{names} differ in their VAE"):
        table("table2", paths, tmp_path)


def compiled(path, folder):
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"]
    command += [f"-output-directory={folder}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_latex_compiles_as_it_is(name, tmp_path):
    results = write_all(tmp_path, ENVIRONMENTS) if name == "table2" else []
    path = table(name, results, tmp_path).with_suffix(".tex")
    text = path.read_text()
    assert text.isascii()
    assert text.count(r"\begin{") == text.count(r"\end{")
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    columns = len(re.search(r"\\begin\{tabular\}\{(.*)\}", text)[1])
    cells = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in cells} == {columns - 1}
    if shutil.which("pdflatex"):
        status, output = compiled(path, tmp_path)
        assert status == 0, output
        assert "Overfull" not in output


# Scale


def test_a_table_at_another_scale_says_so_in_every_format(tmp_path):
    output = table("table2", write_all(tmp_path, ["focused_mix"]), tmp_path)
    note = (
        "Not the paper's scale: 200 of 100,000 training episodes, 3 of 10 seeds, "
        "1,000 of 100,000 logged users. Not a reproduction."
    )
    assert note in output.with_suffix(".md").read_text()
    assert note in output.with_suffix(".tex").read_text()
    assert note.replace("'", "&#x27;") in output.with_suffix(".html").read_text()
    assert {row["paper_scale"] for row in rows(output)} == {"False"}


def test_a_table_at_the_papers_scale_is_not_marked(tmp_path):
    paths = write_all(tmp_path, ["focused_mix"], seeds=TEN_SEEDS, **PAPER_SCALE)
    output = table("table2", paths, tmp_path)
    for suffix in (".md", ".tex", ".html"):
        assert "scale:" not in output.with_suffix(suffix).read_text()
    assert {row["paper_scale"] for row in rows(output)} == {"True"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"training_episodes": 50_000}, "50,000 of 100,000 training episodes"),
        ({"test_users": 200}, "200 of 500 test users"),
        ({"logged_users": 2000}, "2,000 of 100,000 logged users"),
        ({"seeds": (1, 2)}, "2 of 10 seeds"),
    ],
)
def test_each_part_of_the_scale_counts(tmp_path, change, told):
    paths = write_all(tmp_path, ["focused_mix"], **{"seeds": TEN_SEEDS, **PAPER_SCALE, **change})
    assert scale_note(read_results(paths)) == f"Not the paper's scale: {told}. Not a reproduction."


def test_one_cell_short_of_seeds_marks_the_whole_table(tmp_path):
    paths = write_all(tmp_path, ["focused_mix"], seeds=TEN_SEEDS, **PAPER_SCALE)
    paths.remove(next(path for path in paths if "SlateQ" in str(path)))
    assert "9 to 10 of 10 seeds" in scale_note(read_results(paths))


# Statistics over environments


def statistic(output, name, method):
    (row,) = rows(output, statistic=name, method=method, environment="all")
    return row


def test_returns_are_normalised_by_random_and_the_ideal_in_each_environment(tmp_path):
    returns = {"Random": (30.0, 40.0), "SAC+TopK-ideal": (430.0, 240.0), "SAC+GeMS": (230.0, 90.0)}
    paths = [
        write_run(tmp_path, method, environment, value + shift, seed)
        for method, values in returns.items()
        for environment, value in zip(("focused_mix", "diffuse_mix"), values, strict=True)
        for seed, shift in ((1, -4.0), (2, 4.0))
    ]
    output = table("aggregate", paths, tmp_path)
    # (230 - 30) / 400 = 0.5 and (90 - 40) / 200 = 0.25; the shift of 4 is 0.01 and 0.02.
    assert float(statistic(output, "mean", "SAC+GeMS")["value"]) == pytest.approx(0.375)
    assert float(statistic(output, "iqm", "SAC+GeMS")["value"]) == pytest.approx((0.27 + 0.49) / 2)
    assert numbers(statistic(output, "mean", "SAC+GeMS"), "low", "high") == pytest.approx(
        [0.375 - 0.015, 0.375 + 0.015]
    )
    for method, value in (("Random", 0), ("SAC+TopK (ideal)", 1)):
        assert float(statistic(output, "mean", method)["value"]) == pytest.approx(value)
    wins = statistic(output, "probability_of_improvement", "Random")
    assert numbers(wins, "value", "low", "high") == [1, 1, 1]
    assert (wins["n_environments"], wins["n_runs"]) == ("2", "8")


def test_the_statistics_repeat_the_effect_sizes_and_p_values_of_table_2(tmp_path):
    paths = write_all(tmp_path, ["focused_mix"])
    aggregate = table("aggregate", paths, tmp_path)
    table2 = table("table2", paths, tmp_path)
    columns = {"welch_p": "p_value", "holm_p": "holm_p_value", "hedges_g": "hedges_g"}
    for name, column in columns.items():
        found = {row["method"]: row["value"] for row in rows(aggregate, statistic=name)}
        assert found == {row["method"]: row[column] for row in rows(table2) if row[column]}


def test_an_environment_in_which_the_ideal_is_no_better_than_random_is_left_out(tmp_path):
    higher = {"SAC+TopK-ideal": 1000}
    paths = write_all(tmp_path, ["focused_mix", "diffuse_mix"], offset=higher)
    for path in paths:
        if "TopK_ideal_diffuse" in str(path):
            path.write_text(json.dumps({**json.loads(path.read_text()), "test_return": 1.0}))
    output = table("aggregate", paths, tmp_path)
    assert statistic(output, "iqm", "SAC+GeMS")["n_environments"] == "1"
    assert statistic(output, "probability_of_improvement", "SlateQ")["n_environments"] == "2"


def test_statistics_without_the_normalisers_are_refused(tmp_path):
    paths = [write_run(tmp_path, "SAC+GeMS", "focused_mix", 300.0)]
    with pytest.raises(GemsError, match="results of Random are missing"):
        table("aggregate", paths, tmp_path)


# The audit


def audit_runs(folder, released, corrected, ours=(), method="SAC+WkNN", fidelity="released"):
    other = "paperbaseline" if fidelity == "released" else "releasedbaseline"
    sides = (released, "") if fidelity == "released" else (corrected, "")
    varied = corrected if fidelity == "released" else released
    paths = [
        write_run(folder, method, "focused_topdown", value, seed, variant, fidelity=fidelity)
        for values, variant in (sides, (varied, other))
        for seed, value in enumerate(values)
    ]
    return paths + [
        write_run(folder, "SAC+GeMS", "focused_topdown", value, seed)
        for seed, value in enumerate(ours)
    ]


@pytest.mark.parametrize("fidelity", ["released", "paper"])
def test_the_audit_tells_what_share_of_the_gap_the_faults_make(tmp_path, fidelity):
    released, corrected, ours = [98.0, 102.0], [148.0, 152.0], [299.0, 301.0]
    paths = audit_runs(tmp_path, released, corrected, ours, fidelity=fidelity)
    (row,) = rows(table("baseline_audit", paths, tmp_path))
    names = ("mean_released", "mean_paper", "difference", "gems_mean", "gap_released", "gap_paper")
    assert numbers(row, *names) == [100, 150, 50, 300, 200, 150]
    assert float(row["share_of_gap"]) == 0.25
    assert float(row["p_value"]) == pytest.approx(
        stats.ttest_ind(corrected, released, equal_var=False).pvalue, rel=1e-4
    )
    assert float(row["half_width_paper"]) == pytest.approx(2 * stats.t.ppf(0.975, 1), rel=1e-4)


def test_a_baseline_that_is_not_behind_has_no_share_of_a_gap(tmp_path):
    paths = audit_runs(tmp_path, [400.0], [500.0], [300.0])
    (row,) = rows(table("baseline_audit", paths, tmp_path))
    assert row["share_of_gap"] == ""


def test_the_published_gap_is_told_where_both_values_are_known(tmp_path):
    paths = audit_runs(tmp_path, [100.0], [120.0], [300.0], "REINFORCE+SoftMax")
    (row,) = rows(table("baseline_audit", paths, tmp_path))
    assert float(row["published_gap"]) == pytest.approx(305.3 - 248.1)


def test_an_audited_run_between_the_presets_is_refused(tmp_path):
    path = write_run(tmp_path, "SAC+WkNN", "focused_mix", 1.0, wknn={"credit": "chosen"})
    with pytest.raises(GemsError, match="follows neither preset"):
        table("baseline_audit", [path], tmp_path)


def test_an_audit_of_one_side_only_is_refused(tmp_path):
    path = write_run(tmp_path, "SAC+WkNN", "focused_mix", 1.0)
    with pytest.raises(GemsError, match="under both presets"):
        table("baseline_audit", [path], tmp_path)


def test_the_audits_variants_hold_every_fault_of_the_baselines_and_nothing_of_the_simulator():
    for variant, fidelity in BASELINES.items():
        faults = {
            (section, option): value
            for section, options in overrides_of(build({}), variant).items()
            for option, value in options.items()
            if option != "files"
        }
        assert faults == {
            place: values[fidelity]
            for place, values in presets().items()
            if place[0] in ("wknn", "slateq", "reinforce") or place == ("mf", "validation")
        }


# Table 1 and run times


def test_table_1_is_the_assumptions_of_the_specification(tmp_path):
    output = table("table1", [], tmp_path)
    found = {
        row["method"]: {name for name in ASSUMPTIONS if row[name] == "True"} for row in rows(output)
    }
    expected = {
        "REINFORCE+SoftMax": {"DQ", "1CL", "MI"},
        "SlateQ": {"DQ", "1CL", "CM"},
        "SAC+TopK (ideal)": {"DQ", "LD", "SP"},
        "SAC+TopK (MF)": {"DQ", "LD", "SP"},
        "SAC+WkNN": {"DQ", "LD", "SP", "EIB"},
        "SAC+GeMS": {"LD"},
    }
    assert expected.items() <= found.items()


def test_run_times_are_summed_up_by_method(tmp_path):
    paths = [
        write_run(tmp_path, "SlateQ", "focused_mix", 1.0, seed, seconds=seconds)
        for seed, seconds in ((1, 60), (2, 180))
    ]
    (row,) = rows(table("run_times", paths, tmp_path))
    names = ("runs", "mean_seconds", "least_seconds", "largest_seconds", "hours_in_all")
    assert numbers(row, *names) == pytest.approx([2, 120, 60, 180, 240 / 3600], rel=1e-4)


# All tables


@pytest.mark.parametrize("name", [x.name for x in catalogue.TABLES.values() if x.runs != "none"])
def test_no_results_or_a_wrong_name_of_the_output_are_refused(name, tmp_path):
    with pytest.raises(GemsError, match="needs results"):
        table(name, [], tmp_path)
    paths = write_all(tmp_path, ["focused_mix"])
    paths += [
        write_run(tmp_path, method, "focused_mix", 5.0, variant="paperbaseline")
        for method in ("SlateQ",)
    ]
    with pytest.raises(GemsError, match=r"ends in \.csv"):
        catalogue.write_table(name, paths, tmp_path / "table.md")


@pytest.mark.parametrize("name", list(catalogue.TABLES))
def test_the_same_results_give_the_same_bytes_in_any_order(name, tmp_path):
    paths = [] if name == "table1" else write_all(tmp_path, ["focused_mix", "diffuse_mix"])
    if name == "baseline_audit":
        paths.append(write_run(tmp_path, "SlateQ", "focused_mix", 5.0, 1, "paperbaseline"))
    for folder, results in (("a", paths), ("b", paths[::-1])):
        (tmp_path / folder).mkdir()
        table(name, results, tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("content", ["{", "[]", '{"variant": 3}', '{"started": "now"}'])
def test_a_damaged_provenance_is_told_with_its_path(tmp_path, content):
    path = write_run(tmp_path, "SlateQ", "focused_mix", 1.0)
    path.with_name("provenance.json").write_text(content)
    with pytest.raises(GemsError, match=r"provenance\.json") as raised:
        table("table2", [path], tmp_path)
    assert "\n" not in str(raised.value)
