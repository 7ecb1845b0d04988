"""Figures show the numbers of their runs, mark their scale and are the same bytes each time."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic import PAPER_SCALE, write_all, write_run

from gems.analysis import catalogue, style
from gems.analysis.figures import figure2, figure3, learning_curves, turns
from gems.analysis.runs import read_results
from gems.config import paper
from gems.config.paper import ENVIRONMENTS
from gems.errors import GemsError
from gems.methods import METHODS

ENVS = ["focused_topdown", "diffuse_mix"]


def runs_of(name, folder, seeds=(1, 2), environments=ENVS, **scale):
    """Result files from which the figure ``name`` can be drawn."""
    if name == "figure2":
        paths = [
            write_run(folder, "SAC+GeMS", environments[0], 300.0, 1, variant, **scale)
            for variant in ("", "gamma0.0")
        ]
        return [*paths, write_run(folder, "ShortTermOracle", environments[0], 107.0, **scale)]
    if name == "figure3":
        vaes = [{"beta": beta} for beta in (0.1, 1.0)]
        vaes += [{"lambda_click": click} for click in (0.0, 0.2)]
        return [
            write_run(
                folder, "SAC+GeMS", "focused_topdown", 100.0 + i, seed, variant, vae=vae, **scale
            )
            for i, vae in enumerate(vaes)
            for seed in seeds
            for variant in ("", "latentdim16")
        ]
    paths = write_all(folder, environments, seeds, **scale)
    if name == "baseline_audit":
        paths += [
            write_run(folder, method, environment, 250.0, seed, "paperbaseline", **scale)
            for method in ("SlateQ", "SAC+WkNN", "REINFORCE+SoftMax")
            for environment in environments
            for seed in seeds
        ]
    return paths


def drawn(name, paths, folder):
    """The figure as matplotlib objects, and the path of its PDF."""
    kept = []
    save, output = style.save, folder / f"{name}.pdf"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", lambda figure, out: (kept.append(figure), save(figure, out)))
        catalogue.draw_figure(name, paths, output)
    return kept[0], output


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    """Each figure of runs in all environments, drawn once: name -> (figure, its PDF, results)."""

    @cache
    def draw(name):
        folder = tmp_path_factory.mktemp(name)
        paths = runs_of(name, folder, environments=list(ENVIRONMENTS))
        return *drawn(name, paths, folder), paths

    return draw


def texts(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


@pytest.mark.parametrize("name", list(catalogue.FIGURES))
def test_every_figure_is_a_pdf_and_a_png_and_the_same_bytes_each_time(name, laptop, tmp_path):
    _, first, paths = laptop(name)
    again = tmp_path / "again.pdf"
    catalogue.draw_figure(name, paths, again)
    for suffix, magic in ((".pdf", b"%PDF"), (".png", b"\x89PNG")):
        a, b = (path.with_suffix(suffix).read_bytes() for path in (first, again))
        assert a.startswith(magic)
        assert a == b
    assert b"CreationDate" not in first.read_bytes()


@pytest.mark.parametrize("name", list(catalogue.FIGURES))
def test_every_figure_of_another_scale_says_so_and_none_of_the_papers(name, laptop, tmp_path):
    small = laptop(name)[0]
    assert "Not the paper's scale: 200 of 100,000 training episodes" in texts(small)
    assert "Not a reproduction." in texts(small)
    paths = runs_of(name, tmp_path, range(10), ["focused_topdown"], **PAPER_SCALE)
    large, _ = drawn(name, paths, tmp_path)
    assert "scale" not in texts(large)


@pytest.mark.parametrize("name", list(catalogue.FIGURES))
def test_nothing_in_a_figure_lies_over_the_note_or_outside_the_page(name, laptop):
    figure = laptop(name)[0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    note = next(text for text in figure.texts if "scale" in text.get_text())
    box, page = note.get_window_extent(renderer), figure.bbox
    assert page.x0 <= box.x0
    assert box.x1 <= page.x1
    for axes in figure.axes:
        if axes.axison:
            tight = axes.get_tightbbox(renderer)
            assert tight.y0 >= box.y1
            assert tight.x1 <= page.x1 + 1
            assert tight.y1 <= page.y1 + 1


@pytest.mark.parametrize("name", list(catalogue.FIGURES))
def test_nothing_that_is_drawn_is_cut_off(name, laptop):
    """Returns rise from one environment to the next, so that later panels reach higher."""
    figure = laptop(name)[0]
    for axes in (axes for axes in figure.axes if axes.axison):
        low, high = sorted(axes.get_ylim())
        for line in axes.lines:
            heights = np.asarray(line.get_ydata(), dtype=float)
            if line.get_transform().contains_branch_seperately(axes.transData)[1]:
                assert low <= np.nanmin(heights)
                assert np.nanmax(heights) < high or name == "aggregate"
        for bar in axes.patches:
            assert bar.get_y() + bar.get_height() <= high


@pytest.mark.parametrize("name", list(catalogue.FIGURES))
def test_every_axis_of_numbers_has_a_label(name, laptop):
    figure = laptop(name)[0]
    assert any(axes.get_xlabel() for axes in figure.axes) or name == "baseline_audit"
    named = [axes.get_ylabel() for axes in figure.axes] + [figure.get_supylabel()]
    assert any(named) or name == "aggregate"
    units = [label for label in named if "return" in label or "Reward" in label]
    assert all("[clicks" in label for label in units)


def test_a_figure_does_not_depend_on_the_users_own_style(tmp_path, monkeypatch):
    import matplotlib as mpl

    paths = runs_of("learning_curves", tmp_path)
    catalogue.draw_figure("learning_curves", paths, tmp_path / "a.pdf")
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9)
    monkeypatch.setitem(mpl.rcParams, "font.size", 20)
    catalogue.draw_figure("learning_curves", paths, tmp_path / "b.pdf")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert mpl.rcParams["lines.linewidth"] == 9


def test_methods_are_told_apart_by_colour_and_without_it():
    for part in ("colour", "marker", "line", "hatch"):
        looks = [METHODS[name].look for name in paper.METHODS]
        assert len({getattr(look, part) for look in looks}) == len(looks)
    assert len(set(style.looks(METHODS).values())) == len(METHODS)


def test_added_methods_are_told_apart_from_each_other_and_from_all_others():
    added = [f"Added{n}" for n in range(12)]
    looks = style.looks([*METHODS, *added])
    assert len(set(looks.values())) == len(METHODS) + len(added)
    for part in ("colour", "marker"):
        one, two = (getattr(looks[name], part) for name in added[:2])
        assert one != two
        assert not {one, two} & {getattr(looks[name], part) for name in METHODS}


def test_a_registered_method_without_a_look_keeps_its_spare_one_in_every_figure(monkeypatch):
    monkeypatch.setitem(style.METHODS, "Ninth", style.METHODS["SlateQ"])
    alone = style.looks(["Ninth"])["Ninth"]
    assert style.looks(["Ninth", "Aardvark", "SlateQ"])["Ninth"] == alone
    assert style.looks(["Aardvark"])["Aardvark"] != alone


# Figure 2


def test_figure_2_shares_are_of_all_items_and_sum_to_100():
    scores = pd.DataFrame(
        [(0.27, 0, 30), (0.28, 0, 10), (0.29, 7, 40), (0.05, 3, 20)],
        columns=["score_from", "bored_topics", "count"],
    )
    table = figure2.shares(scores)
    assert table.to_numpy().sum() == pytest.approx(100)
    edges = table.index.to_numpy()
    assert table.loc[edges[np.isclose(edges, 0.26)], 0].item() == 30
    assert table.loc[edges[np.isclose(edges, 0.28)], 0].item() == 10
    assert table.loc[edges[np.isclose(edges, 0.28)], 3].item() == 40
    assert table.loc[edges[np.isclose(edges, 0.04)], 3].item() == 20


def test_figure_2_has_the_oracle_then_the_far_sighted_then_the_myopic_agent(laptop):
    figure = laptop("figure2")[0]
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    assert titles == ["Short-term oracle", "SAC+GeMS, γ = 0.8", "SAC+GeMS, γ = 0"]
    for axes in figure.axes:
        across = [line.get_xdata()[0] for line in axes.lines]
        assert across == pytest.approx([0.28, (0.31 + 0.305) / 4])


def test_figure_2_of_other_runs_is_refused(tmp_path):
    path = write_run(tmp_path, "SAC+GeMS", "focused_mix", 300.0)
    with pytest.raises(GemsError, match="Figure 2 needs one run of ShortTermOracle"):
        catalogue.draw_figure("figure2", [path], tmp_path / "f.pdf")


# Figure 3


def test_figure_3_fixes_the_other_option_and_averages_over_seeds(tmp_path):
    runs = figure3.with_vae(read_results(runs_of("figure3", tmp_path)))
    beta, click = figure3.SWEEPS
    assert (figure3.fixed_value(runs, beta), figure3.fixed_value(runs, click)) == (0.5, 1.0)
    table = figure3.points(runs, beta)
    assert sorted(zip(table["latent_dim"], table["value"], strict=True)) == [
        (16, 0.1),
        (16, 1.0),
        (32, 0.1),
        (32, 1.0),
    ]
    assert table[table["value"] == 1.0]["mean"].tolist() == [102.0, 102.0]
    assert figure3.points(runs, click)["value"].tolist() == [0.0, 0.2, 0.5] * 2


def test_a_run_without_its_configuration_is_refused_by_figure_3(tmp_path):
    path = write_run(tmp_path, "SAC+GeMS", "focused_mix", 300.0)
    path.with_name("provenance.json").unlink()
    with pytest.raises(GemsError, match=r"lacks vae\.beta"):
        catalogue.draw_figure("figure3", [path], tmp_path / "f.pdf")


# Curves


def test_a_learning_curve_is_the_mean_and_the_range_over_seeds(tmp_path):
    for seed, value in ((1, 100.0), (2, 200.0), (3, 600.0)):
        write_run(tmp_path, "SlateQ", "focused_mix", value, seed)
    table = learning_curves.curve(read_results(sorted(tmp_path.glob("runs/*/result.json"))))
    assert table.index.tolist() == [50, 100, 150, 200]
    assert table.loc[200].tolist() == [300.0, 100.0, 600.0]


def test_turns_are_averaged_over_seeds(tmp_path):
    for seed, value in ((1, 100.0), (2, 300.0)):
        write_run(tmp_path, "SlateQ", "focused_mix", value, seed)
    table = turns.by_turn(read_results(sorted(tmp_path.glob("runs/*/result.json"))))
    assert table["reward"].tolist() == [20.0] * 10
    assert table["bored_topics"].tolist() == pytest.approx([i / 10 for i in range(1, 11)])


def test_the_number_of_topics_in_labels_is_that_of_the_simulator():
    assert "of 10" in turns.FIGURES["bored_topics"]


@pytest.mark.parametrize(
    ("name", "file"), [("turns", "turns.csv"), ("learning_curves", "curve.csv")]
)
def test_a_missing_or_damaged_file_of_a_run_is_told_with_its_path(name, file, tmp_path):
    path = write_run(tmp_path, "SlateQ", "focused_mix", 1.0)
    for content in ("", "a,b\n1,2\n", None):
        if content is None:
            path.with_name(file).unlink()
        else:
            path.with_name(file).write_text(content)
        with pytest.raises(GemsError, match=file) as raised:
            catalogue.draw_figure(name, [path], tmp_path / "f.pdf")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", list(catalogue.FIGURES))
def test_no_runs_or_a_wrong_name_of_the_output_are_refused(name, tmp_path):
    with pytest.raises(GemsError, match="needs results"):
        catalogue.draw_figure(name, [], tmp_path / "f.pdf")
    with pytest.raises(GemsError, match=r"ends in \.pdf"):
        catalogue.draw_figure(name, runs_of(name, tmp_path), tmp_path / "f.png")
