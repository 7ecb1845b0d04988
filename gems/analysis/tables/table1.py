"""Table 1: assumptions of methods, from the registry."""

import pandas as pd

from gems.analysis.layout import Sheet
from gems.methods import ASSUMPTIONS, METHODS

CAPTION = (
    "Assumptions of the methods that choose slates by learning, under the abbreviations of the "
    "paper's Table 1."
)


def make(_runs: pd.DataFrame) -> tuple[pd.DataFrame, Sheet]:
    rows = [
        {"method": entry.label, **{name: name in entry.assumptions for name in ASSUMPTIONS}}
        for entry in METHODS.values()
        if entry.assumptions
    ]
    table = pd.DataFrame(rows)
    crosses = {name: table[name].map({True: "x", False: ""}) for name in ASSUMPTIONS}
    return table, Sheet(pd.DataFrame({"Method": table["method"], **crosses}), CAPTION)
