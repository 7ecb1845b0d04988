"""What the single and the vector environment share: users, actions, observations, spaces."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from gems.envs import dynamics
from gems.envs.items import topic_components
from gems.envs.simulator import Observation, Simulator
from gems.envs.users import embed
from gems.errors import GemsError

Observed = dict[str, NDArray[Any]]


class Sessions:
    """Episodes of users who are all at the same turn.

    Each user has a generator of their own, which draws the whole episode when it begins: the
    user's embedding, then the clicks. Hence a user's episode does not depend on other users, and
    a turn is one call of the batched simulator.

    Attributes:
        simulator: the batched simulator.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._turns = simulator.config.turns
        self._uniforms: NDArray[np.float32] | None = None

    @property
    def over(self) -> bool:
        """Whether the last turn has been played."""
        return self.simulator.turn >= self._turns

    def begin(self, generators: Sequence[np.random.Generator]) -> Observation:
        """New users, one for each generator, who see the first slate."""
        simulator, n = self.simulator, len(generators)
        topics, slots = simulator.topics, simulator.slate_size
        weights = np.empty((n, topics), dtype=np.float32)
        normal = np.empty((n, topics, simulator.dim // topics), dtype=np.float32)
        uniforms = np.empty((self._turns + 1, n, slots), dtype=np.float32)
        for user, generator in enumerate(generators):
            generator.random(out=weights[user], dtype=np.float32)
            generator.standard_normal(out=normal[user], dtype=np.float32)
            uniforms[:, user] = generator.random((self._turns + 1, slots), dtype=np.float32)
        self._uniforms = uniforms
        users = embed(topic_components(normal), weights, simulator.config)
        return simulator.start(users, uniforms[0])

    def play(self, actions: Any) -> Observation:
        """The turn after ``actions``, slates (n, slate size).

        Raises:
            ResetNeeded: there are no users, or their episode is over.
            GemsError: ``actions`` are not slates of existing items.
        """
        if self._uniforms is None:
            raise ResetNeeded("There are no users yet; call reset() before step().")
        if self.over:
            raise ResetNeeded(f"The episode is over after {self._turns} turns; call reset().")
        uniforms = self._uniforms[self.simulator.turn + 1]
        slates = np.asarray(actions)
        if slates.shape != uniforms.shape or slates.dtype.kind not in "iu":
            raise GemsError(
                f"Actions must be integers of shape {uniforms.shape}, one item for each slot, not "
                f"{slates.dtype} of shape {slates.shape}."
            )
        # The simulator would take -1 for the item that the oracle chooses.
        low, high = slates.min(), slates.max()
        if low < 0 or high >= self.simulator.n_items:
            raise GemsError(
                f"Actions must hold items from 0 to {self.simulator.n_items - 1}, not "
                f"{low if low < 0 else high}."
            )
        return self.simulator.advance(slates, uniforms)

    def hidden_state(self) -> dict[str, NDArray[Any]]:
        """What a recommender does not know: tastes, bored topics, relevances of all items."""
        simulator, users = self.simulator, self.simulator.users
        scores = dynamics.score_all(dynamics.effective_users(users), simulator.catalogue)
        return {
            "user": users.embedding.copy(),
            "bored": users.bored.copy(),
            "relevances": simulator.click_model.relevance(scores),
        }


def observed(observation: Observation) -> Observed:
    """``observation`` in the form of the observation space."""
    return {"slate": observation.slates, "clicks": observation.clicks.view(np.int8)}


def action_space(simulator: Simulator) -> spaces.MultiDiscrete:
    """The slates: an item for each slot."""
    return spaces.MultiDiscrete([simulator.n_items] * simulator.slate_size)


def observation_space(simulator: Simulator) -> spaces.Dict:
    """A slate and its clicks."""
    clicks = spaces.MultiBinary(simulator.slate_size)
    return spaces.Dict({"slate": action_space(simulator), "clicks": clicks})
