"""The tables and figures by name, each imported when it is made."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

# ``module:function`` that takes result files and the CSV file to write.
TABLES = {
    "table2": "gems.analysis.tables:write_table2",
    "table2_vs_paper": "gems.analysis.versus_paper:write_versus_paper",
    "table1": "gems.analysis.table1:write_table1",
    "aggregate": "gems.analysis.aggregate:write_aggregate",
    "baseline_audit": "gems.analysis.audit:write_audit",
    "run_times": "gems.analysis.run_times:write_run_times",
}
# ``module:function`` that takes runs and gives the figure.
FIGURES = {
    "figure2": "gems.analysis.figure2:draw",
    "figure3": "gems.analysis.figure3:draw",
    "learning_curves": "gems.analysis.learning_curves:draw",
    "turns": "gems.analysis.turns:draw",
    "aggregate": "gems.analysis.aggregate_figure:draw",
    "baseline_audit": "gems.analysis.audit_figure:draw",
}
# Files beside the results that a figure reads.
DRAWN_FROM = {
    "figure2": ["scores.csv"],
    "learning_curves": ["curve.csv"],
    "turns": ["turns.csv"],
}


def modules(entry: str) -> tuple[str, ...]:
    """Modules whose code makes a table or figure, for the digest of a rule."""
    drawn = ("gems.analysis.style",) if entry in FIGURES.values() else ()
    return entry.split(":")[0], *drawn


def write_table(name: str, results: Sequence[Path], output: Path) -> list[Path]:
    """Write the table ``name`` to the CSV file ``output``, other formats beside it.

    Returns:
        The files.

    Raises:
        GemsError: a result cannot be used, or one is missing.
    """
    module, function = TABLES[name].split(":")
    files: list[Path] = getattr(import_module(module), function)(results, output)
    return files


def draw_figure(name: str, results: Sequence[Path], output: Path) -> list[Path]:
    """Draw the figure ``name`` to the PDF file ``output``, with a PNG beside it.

    Returns:
        Both files.

    Raises:
        GemsError: a result or a file beside it cannot be used, or one is missing.
    """
    from gems.analysis.runs import read_results
    from gems.analysis.style import save, styled

    module, function = FIGURES[name].split(":")
    with styled():
        return save(getattr(import_module(module), function)(read_results(results)), output)
