"""Estimated run times of jobs on one core, from which their time limits follow."""

from contextlib import suppress
from pathlib import Path

from gems import methods
from gems.config import Config
from gems.envs.environments import Environment
from gems.errors import GemsError
from gems.runtime.files import read_json

# Milliseconds per slate on one core, logged or collected with a policy.
SLATE_MS, COLLECT_MS = 0.003, 0.2


def minutes_of_slates(users: int, environment: Environment, milliseconds: float) -> float:
    """Minutes for an episode of each of ``users``, at ``milliseconds`` a slate."""
    return users * environment.simulator.turns * milliseconds / 60_000


def minutes_of_run(config: Config, entry: methods.Method, env: str) -> float:
    episodes = config.training.episodes if entry.trained else 0
    return episodes * config.environment(env).simulator.turns / 100 * entry.episode_ms / 60_000


def with_slates_of(config: Config, data: str) -> Config:
    """``config`` with about as many logged slates as a dataset has, for estimates of time."""
    if data in config.known_environments():
        return config
    users = config.logging.users
    if data in config.collections:
        users = config.collections[data].users
    else:
        with suppress(GemsError, KeyError, TypeError):
            slates = read_json(Path(config.results) / "datasets" / data / "dataset.json")["slates"]
            users = -(-slates // config.simulator.turns)
    logging = config.logging.model_copy(update={"users": users})
    return config.model_copy(update={"logging": logging})
