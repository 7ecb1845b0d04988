"""Finished runs: their policies read from their folders, and tested again."""

from pathlib import Path
from typing import Any

from gems.agents.base import Learner, Policy
from gems.config import build
from gems.config.file_names import kept_policy
from gems.errors import GemsError
from gems.runtime.process import set_up_process
from gems.runtime.weights import load_config, load_weights
from gems.training.run import Run, test, test_metrics


def saved_run(folder: Path, episode: int | None = None) -> tuple[Run, Policy]:
    """The finished run in ``folder``, and the policy that it tested, on the CPU.

    Args:
        folder: folder of the run.
        episode: give the policy that ``training.keep`` kept after this episode instead.

    Raises:
        GemsError: the folder is not that of a finished run, an input of the run is missing, or no
            policy of that episode was kept.
    """
    run = read_run(folder)
    weights = load_weights(_weights(folder, episode))
    agent = run.agent(run.simulator())
    policy = agent.policy if isinstance(agent, Learner) else agent
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise GemsError(
            f"The weights in {folder} are not those of {run.method}; make the run again."
        ) from error
    return run, policy


def read_run(folder: Path) -> Run:
    """The finished run in ``folder``, without its policy.

    Raises:
        GemsError: the folder is not that of a finished run.
    """
    no_run = GemsError(f"{folder} is not the folder of a finished run.")
    if not (folder / "result.json").is_file():
        raise no_run
    saved = load_config(folder / "policy.json")
    try:
        if "users" not in saved["config"]["training"]:
            raise GemsError(
                f"{folder} was made by an earlier version, with other test users; make it again."
            )
        if not isinstance(saved["environment"], str):
            raise GemsError(f"{folder} was made by an earlier version; make it again.")
        extensions = [str((folder / path).resolve()) for path in saved["extensions"]]
        config = build(saved["config"] | {"extensions": extensions})
        inputs = {kind: (folder / path).resolve() for kind, path in saved["inputs"].items()}
        names = folder.name, saved["method"], saved["environment"]
        return Run(*names, saved["seed"], config, inputs, saved["config"])
    except (KeyError, TypeError, AttributeError) as error:
        raise no_run from error


def _weights(folder: Path, episode: int | None) -> Path:
    """File of the weights of the tested policy, or of the one kept after ``episode``."""
    if episode is None:
        return folder / "policy.safetensors"
    path = folder / kept_policy(episode)
    if path.is_file():
        return path
    kept = sorted(int(file.stem.split("_")[1]) for file in folder.glob("policy_*.safetensors"))
    if not kept:
        raise GemsError(
            f"{folder} has no policy of episode {episode}; make the run again with "
            f"training.keep=[{episode}]."
        )
    raise GemsError(
        f"{folder} has no policy of episode {episode}; training.keep kept those of: "
        f"{', '.join(map(str, kept))}."
    )


def evaluate(folder: Path, users: int | None, seed: int | None) -> dict[str, Any]:
    """Test the saved policy of the run in ``folder``; None repeats the run's own test.

    Raises:
        GemsError: the folder is not that of a finished run, or an input of the run is missing.
    """
    set_up_process()
    run, policy = saved_run(folder)
    changes: dict[str, Any] = {"test_users": users} if users else {}
    if seed is not None:
        changes["users"] = "by_seed"
    training = run.config.training.model_copy(update=changes)
    seed = run.seed if seed is None else seed
    metrics = test_metrics(test(policy, run.simulator(), training, seed))
    return {"method": run.method, "environment": run.environment, "seed": seed, **metrics}
