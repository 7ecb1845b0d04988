"""Tables as CSV, Markdown, LaTeX and HTML."""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from gems.errors import GemsError
from gems.runtime.files import written_whole

BOLD, ITALIC = "font-weight: bold", "font-style: italic"

HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.45 system-ui, sans-serif; color: #222; margin: 1.5em; }}
table {{ border-collapse: collapse; border-top: 2px solid #222; border-bottom: 2px solid #222; }}
th, td {{ padding: .25em .6em; text-align: left; vertical-align: top; max-width: 45em; }}
th {{ border-bottom: 1px solid #222; }}
:is(th, td):nth-child(n + {first}) {{ text-align: right; white-space: nowrap; }}
p {{ max-width: 60em; }}
p.scale {{ font-weight: bold; color: #a33c00; }}
</style></head><body>
<h1>{title}</h1>
{scale}{table}<p>{caption}</p>
</body></html>
"""
# A complete document, so that it compiles on its own.
LATEX = r"""\documentclass[a4paper,landscape]{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=1.5cm]{geometry}
\usepackage{booktabs}
\begin{document}
\renewcommand{\thetable}{NUMBER}
TABLE\end{document}
"""
SIGNS = str.maketrans(
    {"±": r"$\pm$", "†": r"$\dagger$", "β": r"$\beta$", "γ": r"$\gamma$", "λ": r"$\lambda$"}
)


@dataclass(frozen=True)
class Sheet:
    """A table for display.

    Attributes:
        cells: formatted cells, with the titles of the columns.
        caption: meaning of the numbers.
        scale: result of ``scale_note``.
        text_columns: number of leading columns with text; the others are aligned right.
        groups: group of each row, if any; the rows of a group are adjacent.
        bold: mask of bold cells, if any.
        title: heading; for tables of the paper, it starts with the number.
    """

    cells: pd.DataFrame
    caption: str
    scale: str = ""
    text_columns: int = 1
    groups: pd.Series | None = None
    bold: pd.DataFrame | None = None
    title: str = ""


def write(
    output: Path, title: str, tidy: pd.DataFrame, sheet: Sheet, suffixes: Iterable[str]
) -> list[Path]:
    """Write ``sheet`` in the formats ``suffixes`` beside ``output``, then ``tidy`` as CSV to it.

    Returns:
        The files written, ``output`` first.

    Raises:
        GemsError: ``output`` does not end in .csv.
    """
    if output.suffix != ".csv":
        raise GemsError(f"{title!r} needs an output that ends in .csv, not {output}.")
    render = {".md": to_markdown, ".tex": to_latex, ".html": to_html}
    others = [output.with_suffix(suffix) for suffix in suffixes]
    for path in others:
        with written_whole(path) as temporary:
            temporary.write_text(render[path.suffix](replace(sheet, title=title)))
    with written_whole(output) as temporary:
        tidy.to_csv(temporary, index=False, float_format="%.6g")
    return [output, *others]


def formatted(values: pd.Series, form: str) -> pd.Series:
    """Numbers as text; empty for NaN, and never a negative zero."""
    form = f"+z{form[1:]}" if form.startswith("+") else f"z{form}"
    return values.astype(float).map(lambda value: "" if pd.isna(value) else f"{value:{form}}")


def intervals(means: pd.Series, half_widths: pd.Series) -> pd.Series:
    """``mean ± half-width``, or the mean alone if there is no interval."""
    widths = formatted(half_widths, ".1f")
    return formatted(means, ".1f") + (" ± " + widths).where(widths != "", "")


def to_markdown(sheet: Sheet) -> str:
    """A Markdown table, followed by its caption."""
    cells, marks = _with_groups(sheet)
    cells = cells.mask(marks != "", "**" + cells + "**")
    others = len(cells.columns) - sheet.text_columns
    aligned = [*["left"] * sheet.text_columns, *["right"] * others]
    table = cells.to_markdown(index=False, disable_numparse=True, colalign=aligned)
    return f"{table}\n\n{sheet.caption} {sheet.scale}".rstrip() + "\n"


def to_latex(sheet: Sheet) -> str:
    """A LaTeX document with a booktabs table."""
    others = len(sheet.cells.columns) - sheet.text_columns
    caption = f"{sheet.caption} {sheet.scale}".rstrip()
    table = _styler(sheet, "latex").to_latex(
        caption=re.sub(r"([&%$#_{}])", r"\\\1", caption),
        column_format="l" * sheet.text_columns + "r" * others,
        position_float="centering",
        hrules=True,
        convert_css=True,
    )
    number = re.sub(r"^Table (\w+).*", r"\1", sheet.title)
    return LATEX.replace("NUMBER", number).replace("TABLE", table.translate(SIGNS))


def to_html(sheet: Sheet) -> str:
    table = _styler(sheet, "html").to_html(table_uuid="table")
    title, caption, scale = map(html.escape, (sheet.title, sheet.caption, sheet.scale))
    scale = f'<p class="scale">{scale}</p>\n' if scale else ""
    first = sheet.text_columns + 1
    return HTML.format(title=title, caption=caption, scale=scale, table=table, first=first)


def _styler(sheet: Sheet, escape: str) -> Styler:
    cells, marks = _with_groups(sheet)
    styler = cells.style.hide(axis="index").apply(lambda _: marks, axis=None)
    return styler.format(escape=escape).format_index(escape=escape, axis="columns")


def _with_groups(sheet: Sheet) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cells, with a heading row above each group, and the CSS of each cell."""
    cells = sheet.cells.reset_index(drop=True)
    marks = pd.DataFrame("", cells.index, cells.columns)
    if sheet.bold is not None:
        marks = marks.mask(sheet.bold.to_numpy(), BOLD)
    if sheet.groups is not None:
        empty = [""] * (len(cells.columns) - 1)
        firsts = sheet.groups.reset_index(drop=True).drop_duplicates()
        for row, group in zip(firsts.index - 0.5, firsts, strict=True):
            cells.loc[row], marks.loc[row] = [group, *empty], [ITALIC, *empty]
    return cells.sort_index(ignore_index=True), marks.sort_index(ignore_index=True)
