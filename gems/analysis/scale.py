"""Comparison of the scale of runs with the paper's, to mark what is not a reproduction."""

import pandas as pd

from gems.errors import GemsError

PAPER = {
    "training_episodes": 100_000,
    "n_seeds": 10,
    "logged_users": 100_000,
    "test_users": 500,
}
# Options that also belong to the scale, if a run reads them.
OPTIONS = {
    ("vae", "epochs"): (10, "epochs of the VAE"),
    ("training", "random_episodes"): (2_000, "random episodes"),
    ("training", "validate_every"): (1_000, "episodes between validations"),
    ("training", "validation_users"): (200, "validation users"),
}


def is_paper_scale(runs: pd.DataFrame) -> bool:
    """Whether all runs have the paper's scale, and every cell its number of seeds."""
    return not _differing(runs, PAPER)


def scale_note(runs: pd.DataFrame, n_seeds: int = PAPER["n_seeds"]) -> str:
    """Sentence on differences from the paper's scale, with its ``n_seeds``; "" if none."""
    paper = PAPER | {"n_seeds": n_seeds}
    differing = _differing(runs, paper)
    if not differing:
        return ""
    parts = [f"{span(values)} of {wanted:,} {name}" for name, (wanted, values) in differing.items()]
    return f"Not the paper's scale: {', '.join(parts)}. Not a reproduction."


def _differing(runs: pd.DataFrame, paper: dict[str, int]) -> dict[str, tuple[int, pd.Series]]:
    """Differences by name: the paper's value, and the values of the runs."""
    trained = runs[runs["training_episodes"] > 0]
    scale = {
        "training_episodes": trained["training_episodes"],
        "n_seeds": runs.groupby(["method", "environment", "variant", "vae"])["seed"].nunique(),
        "logged_users": runs["logged_users"].dropna(),
        "test_users": runs["test_users"],
    }
    differing = {
        name.removeprefix("n_").replace("_", " "): (paper[name], values)
        for name, values in scale.items()
        if (values != paper[name]).any()
    }
    # Options are compared only if nothing above differs, to keep the note short.
    for (section, option), (wanted, name) in OPTIONS.items() if not differing else ():
        values = pd.Series([config.get(section, {}).get(option) for config in trained["config"]])
        values = values.dropna().astype(float)
        if (values != wanted).any():
            differing[name] = wanted, values
    return differing


def scale_of_cell(method: str, environment: str, cell: pd.DataFrame) -> dict[str, int]:
    """The training episodes and test users that the runs of a cell have in common.

    Raises:
        GemsError: they differ.
    """
    scale = {}
    for field in ("training_episodes", "test_users"):
        values = sorted(set(cell[field]))
        if len(values) > 1:
            raise GemsError(
                f"Runs of {method} in {environment} differ in {field}: {values}. "
                "Name runs of one scale."
            )
        scale[field] = values[0]
    return scale


def span(values: pd.Series) -> str:
    """The only value, or the range of values, as text."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
