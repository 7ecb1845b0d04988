"""Tables as CSV, Markdown, LaTeX and HTML."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gems.errors import GemsError
from gems.files import written_whole

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; margin: 1.5em; }
table { border-collapse: collapse; border-top: 2px solid #222; border-bottom: 2px solid #222; }
th, td { padding: .25em .6em; text-align: left; vertical-align: top; max-width: 45em; }
th { border-bottom: 1px solid #222; }
.number { text-align: right; white-space: nowrap; }
tr.group td { font-style: italic; padding-top: .8em; }
p { max-width: 60em; }
p.scale { font-weight: bold; color: #a33c00; }
"""

_NUMBER = re.compile(r"|[-+]?[\d.,]+(e-\d+| ± [\d.,]+| to -?[\d.,]+|%)?|x")


@dataclass(frozen=True)
class Cell:
    """One cell of a table for people, and its marks."""

    text: str
    bold: bool = False
    dagger: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table for people.

    Attributes:
        title: heading; that of a table of the paper ends in its number.
        columns: heads of the columns.
        groups: (name of a group, or "" for none; its rows of cells).
        caption: what the figures are.
        scale: the sentence of ``scale_note``.
    """

    title: str
    columns: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]]
    caption: str
    scale: str = ""


def write(output: Path, tidy: pd.DataFrame, sheet: Sheet, *suffixes: str) -> list[Path]:
    """Write ``tidy`` as CSV to ``output``, and ``sheet`` beside it by suffix, the CSV last.

    Returns:
        The files, that of ``output`` first.

    Raises:
        GemsError: ``output`` is not named .csv.
    """
    if output.suffix != ".csv":
        raise GemsError(f"{sheet.title} is written to a file that ends in .csv, not to {output}.")
    render = {".md": to_markdown, ".tex": to_latex, ".html": to_html}
    for suffix in suffixes:
        with written_whole(output.with_suffix(suffix)) as temporary:
            temporary.write_text(render[suffix](sheet))
    with written_whole(output) as temporary:
        tidy.to_csv(temporary, index=False, float_format="%.6g")
    return [output, *(output.with_suffix(suffix) for suffix in suffixes)]


def sheet_of(title: str, table: pd.DataFrame, caption: str, scale: str = "") -> Sheet:
    """A sheet of a data frame as it is, by the rules of ``shown``."""
    rows = [[Cell(shown(value)) for value in row] for row in table.itertuples(index=False)]
    return Sheet(title, [str(c).replace("_", " ") for c in table], [("", rows)], caption, scale)


def shown(value: object, digits: int = 4) -> str:
    """A value in a table for people: significant digits, and nothing where nothing is known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.{digits}g}" if isinstance(value, float) else str(value)


def interval(mean: float, half_width: float) -> str:
    """``mean ± half-width``, or the mean alone where one seed tells no more."""
    return f"{mean:.1f}" if math.isnan(half_width) else f"{mean:.1f} ± {half_width:.1f}"


def to_markdown(sheet: Sheet) -> str:
    """A pipe table with its caption below."""

    def marked(cell: Cell) -> str:
        text = f"**{cell.text}**" if cell.bold else cell.text
        return f"{text} †" if cell.dagger else text

    n = len(sheet.columns) - 1
    lines = [f"| {' | '.join(sheet.columns)} |", "| --- |" + " ---: |" * n]
    for name, rows in sheet.groups:
        if name:
            lines.append(f"| **{name}** |" + " |" * n)
        lines += [f"| {' | '.join(map(marked, row))} |" for row in rows]
    return "\n".join([*lines, "", " ".join(filter(None, [sheet.caption, sheet.scale])), ""])


def to_latex(sheet: Sheet) -> str:
    """A whole document with a booktabs table, so that it compiles as it is."""

    def marked(cell: Cell) -> str:
        text = _escaped(cell.text)
        text = rf"\textbf{{{text}}}" if cell.bold else text
        return rf"{text}$^{{\dagger}}$" if cell.dagger else text

    n = len(sheet.columns)
    lines = [
        r"\documentclass[a4paper,landscape]{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[margin=1.5cm]{geometry}",
        r"\usepackage{booktabs}",
        r"\begin{document}",
        rf"\renewcommand{{\thetable}}{{{sheet.title.split()[-1]}}}",
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{_escaped(' '.join(filter(None, [sheet.caption, sheet.scale])))}}}",
        rf"\begin{{tabular}}{{l{'r' * (n - 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, sheet.columns)) + r" \\",
    ]
    for name, rows in sheet.groups:
        lines.append(r"\midrule")
        if name:
            lines.append(rf"\multicolumn{{{n}}}{{l}}{{\textit{{{_escaped(name)}}}}} \\")
        lines += [" & ".join(map(marked, row)) + r" \\" for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", r"\end{document}", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    marks = {"±": r"$\pm$", "†": r"$\dagger$", "γ": r"$\gamma$", "β": r"$\beta$", "λ": r"$\lambda$"}
    for mark, command in marks.items():
        text = text.replace(mark, command)
    return text


def to_html(sheet: Sheet) -> str:
    """A page that stands alone."""

    def marked(cell: Cell) -> str:
        text = html.escape(cell.text)
        text = f"<b>{text}</b>" if cell.bold else text
        return f"{text}&nbsp;†" if cell.dagger else text

    cells = [row for _, rows in sheet.groups for row in rows]
    numeric = [
        all(_NUMBER.fullmatch(row[i].text) for row in cells) for i in range(len(sheet.columns))
    ]
    kind = [' class="number"' if right else "" for right in numeric]

    def line(tag: str, texts: Sequence[str]) -> str:
        parts = [f"<{tag}{k}>{text}</{tag}>" for k, text in zip(kind, texts, strict=True)]
        return "<tr>" + "".join(parts) + "</tr>"

    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(sheet.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(sheet.title)}</h1>",
        f'<p class="scale">{html.escape(sheet.scale)}</p>' if sheet.scale else "",
        "<table>" + line("th", [html.escape(column) for column in sheet.columns]),
    ]
    for name, rows in sheet.groups:
        if name:
            span = len(sheet.columns)
            lines.append(f'<tr class="group"><td colspan="{span}">{html.escape(name)}</td></tr>')
        lines += [line("td", [marked(cell) for cell in row]) for row in rows]
    lines += ["</table>", f"<p>{html.escape(sheet.caption)}</p></body></html>", ""]
    return "\n".join(lines)
