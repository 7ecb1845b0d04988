"""Fixtures that several test files need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from learners import save_models

from gems.config import Config, build
from gems.data import dataset, logging_policy
from gems.data.dataset import Dataset
from gems.envs.items import Items, generate
from gems.envs.simulator import Simulator

# The same examples on every machine; deadlines would count the time numba compiles for.
settings.register_profile("gems", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("gems")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="kills that test_kill.py makes")


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> None:
    """A test draws the same numbers whatever ran before, and training does not round denormals.

    Hypothesis needs denormals, which a training in an earlier test has taken for 0.
    """
    torch.manual_seed(0)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def config() -> Callable[..., Config]:
    def build_untracked(**overrides: Any) -> Config:
        return build({"tracking": {"mode": "disabled"}, **overrides})

    return build_untracked


@pytest.fixture(scope="session")
def small_items() -> Items:
    return generate(seed=1, embedding="focused", count=60, peakedness=1.0)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretrained models of random weights, for ``learners.learner_of``."""
    folder = tmp_path_factory.mktemp("models")
    save_models(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    return Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Logged data of 50 users, 20 turns and 40 items, for pretraining."""
    config = build({"simulator": {"turns": 20}, "logging": {"users": 50}})
    folder = tmp_path_factory.mktemp("pretraining") / "dataset"
    environment = config.environment("focused_topdown")
    simulator = Simulator(generate(1, "focused", 40, 1.0), environment)
    logging_policy.log_users(simulator, config.logging, "focused_topdown", folder)
    return dataset.read(folder)
