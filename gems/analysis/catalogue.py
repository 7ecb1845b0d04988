"""Catalogue of tables and figures, for the workflow, the command line and ``gems verify``.

To add one, add an entry here and a module of the same name in ``gems.analysis.tables`` or
``gems.analysis.figures``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from gems.errors import GemsError

Kind = Literal["table", "figure"]
RunSet = Literal["main", "main+normalisers", "main+myopic", "figure2", "figure3", "audit", "none"]
Value = Literal["methods", "presets", "assumptions"]

# Categories of the report, by the first part of the number of an entry.
CATEGORIES = {
    "1": "1 · RQ1: SAC+GeMS against other methods",
    "2": "2 · RQ2: long-term against short-term reward",
    "3": "3 · RQ3: the loss of the slate VAE",
    "4": "4 · Audit of the baselines",
    "5": "5 · Methods and configuration",
    "6": "6 · Run times",
}


@dataclass(frozen=True)
class Entry:
    """A table or figure; its caption in the report is ``workflow/report/NAME.rst``.

    Attributes:
        number: position in the report.
        kind: table or figure; also the ``gems`` command that makes it.
        name: name of its files and module; a table and a figure may share it.
        title: heading.
        runs: the set of runs that it reads.
        reads: files of each run that it reads in addition to ``result.json``.
        more_formats: suffixes of a table in addition to CSV and HTML.
        depends_on: values of the registry and the presets that it shows.
    """

    number: str
    kind: Kind
    name: str
    title: str
    runs: RunSet
    reads: tuple[str, ...] = ()
    more_formats: tuple[str, ...] = ()
    depends_on: tuple[Value, ...] = ("methods",)

    @property
    def module(self) -> str:
        return f"gems.analysis.{self.kind}s.{self.name}"

    @property
    def path(self) -> Path:
        """Main file, relative to the results."""
        return Path(f"{self.name}.csv" if self.kind == "table" else f"figures/{self.name}.pdf")

    @property
    def shown(self) -> Path:
        """File that the report shows, relative to the results."""
        return self.path.with_suffix(".html" if self.kind == "table" else ".png")

    @property
    def files(self) -> list[Path]:
        """All files relative to the results, the main one first."""
        return [self.path, self.shown, *map(self.path.with_suffix, self.more_formats)]

    @property
    def rule(self) -> str:
        """Name of its rule, unique in the workflow."""
        is_plain = self.kind == "table" or self.name.startswith("figure")
        return self.name if is_plain else f"figure_{self.name}"

    @property
    def label(self) -> str:
        return f"{self.number} {self.title}"

    @property
    def category(self) -> str:
        return CATEGORIES[self.number.split(".")[0]]


IN_PAPER = (".md", ".tex")
AUDITED: tuple[Value, ...] = ("methods", "presets")
# In the order of the report; 5.2 is the configuration, which ``gems resolve`` writes.
ENTRIES = (
    Entry("1.1", "table", "table2", "Table 2", "main", (), IN_PAPER),
    Entry("1.2", "table", "table2_vs_paper", "Table 2 and reported values", "main+myopic"),
    Entry("1.3", "table", "aggregate", "Statistics over environments", "main+normalisers"),
    Entry("1.4", "figure", "aggregate", "Statistics over environments, plot", "main+normalisers"),
    Entry("1.5", "figure", "learning_curves", "Learning curves", "main", ("curve.csv",)),
    Entry("2.1", "figure", "figure2", "Figure 2: scores of items", "figure2", ("scores.csv",)),
    Entry("2.2", "figure", "turns", "Boredom and diversity over turns", "main", ("turns.csv",)),
    Entry("3.1", "figure", "figure3", "Figure 3: beta and lambda", "figure3"),
    Entry("4.1", "table", "baseline_audit", "Audit of the baselines", "audit", (), (), AUDITED),
    Entry(
        "4.2", "figure", "baseline_audit", "Audit of the baselines, plot", "audit", (), (), AUDITED
    ),
    Entry("5.1", "table", "table1", "Table 1: assumptions", "none", (), IN_PAPER, ("assumptions",)),
    Entry("6.1", "table", "run_times", "Run times", "main"),
)
TABLES = {entry.name: entry for entry in ENTRIES if entry.kind == "table"}
FIGURES = {entry.name: entry for entry in ENTRIES if entry.kind == "figure"}


def modules(entry: Entry) -> tuple[str, ...]:
    """Modules whose code, with their imports, makes a table or figure."""
    writer = "gems.analysis.layout" if entry.kind == "table" else "gems.analysis.style"
    return entry.module, "gems.analysis.runs", writer


def write_table(name: str, results: Sequence[Path], output: Path) -> list[Path]:
    """Write the table ``name`` to the CSV file ``output``, and other formats beside it.

    Returns:
        The files written.

    Raises:
        GemsError: a result is missing or not valid.
    """
    from gems.analysis.layout import write

    entry = TABLES[name]
    tidy, sheet = _make(entry, results)
    suffixes = [path.suffix for path in entry.files[1:]]
    return write(output, entry.title, tidy, sheet, suffixes)


def draw_figure(name: str, results: Sequence[Path], output: Path) -> list[Path]:
    """Draw the figure ``name`` to the PDF file ``output``, and a PNG beside it.

    Returns:
        Both files.

    Raises:
        GemsError: a result, or a file beside it, is missing or not valid.
    """
    from gems.analysis.style import save, styled

    with styled():
        return save(_make(FIGURES[name], results), output)


def _make(entry: Entry, results: Sequence[Path]) -> Any:
    from gems.analysis.runs import read_results

    if entry.runs == "none" and results:
        raise GemsError(f"{entry.title!r} takes no results; leave them out.")
    if entry.runs != "none" and not results:
        raise GemsError(f"{entry.title!r} needs results; name the result.json of each run.")
    return import_module(entry.module).make(read_results(results))
