"""Folders of runs as training leaves them, with values of the test's choosing."""

import csv
import json

from gems.analysis.scale import OPTIONS, PAPER
from gems.config import build
from gems.methods import METHODS
from gems.pipeline.stages import run_job
from gems.pretraining.models import PRETRAINED

PAPER_SCALE = {
    "training_episodes": 100_000,
    "test_users": 500,
    "logged_users": 100_000,
}


def write_run(
    root,
    method,
    environment,
    test_return,
    seed=1,
    variant="",
    training_episodes=200,
    test_users=500,
    logged_users=1000,
    validation_return=None,
    turns=10,
    scores=None,
    seconds=60,
    **options,
):
    """Write the folder of one run and give the path of its ``result.json``."""
    if training_episodes == PAPER["training_episodes"]:
        # What else is part of the paper's scale.
        for (section, option), (value, _) in OPTIONS.items():
            options[section] = {**options.get(section, {}), option: value}
        options["training"]["episodes"] = training_episodes
    config = build({**options, "results": str(root)})
    job = run_job(config, method, environment, seed, variant)
    folder = job.output.parent
    folder.mkdir(parents=True)
    trained = METHODS[method].trained
    result = {
        "method": method,
        "environment": environment,
        "seed": seed,
        "test_return": test_return,
        "training_episodes": training_episodes if trained else 0,
        "test_users": test_users,
    }
    if trained:
        result["validation_return"] = validation_return or test_return + 1.0
    provenance = {
        "variant": variant,
        "config": job.values,
        "logged_users": logged_users if job.inputs.keys() & PRETRAINED.keys() else None,
        "started": "2026-01-01T00:00:00+00:00",
        "ended": f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00",
        "host": "host",
        "device": "cpu",
    }
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "provenance.json").write_text(json.dumps(provenance))
    curve = [(50 * i, test_return * i / 4) for i in range(1, 5)] if trained else []
    write_csv(folder / "curve.csv", ["episode", "validation_return"], curve)
    header = ["turn", "reward", "bored_topics", "slate_topics"]
    by_turn = [(turn, test_return / turns, turn / turns, 5.0) for turn in range(1, turns + 1)]
    write_csv(folder / "turns.csv", header, by_turn)
    header = ["score_from", "bored_topics", "count", "score_sum"]
    write_csv(folder / "scores.csv", header, scores or [(0.1, 0, 3, 0.31), (0.3, 1, 1, 0.305)])
    return folder / "result.json"


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_all(root, environments, seeds=(1, 2, 3), offset=None, **scale):
    """Runs of all methods: the returns of a method rise with its place in Table 2."""
    offset = offset or {}
    return [
        write_run(
            root,
            method,
            environment,
            100.0 * (place + 1) + 3 * seed + 30 * i + offset.get(method, 0),
            seed,
            **scale,
        )
        for place, method in enumerate(METHODS)
        for i, environment in enumerate(environments)
        for seed in seeds
    ]
