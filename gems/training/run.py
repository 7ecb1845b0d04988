"""A run: trains a method in an environment with a seed, tests it, and writes the result."""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gems import methods
from gems.agents.base import Learner, Policy
from gems.config import Config
from gems.config.file_names import kept_policy
from gems.data.replay import Episodes
from gems.envs import items
from gems.envs.environments import Environment
from gems.envs.simulator import Simulator
from gems.envs.users import SharedUsers
from gems.methods import Context
from gems.runtime.device import pick_device
from gems.runtime.files import relative, write_json, written_whole
from gems.runtime.job import JobRuntime
from gems.runtime.process import set_up_process
from gems.runtime.randomness import stream
from gems.runtime.weights import load_config, save_weights
from gems.sections import TrainingConfig
from gems.training.checkpoint import TrainingState
from gems.training.loop import Trainer
from gems.training.recording import RecordingSimulator
from gems.training.rollout import rollout

logger = logging.getLogger("gems")


@dataclass(frozen=True)
class Run:
    """A method, an environment and a seed, with their configuration and input files.

    Attributes:
        inputs: files by name: ``items``, and the pretrained models that the method needs.
        values: the options that the run depends on, by section, and its environment.
    """

    name: str
    method: str
    environment: str
    seed: int
    config: Config
    inputs: dict[str, Path]
    values: dict[str, Any]

    def simulator(self) -> Simulator:
        return Simulator(*self._simulated())

    def recording_simulator(self) -> RecordingSimulator:
        return RecordingSimulator(*self._simulated())

    def _simulated(self) -> tuple[items.Items, Environment]:
        environment = self.config.environment(self.environment)
        sizes = environment.items.topics, environment.items.topic_dim
        return items.load(self.inputs["items"], *sizes), environment

    def agent(self, simulator: Simulator) -> Policy | Learner:
        """The untrained agent, with weights drawn from the seed."""
        models = {name: path for name, path in self.inputs.items() if name != "items"}
        context = Context(self.config, simulator, self.environment, models)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(self.seed, "weights").integers(2**63)))
            return methods.method(self.method).build(context)

    def described(self) -> dict[str, Any]:
        """Method, environment, seed, inputs and options, as saved with the policy."""
        return {
            "method": self.method,
            "environment": self.environment,
            "seed": self.seed,
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "config": self._options(),
        }

    def _options(self) -> dict[str, Any]:
        """The part of the configuration that the run can be built from again."""
        options = {k: v for k, v in self.values.items() if k != "environment"}
        options |= self.config.sections("items", "simulator")
        own = self.config.custom_environments.get(self.environment)
        if own is not None:
            options["custom_environments"] = {self.environment: own.model_dump(mode="json")}
        return options

    def logged_users(self) -> int | None:
        """Number of logged users that the pretrained models were trained on; None without any."""
        models = [path for path in self.inputs.values() if path.suffix == ".safetensors"]
        users = [load_config(path).get("dataset", {}).get("users") for path in models]
        return min((n for n in users if n is not None), default=None)


def execute(run: Run, output: Path, runtime: JobRuntime) -> None:
    """Train and test ``run``, and write its folder ``output``.

    ``result.json`` holds metrics only and is byte-identical for the same seed on the same machine.
    It is written last.

    Raises:
        GemsError: an input is missing or damaged, or a metric of training is not finite.
    """
    set_up_process()
    policy, trainer = _train(run, runtime)
    config = run.config.training
    trained = _described(trainer)
    recorder = run.recording_simulator()
    tested = test_metrics(test(policy, recorder, config, run.seed))
    logger.info("%s: test return %.5g", run.name, tested["test_return"])
    metrics = {name: tested[name] for name in ("test_return", "test_standard_error")}
    metrics = {name: value for name, value in metrics.items() if value is not None}
    runtime.tracker.log(metrics, trained["training_episodes"])
    (output / "result.json").unlink(missing_ok=True)
    # Paths relative to the run, so that both can be moved together.
    inputs = {name: relative(path, output) for name, path in run.inputs.items()}
    extensions = [relative(Path(path), output) for path in run.config.extensions]
    description = run.described() | {"inputs": inputs, "extensions": extensions}
    save_weights(output / "policy.safetensors", policy.state_dict(), description)
    for earlier in output.glob("policy_*"):
        earlier.unlink()
    for episode, weights in (trainer.kept if trainer else {}).items():
        save_weights(output / kept_policy(episode), weights, description | {"episode": episode})
    write_curve(output / "curve.csv", trainer.curve if trainer else [])
    recorder.write_turns(output / "turns.csv")
    recorder.write_scores(output / "scores.csv")
    identity = {"method": run.method, "environment": run.environment, "seed": run.seed}
    described = identity | {"test_users": config.test_users} | trained | tested
    write_json(output / "result.json", described)


def _train(run: Run, runtime: JobRuntime) -> tuple[Policy, Trainer | None]:
    """The policy to test, and what trained it; a policy that does not learn has no trainer."""
    simulator = run.simulator()
    agent = run.agent(simulator)
    if not isinstance(agent, Learner):
        return agent, None
    config = run.config.training
    trainer = Trainer(agent, simulator, config, run.seed, pick_device(runtime.device))
    trainer.train(run.name, TrainingState(runtime.state, runtime.fingerprint), runtime.tracker)
    return agent.policy.cpu(), trainer


def _described(trainer: Trainer | None) -> dict[str, Any]:
    """Entries of the result on the training."""
    if trainer is None:
        return {"training_episodes": 0}
    return {
        "training_episodes": trainer.config.episodes,
        "best_episode": trainer.best_episode,
        "validation_return": trainer.best_return,
    }


def test(policy: Policy, simulator: Simulator, config: TrainingConfig, seed: int) -> Episodes:
    """Greedy episodes with the test users, the same for all methods (Sections 7 and 10)."""
    users = SharedUsers() if config.users == "shared" else None
    return rollout(policy, simulator, config.test_users, "greedy", seed, "test", users=users)


def test_metrics(episodes: Episodes) -> dict[str, Any]:
    """Mean return, its standard error over users, and the return of each user."""
    returns = episodes.returns
    error = float(returns.std(ddof=1) / np.sqrt(len(returns))) if len(returns) > 1 else None
    return {
        "test_return": float(returns.mean()),
        "test_standard_error": error,
        "test_returns": returns.tolist(),
    }


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the learning curve as CSV: a row for each validation, a column for each metric."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["episode"]
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
