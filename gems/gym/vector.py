"""The simulator as a Gymnasium vector environment: many users, one batched simulator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from gems.errors import GemsError, unknown
from gems.gym.options import Source, make_simulator
from gems.gym.sessions import Observed, Sessions, action_space, observation_space, observed

Stepped = tuple[Observed, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class SlateVectorEnv(VectorEnv[Any, NDArray[np.int64], NDArray[Any]]):
    """Many users, each as in ``SlateEnv``, at the same turn of their episodes.

    Create it by ``gymnasium.make_vec("gems/focused_topdown-v0", num_envs=1000)`` after ``import
    gems``. Spaces and rewards are those of ``SlateEnv``, with one row for each user. With
    ``privileged``, ``info`` holds one array for each entry.

    All episodes end in the same turn. What follows depends on ``autoreset_mode``. With
    ``NextStep`` (the default), the next ``step`` ignores its actions, begins new episodes and gives
    no reward. With ``SameStep``, the step that ends the episodes also begins new ones, and ``info``
    holds the last observations (``final_obs``) and the last ``info`` (``final_info``). With
    ``Disabled``, call ``reset``.

    Example:
        >>> import gymnasium, gems
        >>> envs = gymnasium.make_vec("gems/focused_topdown-v0", num_envs=1000)
        >>> observations, info = envs.reset(seed=1)
        >>> slates = envs.action_space.sample()
        >>> observations, clicks, terminated, truncated, info = envs.step(slates)
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        name: str,
        num_envs: int = 1,
        *,
        config: Source = None,
        items: str | Path | None = None,
        fidelity: str | None = None,
        privileged: bool = False,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **options: Any,
    ) -> None:
        """Build the simulator.

        Args:
            name: name of the environment; ``gymnasium.make_vec`` sets it.
            num_envs: number of users.
            config: as for ``SlateEnv``.
            items: as for ``SlateEnv``.
            fidelity: as for ``SlateEnv``.
            privileged: whether ``info`` holds the state of the users.
            autoreset_mode: ``NextStep``, ``SameStep`` or ``Disabled``.
            options: options of the section ``simulator``, as for ``SlateEnv``.

        Raises:
            GemsError: an option or file is not valid.
        """
        if num_envs < 1:
            raise GemsError(f"num_envs must be at least 1, not {num_envs}.")
        self._mode = _mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self._mode}
        self._sessions = Sessions(make_simulator(name, config, items, fidelity, options))
        self._privileged = privileged
        self._generators: list[np.random.Generator] = []
        self.simulator = self._sessions.simulator
        self.num_envs = num_envs
        self.single_action_space = action_space(self.simulator)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = observation_space(self.simulator)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observed, dict[str, Any]]:
        """New users, who have seen the first slate.

        Args:
            seed: seed of the first user, with that of user i being ``seed + i``, or a list of one
                seed for each user. Users without a seed continue their generators.
            options: ``reset_mask`` must not exclude users; others are ignored.

        Raises:
            GemsError: there is another number of seeds than of users, or some users are excluded.
        """
        if not np.all((options or {}).get("reset_mask", True)):
            raise GemsError("All users are at the same turn: reset all of them, or none.")
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds = self._seeds(seed)
        if not self._generators:
            self._generators = [seeding.np_random(seed)[0] for seed in seeds]
        else:
            for user, own in enumerate(seeds):
                if own is not None:
                    self._generators[user] = seeding.np_random(own)[0]
        return self._begin()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Show the slates ``actions`` (users, slate size).

        Raises:
            ResetNeeded: the episodes have not begun, or are over and ``autoreset_mode`` is
                ``Disabled``.
            GemsError: ``actions`` are not slates of existing items.
        """
        n, sessions = self.num_envs, self._sessions
        if self._mode == AutoresetMode.NEXT_STEP and self._generators and sessions.over:
            ended = np.zeros(n, dtype=np.bool_)
            observation, info = self._begin()
            return observation, np.zeros(n), ended, ended.copy(), info
        observation = observed(sessions.play(actions))
        rewards = observation["clicks"].sum(axis=1, dtype=np.float64)
        over, info = np.full(n, sessions.over), self._info()
        if self._mode == AutoresetMode.SAME_STEP and sessions.over:
            last = np.empty(n, dtype=object)
            last[:] = list(iterate(self.observation_space, observation))
            final = {"final_obs": last, "final_info": info}
            observation, info = self._begin()
            info |= final | {f"_{name}": np.ones(n, dtype=np.bool_) for name in final}
        return observation, rewards, np.zeros(n, dtype=np.bool_), over, info

    def _begin(self) -> tuple[Observed, dict[str, Any]]:
        return observed(self._sessions.begin(self._generators)), self._info()

    def _info(self) -> dict[str, Any]:
        if not self._privileged:
            return {}
        state = self._sessions.hidden_state()
        # By Gymnasium's rule ``_user`` says which users have an entry in ``user``.
        return state | {f"_{name}": np.ones(self.num_envs, dtype=np.bool_) for name in state}

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + user for user in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise GemsError(
                f"reset() takes one seed for each of the {self.num_envs} users, not {len(seed)}."
            )
        return seed


def _mode(value: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(value)
    except ValueError:
        modes = [mode.value for mode in AutoresetMode]
        raise GemsError(unknown("autoreset_mode", str(value), modes)) from None
