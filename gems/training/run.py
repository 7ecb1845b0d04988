"""One run: train a method in an environment with a seed, test it, write the result."""

import csv
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gems import provenance, registry
from gems.agents.base import Learner, Policy
from gems.agents.context import Context
from gems.config import Config, build, run_values
from gems.data.replay import Episodes
from gems.device import pick_device
from gems.digest import value_digest
from gems.errors import GemsError
from gems.files import relative, write_json, written_whole
from gems.process import set_up_process
from gems.randomness import stream
from gems.sections import SimulatorConfig, TrainingConfig
from gems.simulator import items
from gems.simulator.simulator import Simulator
from gems.simulator.users import SharedUsers
from gems.tracking import Tracker
from gems.training.loop import Trainer
from gems.training.recording import RecordingSimulator
from gems.training.rollout import rollout
from gems.training.state import TrainingState
from gems.weights import load_config, load_weights, save_weights

logger = logging.getLogger("gems")


@dataclass(frozen=True)
class Run:
    """What one run is made of; files are checked before any work starts.

    Attributes:
        name: name of the run, as in ``paths.run_name``.
        method: key of ``registry.METHODS``.
        environment: key of ``registry.ENVIRONMENTS``.
        seed: seed of the run.
        config: the configuration.
        inputs: files by name: ``items``, and ``vae`` or ``mf`` for methods that need them.
        variant: key of ``variants.VARIANTS`` that ``config`` follows; "" for a main run.
    """

    name: str
    method: str
    environment: str
    seed: int
    config: Config
    inputs: dict[str, Path]
    variant: str = ""

    def simulator(self) -> Simulator:
        """The environment of the run."""
        return Simulator(*self._simulated())

    def recording_simulator(self) -> RecordingSimulator:
        """The same environment, which counts what happens in it."""
        return RecordingSimulator(*self._simulated())

    def _simulated(self) -> tuple[items.Items, registry.Environment, SimulatorConfig]:
        environment = registry.environment(self.environment)
        return items.load(self.inputs["items"]), environment, self.config.simulator

    def agent(self, simulator: Simulator) -> Policy | Learner:
        """The untrained agent; its weights are drawn from the seed."""
        build = registry.agent_builder(registry.method(self.method))
        models = {name: self.inputs.get(name) for name in ("vae", "mf")}
        context = Context(self.config, simulator, self.environment, **models)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(self.seed, "weights").integers(2**63)))
            return build(context)

    def described(self) -> dict[str, Any]:
        """The configuration that the run depends on, and its inputs."""
        return {
            "method": self.method,
            "agent": registry.method(self.method).agent,
            "environment": {
                "name": self.environment,
                **asdict(registry.environment(self.environment)),
            },
            "seed": self.seed,
            "variant": self.variant,
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "config": run_values(self.method, self.config, self.environment),
        }

    def subject(self) -> provenance.Subject:
        """What the run's provenance says it is of."""
        where = self.environment, self.seed
        return provenance.Subject.of_run(self.method, *where, self.config, self.variant)

    def files(self) -> list[Path]:
        """The files that the run reads: its inputs, and the configuration beside weights."""
        files = list(self.inputs.values())
        return files + [p.with_suffix(".json") for p in files if p.suffix == ".safetensors"]

    def logged_users(self) -> int | None:
        """Logged users that the pretrained models of the run have seen; None if it has none."""
        models = [path for path in self.inputs.values() if path.suffix == ".safetensors"]
        users = [load_config(path).get("dataset", {}).get("users") for path in models]
        return min((n for n in users if n is not None), default=None)

    def fingerprint(self) -> str:
        """Digest of code, configuration and contents of the inputs."""
        described = self.described()
        described["inputs"] = [provenance.sha256(path) for path in self.files()]
        described["code"] = self.subject().code()
        return value_digest(described)


