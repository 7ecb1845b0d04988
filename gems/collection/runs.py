"""Datasets collected with the policies of finished runs."""

from pathlib import Path

from pydantic import ValidationError

from gems.collection.collect import collect as collect_episodes
from gems.errors import GemsError
from gems.runtime.process import set_up_process
from gems.sections import CollectionConfig, first_problem
from gems.training.saved import saved_run


def collect(
    run: Path | str,
    folder: Path | str,
    *,
    users: int = 1000,
    quality: str = "expert",
    episode: int | None = None,
    epsilon: float = 0.0,
    users_seed: int = 2023,
    name: str | None = None,
) -> None:
    """Play the policy of a finished run in its environment, and write a dataset.

    ``folder`` gets slates and clicks as logged data, which pretraining takes, and the transitions
    for offline RL: ``d4rl.npz`` and a Minari dataset (docs/python.md).

    Args:
        run: folder of the run.
        folder: where to write.
        users: number of users, with an episode each.
        quality: ``expert`` is the policy that the run tested, ``medium`` one that
            ``training.keep`` kept, ``random`` the actions of the random phase.
        episode: episode after which the ``medium`` policy was kept.
        epsilon: probability, for each user and turn, of an action of the random phase.
        users_seed: seed of the users and of random actions.
        name: name of the Minari dataset; by default that of the folder.

    Raises:
        GemsError: an argument is not valid, ``run`` is no finished run, or ``folder`` cannot be
            written.
    """
    if (quality == "medium") != (episode is not None):
        raise GemsError(
            "The quality medium, and no other, needs an episode: one of those that training.keep "
            "kept."
        )
    set_up_process()
    saved, policy = saved_run(Path(run), episode)
    plan = _checked(
        method=saved.method,
        environment=saved.environment,
        seed=saved.seed,
        quality=quality,
        episode=episode,
        epsilon=epsilon,
        users=users,
        users_seed=users_seed,
    )
    collect_episodes(
        policy,
        saved.simulator(),
        Path(folder),
        users=plan.users,
        seed=plan.users_seed,
        name=name or Path(folder).resolve().name,
        epsilon=1.0 if plan.quality == "random" else plan.epsilon,
        meta={
            "environment": saved.environment,
            "policy": plan.model_dump(include={"method", "seed", "quality", "episode"}),
        },
    )


def _checked(**values: object) -> CollectionConfig:
    try:
        return CollectionConfig.model_validate(values)
    except ValidationError as error:
        option, message = first_problem(error)
        raise GemsError(
            f"{option}: {message}, not {values[option]!r}." if option else f"{message}."
        ) from None
