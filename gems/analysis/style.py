"""Common style of all figures: safe for colour blindness, grey-scale and print."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from gems.analysis.names import environment_title, label, order_of_methods
from gems.errors import GemsError
from gems.methods import METHODS, Look
from gems.runtime.files import written_whole

# Width of two columns of a paper, in inches.
PAGE = 7.2
DPI = 200
NOTE_COLOUR = "#a33c00"
NOTE_LINE_INCHES, NOTE_LETTERS_PER_INCH = 0.11, 20

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.dpi": DPI,
    "pdf.fonttype": 42,
    "svg.hashsalt": "gems",
}

# For methods without a look of their own: 60 combinations.
SPARE_COLOURS = ("#7B3294", "#8C510A", "#B2182B", "#01665E")
SPARE_MARKERS = ("*", "h", "<", ">", "p")
SPARE_LINES = ("--", "-.", ":")
SPARE_HATCHES = ("oo", "**", "xx..", "//++")


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """The look of each method; methods without their own get a spare one.

    Spare looks are assigned in the order of the registry, so that a registered method looks the
    same in all figures, then to methods that are not registered.
    """
    methods = order_of_methods(methods)
    own = {name: method.look for name, method in METHODS.items() if method.look}
    without = [name for name in [*METHODS, *methods] if name not in own]
    spare = {name: _spare(place) for place, name in enumerate(dict.fromkeys(without))}
    return {name: own.get(name) or spare[name] for name in methods}


def by_method(runs: pd.DataFrame, environment: str) -> Iterator[tuple[str, Look, pd.DataFrame]]:
    """Label, look and runs of each method with runs in an environment."""
    for method, look in looks(runs["method"]).items():
        cell = runs[(runs["method"] == method) & (runs["environment"] == environment)]
        if len(cell):
            yield label(method), look, cell


def _spare(place: int) -> Look:
    parts = (SPARE_COLOURS, SPARE_MARKERS, SPARE_LINES, SPARE_HATCHES)
    return Look(*(part[place % len(part)] for part in parts))


@contextmanager
def styled() -> Iterator[None]:
    """Use the style of this module, regardless of the user's settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]
        yield


def new_figure(width: float, height: float, note: str) -> Figure:
    """A figure (sizes in inches) with ``note``, the scale of the runs, at the bottom."""
    lines = textwrap.wrap(note, int(width * NOTE_LETTERS_PER_INCH))
    strip = (len(lines) * NOTE_LINE_INCHES + 0.1) / height if lines else 0
    figure = Figure(
        figsize=(width, height), layout=ConstrainedLayoutEngine(rect=(0, strip, 1, 1 - strip))
    )
    if lines:
        text = figure.text(0.05 / width, 0.05 / height, "\n".join(lines), va="bottom")
        text.set(color=NOTE_COLOUR, size=6.5, style="italic")
    return figure


def environment_grid(
    environments: Sequence[str], row_height: float, margin: float, note: str, **shared: Any
) -> tuple[Figure, NDArray[Any]]:
    """A figure with a titled panel per environment, three per row, and the panels.

    Heights are in inches; ``shared`` are arguments of ``Figure.subplots``.
    """
    columns = min(3, len(environments))
    rows = -(-len(environments) // columns)
    figure = new_figure(PAGE, margin + row_height * rows, note)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes, environment in zip(grid.flat, environments, strict=False):
        axes.set_title(environment_title(environment))
    for axes in grid.flat[len(environments) :]:
        axes.set_axis_off()
    return figure, grid


def method_legend(figure: Figure, panels: Iterable[Axes], runs: pd.DataFrame) -> None:
    legend(figure, panels, map(label, order_of_methods(runs["method"])))


def legend(figure: Figure, panels: Iterable[Axes], labels: Iterable[str]) -> None:
    """Add a legend above all panels, with those of ``labels`` that were drawn."""
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    shown = [name for name in labels if name in entries]
    figure.legend(
        [entries[name] for name in shown],
        shown,
        loc="outside upper center",
        ncols=min(4, len(shown)),
        handlelength=3.2,
    )


def from_zero(panels: Iterable[Axes]) -> None:
    """Start the vertical axes at 0. Call it after all panels are drawn.

    A limit that is set earlier would keep shared axes from growing with later panels.
    """
    for axes in panels:
        axes.set_ylim(bottom=0)


def save(figure: Figure, output: Path) -> list[Path]:
    """Write a figure as vector PDF to ``output`` and as PNG beside it, without dates.

    Returns:
        Both files.

    Raises:
        GemsError: ``output`` does not end in .pdf.
    """
    if output.suffix != ".pdf":
        raise GemsError(f"A figure needs an output that ends in .pdf, not {output}.")
    _fix_layout(figure)
    with written_whole(output.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    with written_whole(output) as temporary:
        metadata = dict.fromkeys(["CreationDate", "ModDate", "Producer", "Creator"])
        figure.savefig(temporary, format="pdf", metadata=metadata)
    return [output, output.with_suffix(".png")]


def _fix_layout(figure: Figure) -> None:
    """Lay out the figure once, and round off the noise of the constraint solver."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position().get_points().round(6)))