def execute(run: Run, output: Path, state: Path, tracker: Tracker) -> None:
    """Train and test ``run``, and write its folder ``output``.

    ``result.json`` holds metrics only and is byte-identical for the same seed on the same machine.
    It is written last.

    Args:
        run: what to train.
        output: folder of the result.
        state: folder of the training state, from which a killed job goes on.
        tracker: where figures go.

    Raises:
        GemsError: an input is missing or damaged, or the training breaks down.
    """
    set_up_process()
    policy, curve, trained = _train(run, state, tracker)
    recorder = run.recording_simulator()
    users = run.config.training.test_users
    tested = test_metrics(test(policy, recorder, run.config.training, run.seed))
    logger.info("%s: test return %.5g", run.name, tested["test_return"])
    figures = {name: tested[name] for name in ("test_return", "test_standard_error")}
    tracker.log({k: v for k, v in figures.items() if v is not None}, trained["training_episodes"])
    (output / "result.json").unlink(missing_ok=True)
    # Inputs by their way from the run, so that both may be moved together.
    inputs = {name: relative(path, output) for name, path in run.inputs.items()}
    described = run.described() | {"inputs": inputs}
    save_weights(output / "policy.safetensors", policy.state_dict(), described)
    write_curve(output / "curve.csv", curve)
    recorder.write_turns(output / "turns.csv")
    recorder.write_scores(output / "scores.csv")
    named = {"method": run.method, "environment": run.environment, "seed": run.seed}
    write_json(output / "result.json", named | {"test_users": users} | trained | tested)


def _train(
    run: Run, state: Path, tracker: Tracker
) -> tuple[Policy, list[dict[str, float]], dict[str, Any]]:
    """The policy to test, its learning curve, and what the result says of its training."""
    simulator = run.simulator()
    agent = run.agent(simulator)
    if not isinstance(agent, Learner):
        return agent, [], {"training_episodes": 0}
    config = run.config.training
    trainer = Trainer(agent, simulator, config, run.seed, pick_device(run.config.device))
    trainer.train(run.name, TrainingState(state, run.fingerprint()), tracker)
    trained = {
        "training_episodes": config.episodes,
        "best_episode": trainer.best_episode,
        "validation_return": trainer.best_return,
    }
    return agent.policy.cpu(), trainer.curve, trained


def evaluate(folder: Path, users: int | None, seed: int | None) -> dict[str, Any]:
    """Test the saved policy of the run in ``folder``; the defaults repeat its own test.

    Raises:
        GemsError: the folder is not that of a finished run, or an input of the run is gone.
    """
    set_up_process()
    no_run = GemsError(f"{folder} is not the folder of a finished run.")
    if not (folder / "result.json").is_file():
        raise no_run
    saved = load_config(folder / "policy.json")
    try:
        if "users" not in saved["config"]["training"]:
            raise GemsError(
                f"{folder} was made by an earlier version, with other test users; make it again."
            )
        config = build(saved["config"])
        name, environment = saved["method"], saved["environment"]["name"]
        inputs = {kind: (folder / path).resolve() for kind, path in saved["inputs"].items()}
        run = Run(folder.name, name, environment, saved["seed"], config, inputs)
    except (KeyError, TypeError, AttributeError) as error:
        raise no_run from error
    simulator = run.simulator()
    agent = run.agent(simulator)
    policy = agent.policy if isinstance(agent, Learner) else agent
    try:
        policy.load_state_dict(load_weights(folder / "policy.safetensors"))
    except RuntimeError as error:
        raise GemsError(f"The weights in {folder} are not those of {name}.") from error
    changes: dict[str, Any] = {"test_users": users} if users else {}
    if seed is not None:
        changes["users"] = "by_seed"
    training, seed = config.training.model_copy(update=changes), run.seed if seed is None else seed
    metrics = test_metrics(test(policy, simulator, training, seed))
    return {"method": name, "environment": environment, "seed": seed, **metrics}


def test(policy: Policy, simulator: Simulator, config: TrainingConfig, seed: int) -> Episodes:
    """Greedy episodes of the test users, whom all methods share, and all seeds if so configured."""
    users = SharedUsers() if config.users == "shared" else None
    return rollout(policy, simulator, config.test_users, "greedy", seed, "test", users=users)


def test_metrics(episodes: Episodes) -> dict[str, Any]:
    """Mean return, its standard error over users, and each user's return."""
    returns = episodes.returns
    error = float(returns.std(ddof=1) / np.sqrt(len(returns))) if len(returns) > 1 else None
    return {
        "test_return": float(returns.mean()),
        "test_standard_error": error,
        "test_returns": returns.tolist(),
    }


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the learning curve as CSV: one row a validation, a column a figure."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["episode"]
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
