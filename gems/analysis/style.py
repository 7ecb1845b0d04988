"""One look for all figures: colour-blind-safe, told apart in grey too, readable in print."""

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from gems.errors import GemsError
from gems.files import written_whole
from gems.registry import ENVIRONMENTS, METHODS

# One and two columns of a paper, in inches.
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


class Look(NamedTuple):
    """How one method is drawn, in every figure."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]
    hatch: str


# Okabe and Ito's palette, with grey in place of its yellow, which vanishes in print.
LOOKS: dict[str, Look] = {
    "ShortTermOracle": Look("#000000", "x", (0, (1, 1.2)), "xx"),
    "SAC+TopK-ideal": Look("#0072B2", "s", (0, (5, 1.5)), "//"),
    "SlateQ": Look("#009E73", "^", (0, (3, 1, 1, 1)), "\\\\"),
    "Random": Look("#888888", "+", (0, (1, 2.5)), "++"),
    "REINFORCE+SoftMax": Look("#E69F00", "v", (0, (6, 1, 1, 1)), ".."),
    "SAC+WkNN": Look("#CC79A7", "D", (0, (3, 1.5)), "--"),
    "SAC+TopK-MF": Look("#56B4E9", "P", (0, (7, 1, 1, 1, 1, 1)), "||"),
    "SAC+GeMS": Look("#D55E00", "o", "-", ""),
}


def look(method: str) -> Look:
    """The look of a method of the registry; one that is added later is drawn in purple."""
    return LOOKS.get(method, Look("#7B3294", "*", "--", "oo"))


def label(method: str) -> str:
    """The name of a method in figures."""
    return METHODS[method].label


def environment_title(name: str) -> str:
    """The name of an environment as a title: ``Focused, TopDown``."""
    kinds = {"topdown": "TopDown", "mix": "Mixed", "divpen": "DivPen"}
    _, click_model = name.split("_")
    return f"{ENVIRONMENTS[name].embedding.title()}, {kinds.get(click_model, click_model)}"


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of this module, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]
        yield


def new_figure(width: float, height: float, note: str) -> Figure:
    """A figure in inches that keeps its lowest strip for ``note``, the scale of the runs."""
    lines = textwrap.wrap(note, int(width * NOTE_LETTERS_PER_INCH))
    strip = (len(lines) * NOTE_LINE_INCHES + 0.1) / height if lines else 0
    figure = Figure(
        figsize=(width, height), layout=ConstrainedLayoutEngine(rect=(0, strip, 1, 1 - strip))
    )
    if lines:
        text = figure.text(0.05 / width, 0.05 / height, "\n".join(lines), va="bottom")
        text.set(color=NOTE_COLOUR, size=6.5, style="italic")
    return figure


def method_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend above all panels, the methods in the order of Table 2."""
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    ordered = {x.label: entries[x.label] for x in METHODS.values() if x.label in entries}
    columns = 4 if len(ordered) > 3 else len(ordered)
    figure.legend(
        list(ordered.values()),
        list(ordered),
        loc="outside upper center",
        ncols=columns,
        handlelength=3.2,
    )


def from_zero(panels: Iterable[Axes]) -> None:
    """Let the vertical axes start at 0; to be called when all panels are drawn.

    A limit that is set earlier would stop axes that share it from growing with later panels.
    """
    for axes in panels:
        axes.set_ylim(bottom=0)


def save(figure: Figure, output: Path) -> list[Path]:
    """Write a figure as vector PDF to ``output`` and as PNG beside it, without dates.

    Returns:
        Both files.

    Raises:
        GemsError: ``output`` is not named .pdf.
    """
    if output.suffix != ".pdf":
        raise GemsError(f"Figures are written to a file that ends in .pdf, not to {output}.")
    _settle(figure)
    with written_whole(output.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    with written_whole(output) as temporary:
        metadata = dict.fromkeys(["CreationDate", "ModDate", "Producer", "Creator"])
        figure.savefig(temporary, format="pdf", metadata=metadata)
    return [output, output.with_suffix(".png")]


def _settle(figure: Figure) -> None:
    """Lay the figure out once and for all, rounding away the noise of the constraint solver."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position().get_points().round(6)))
