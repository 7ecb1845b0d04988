"""Whether runs were made at the paper's scale, so that nobody takes others for a reproduction."""

import pandas as pd

PAPER = {
    "training_episodes": 100_000,
    "n_seeds": 10,
    "logged_users": 100_000,
    "test_users": 500,
}
NAMES = {
    "training_episodes": "training episodes",
    "n_seeds": "seeds",
    "logged_users": "logged users",
    "test_users": "test users",
}
# Options that are part of the scale too, where a run reads them.
OPTIONS = {
    ("vae", "epochs"): (10, "epochs of the VAE"),
    ("training", "random_episodes"): (2_000, "random episodes"),
    ("training", "validate_every"): (1_000, "episodes between validations"),
    ("training", "validation_users"): (200, "validation users"),
}


def is_paper_scale(runs: pd.DataFrame) -> bool:
    """Whether all runs are at the paper's scale, with its number of seeds in every cell."""
    return not _differing(runs, PAPER)


def scale_note(runs: pd.DataFrame, n_seeds: int = PAPER["n_seeds"]) -> str:
    """One sentence on what differs from the paper's scale; nothing if nothing does.

    Args:
        runs: the runs, as ``runs.read_results`` gives them.
        n_seeds: number of seeds that the paper's table or figure rests on.
    """
    paper = PAPER | {"n_seeds": n_seeds}
    differing = _differing(runs, paper)
    if not differing:
        return ""
    parts = [
        f"{_span(values)} of {wanted:,} {name}" for name, (wanted, values) in differing.items()
    ]
    return f"Not the paper's scale: {', '.join(parts)}. Not a reproduction."


def _differing(runs: pd.DataFrame, paper: dict[str, int]) -> dict[str, tuple[int, pd.Series]]:
    """What is not the paper's, by name: the paper's value, and those of the runs that have one."""
    trained = runs[runs["training_episodes"] > 0]
    found = {
        "training_episodes": trained["training_episodes"],
        "n_seeds": runs.groupby(["method", "environment", "variant", "vae"])["seed"].nunique(),
        "logged_users": runs["logged_users"].dropna(),
        "test_users": runs["test_users"],
    }
    compared = {NAMES[name]: (paper[name], values) for name, values in found.items()}
    differing = {name: pair for name, pair in compared.items() if (pair[1] != pair[0]).any()}
    # Where all of these are the paper's, options tell apart; else there is enough to be said.
    for (section, option), (wanted, name) in OPTIONS.items() if not differing else ():
        told = [config.get(section, {}).get(option) for config in trained["config"]]
        values = pd.Series([value for value in told if value is not None], dtype=float)
        if (values != wanted).any():
            differing[name] = wanted, values
    return differing


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
