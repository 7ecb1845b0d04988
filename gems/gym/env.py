"""The simulator as a Gymnasium environment of one user."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from gems.gym.options import Source, make_simulator
from gems.gym.sessions import Observed, Sessions, action_space, observation_space, observed


class SlateEnv(gymnasium.Env[Any, NDArray[np.int64]]):
    """One user, who is shown a slate of items every turn (Section 1 of the specification).

    Create it by ``gymnasium.make("gems/focused_topdown-v0")`` after ``import gems``; the other
    environments are ``focused_mix``, ``focused_divpen``, ``diffuse_topdown``, ``diffuse_mix`` and
    ``diffuse_divpen``, and those of ``gems.register_environments``.

    **Action**: ``MultiDiscrete``, the item for each slot of the slate. An item may appear twice.

    **Observation**: a ``Dict`` of the ``slate`` shown, ``MultiDiscrete``, and its ``clicks``,
    ``MultiBinary``. ``reset`` shows a new user a fixed first slate.

    **Reward**: the number of clicks.

    **End**: an episode is truncated after ``turns`` turns and never terminates.

    **Info**: empty, unless ``privileged`` is set. Then it holds ``user``, the user's embedding
    (dim,); ``bored``, whether the user is bored with each topic in the coming turn (topics,); and
    ``relevances`` of all items in the coming turn, boredom included (items,).

    **Seed**: ``reset(seed=...)`` determines the episode of a sequence of actions, and those that
    follow it. User i of a vector environment that is reset with seed s is the user of this
    environment that is reset with seed s + i.

    Example:
        >>> import gymnasium, gems
        >>> env = gymnasium.make("gems/focused_topdown-v0", slate_size=5, turns=20)
        >>> observation, info = env.reset(seed=1)
        >>> slate = env.action_space.sample()
        >>> observation, clicks, terminated, truncated, info = env.step(slate)
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        name: str,
        *,
        config: Source = None,
        items: str | Path | None = None,
        fidelity: str | None = None,
        privileged: bool = False,
        **options: Any,
    ) -> None:
        """Build the simulator.

        Args:
            name: name of the environment; ``gymnasium.make`` sets it.
            config: configuration: file (YAML or JSON), mapping or ``gems.config.Config``. Default:
                the default of every option.
            items: file of item embeddings (.npy, or .pt or .safetensors with one tensor), items x
                (topics x dimensions of a topic). Default: those of the configuration.
            fidelity: ``released`` or ``paper``, the preset of options that differ between the two.
            privileged: whether ``info`` holds the state of the user.
            options: any option of the section ``simulator``, such as ``slate_size``, ``turns`` or
                ``boredom_threshold``. They take precedence over the configuration.

        Raises:
            GemsError: an option or file is not valid.
        """
        self._sessions = Sessions(make_simulator(name, config, items, fidelity, options))
        self._privileged = privileged
        self.simulator = self._sessions.simulator
        self.action_space = action_space(self.simulator)
        self.observation_space = observation_space(self.simulator)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """A new user, who has seen the first slate; ``options`` are ignored."""
        super().reset(seed=seed)
        observation = observed(self._sessions.begin([self.np_random]))
        return _first(observation), self._info()

    def step(self, action: NDArray[np.int64]) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        """Show the slate ``action``.

        Raises:
            ResetNeeded: the episode has not begun, or is over.
            GemsError: ``action`` is not a slate of existing items.
        """
        observation = observed(self._sessions.play(np.asarray(action)[None]))
        reward = float(np.count_nonzero(observation["clicks"]))
        return _first(observation), reward, False, self._sessions.over, self._info()

    def _info(self) -> dict[str, Any]:
        return _first(self._sessions.hidden_state()) if self._privileged else {}


def _first(values: Observed) -> Observed:
    return {name: value[0] for name, value in values.items()}
