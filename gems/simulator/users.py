"""Where new users and the draws of their clicks come from.

Either each purpose has a stream of its own (``SeededUsers``), or all methods and seeds share one
generator, whose numbers are those that the released code drew on a GPU (``SharedUsers``,
Section 10 of the specification).
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np

from gems.sections import SimulatorConfig
from gems.simulator import kernels, philox
from gems.simulator.items import Floats, topic_components
from gems.simulator.kernels import DIM, SLATE_SIZE, TOPIC_DIM, TOPICS

if TYPE_CHECKING:
    from gems.simulator.simulator import Simulator

# Of the generator that the released code draws users from.
SHARED_SEED = 24321357327
# By how much a call of the generator advances it: one of a few numbers, and a Bernoulli draw.
_CALL, _BERNOULLI = 4, 12


class UserSource(Protocol):
    """Gives new users, then the draws of their clicks turn by turn."""

    def begin(self, n: int, simulator: "Simulator") -> tuple[Floats, Floats]:
        """``n`` new users of ``simulator``.

        Returns:
            Their embeddings (n, 20), and the draws (n, slate size) of their first clicks. A click
            happens where the draw is less than its probability.
        """

    def draw(self, turns: int) -> Floats:
        """The draws of the clicks of that many coming turns, (turns, n, slate size)."""


def embed(components: Floats, uniforms: Floats, config: SimulatorConfig) -> Floats:
    """User embeddings (n, 20) float32 of topic components and topic weights (Section 1).

    Args:
        components: (n, topics, topic dim), as ``topic_components`` gives them.
        uniforms: (n, topics) uniform numbers.
        config: options of the simulator.
    """
    weights = uniforms ** np.float32(config.user_topic_power)
    weights /= weights.sum(axis=1, keepdims=True)
    users = (components * weights[:, :, None]).reshape(len(weights), DIM)
    for user in users:
        kernels.normalise(user, config.user_norm == "l2")
    return users


class SeededUsers:
    """Users and clicks from a numpy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw everything from ``rng``."""
        self._rng = rng

    def begin(self, n: int, simulator: "Simulator") -> tuple[Floats, Floats]:
        """``n`` new users, and the draws of their first clicks."""
        self._n = n
        uniforms = self._rng.random((n, TOPICS), dtype=np.float32)
        normal = self._rng.standard_normal((n, TOPICS, TOPIC_DIM), dtype=np.float32)
        users = embed(topic_components(normal), uniforms, simulator.config)
        return users, self._rng.random((n, SLATE_SIZE), dtype=np.float32)

    def draw(self, turns: int) -> Floats:
        """The draws of the coming turns."""
        return self._rng.random((turns, self._n, SLATE_SIZE), dtype=np.float32)


class SharedUsers:
    """The users of the released code, one after the other from one generator.

    They depend on the seed of the generator and on the items alone, not on what users are shown
    after the first slate.

    Attributes:
        offset: place in the stream of the next user; 0 is where training, and the test, start.
    """

    def __init__(self, seed: int = SHARED_SEED, offset: int = 0) -> None:
        """Go on at ``offset``."""
        self._seed, self.offset = seed, offset

    def begin(self, n: int, simulator: "Simulator") -> tuple[Floats, Floats]:
        """The next ``n`` users, and the draws of their first clicks."""
        users = np.empty((n, DIM), dtype=np.float32)
        uniforms = np.empty((n, SLATE_SIZE), dtype=np.float32)
        self._turns = np.empty(n, dtype=np.int64)
        for u in range(n):
            users[u], uniforms[u] = self._user(simulator.config), self._clicks(self.offset)
            self.offset += SLATE_SIZE * _BERNOULLI
            if not simulator.start(users[u : u + 1], uniforms[u : u + 1]).clicks.any():
                self.offset += _CALL  # the released code then draws an integer
            self._turns[u] = self.offset
            self.offset += simulator.config.turns * SLATE_SIZE * _BERNOULLI
        return users, uniforms

    def draw(self, turns: int) -> Floats:
        """The draws of the coming turns."""
        starts = self._turns + np.arange(turns)[:, None] * SLATE_SIZE * _BERNOULLI
        self._turns = self._turns + turns * SLATE_SIZE * _BERNOULLI
        return self._clicks(starts)

    def _user(self, config: SimulatorConfig) -> Floats:
        normal = philox.normal(self._words(DIM)).reshape(1, TOPICS, TOPIC_DIM)
        uniforms = philox.uniform(self._words(TOPICS)[:, 0])
        uniforms[uniforms == 1] = 0
        return embed(topic_components(normal), uniforms[None], config)[0]

    def _words(self, count: int) -> np.ndarray:
        """Two words of each of ``count`` threads, by one call of the generator."""
        threads = np.arange(count)
        words = philox.words(self._seed, np.full_like(threads, self.offset), threads)
        self.offset += _CALL
        return words

    def _clicks(self, starts: int | np.ndarray) -> Floats:
        """The draws (..., slate size) of the turns that start at offsets ``starts`` (...)."""
        offsets = np.asarray(starts)[..., None] + np.arange(SLATE_SIZE) * _BERNOULLI
        words = philox.words(self._seed, offsets, np.zeros_like(offsets))
        # CUDA clicks where a draw is at most the probability, the simulator where it is less.
        return np.nextafter(philox.uniform(words[..., 0]), np.float32(-1))
