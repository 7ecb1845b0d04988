"""Where new users and the draws of their clicks come from.

Either each purpose has a stream of its own (``SeededUsers``), or all methods and seeds share one
generator, whose numbers are those that the released code drew on a GPU (``SharedUsers``,
Section 10 of the specification).
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np

from gems import kernels
from gems.envs import philox
from gems.envs.dynamics import normalise
from gems.envs.items import Floats, topic_components
from gems.sections import SimulatorConfig

if TYPE_CHECKING:
    from gems.envs.simulator import Simulator

# Of the generator that the released code draws users from.
SHARED_SEED = 24321357327
# By how much a call of the generator advances it: one of a few numbers, and a Bernoulli draw.
_CALL, _BERNOULLI = 4, 12


class UserSource(Protocol):
    """Gives new users, then the draws of their clicks turn by turn."""

    def begin(self, n: int, simulator: "Simulator") -> tuple[Floats, Floats]:
        """``n`` new users of ``simulator``.

        Returns:
            Their embeddings (n, dim), and the draws (n, slate size) of their first clicks. A click
            happens where the draw is less than its probability.
        """

    def draw(self, turns: int) -> Floats:
        """The draws of the clicks of that many coming turns, (turns, n, slate size)."""


def embed(components: Floats, uniforms: Floats, config: SimulatorConfig) -> Floats:
    """User embeddings (n, dim) float32 of topic components and topic weights (Section 1).

    Args:
        components: (n, topics, topic dim), as ``topic_components`` gives them.
        uniforms: (n, topics) uniform numbers.
        config: options of the simulator.
    """
    weights = uniforms ** np.float32(config.user_topic_power)
    weights /= weights.sum(axis=1, keepdims=True)
    users = (components * weights[:, :, None]).reshape(len(weights), -1)
    topics, l2_norm = weights.shape[1], config.user_norm == "l2"
    if kernels.available():
        from gems.kernels import simulator as compiled

        return compiled.normalise(users, topics, l2_norm)
    return normalise(users, topics, l2_norm)


class SeededUsers:
    """Users and clicks from a numpy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw everything from ``rng``."""
        self._rng = rng

    def begin(self, n: int, simulator: "Simulator") -> tuple[Floats, Floats]:
        """``n`` new users, and the draws of their first clicks."""
        self._shape = n, simulator.slate_size
        topics, width = simulator.topics, simulator.dim // simulator.topics
        uniforms = self._rng.random((n, topics), dtype=np.float32)
        normal = self._rng.standard_normal((n, topics, width), dtype=np.float32)
        users = embed(topic_components(normal), uniforms, simulator.config)
        return users, self._rng.random(self._shape, dtype=np.float32)

    def draw(self, turns: int) -> Floats:
        """The draws of the coming turns."""
        return self._rng.random((turns, *self._shape), dtype=np.float32)


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
        self._slots, turns = simulator.slate_size, simulator.config.turns
        users = np.empty((n, simulator.dim), dtype=np.float32)
        uniforms = np.empty((n, self._slots), dtype=np.float32)
        self._turns = np.empty(n, dtype=np.int64)
        for u in range(n):
            users[u], uniforms[u] = self._user(simulator)
            if not simulator.start(users[u : u + 1], uniforms[u : u + 1]).clicks.any():
                self.offset += _CALL  # the released code then draws an integer
            self._turns[u] = self.offset
            self.offset += turns * self._slots * _BERNOULLI
        return users, uniforms

    def draw(self, turns: int) -> Floats:
        """The draws of the coming turns."""
        slots = np.arange(turns * self._slots).reshape(turns, 1, self._slots)
        offsets = self._turns[:, None] + slots * _BERNOULLI
        self._turns = self._turns + turns * self._slots * _BERNOULLI
        return _clicks(philox.words(self._seed, offsets, np.zeros_like(offsets)))

    def _user(self, simulator: "Simulator") -> tuple[Floats, Floats]:
        """The embedding (dim,) of the next user, and the draws (slate size,) of the first clicks.

        One call draws normal numbers, a thread for each dimension, one uniform numbers, a thread
        for each topic, and each slot is a Bernoulli draw of its own.
        """
        dim, topics = simulator.dim, simulator.topics
        counts = dim, topics, self._slots
        calls = np.repeat([self.offset, self.offset + _CALL, self.offset + 2 * _CALL], counts)
        threads = np.arange(len(calls))
        threads[dim:] -= dim
        threads[dim + topics :] = 0
        calls[dim + topics :] += np.arange(self._slots) * _BERNOULLI
        words = philox.words(self._seed, calls, threads)
        self.offset += 2 * _CALL + self._slots * _BERNOULLI
        components = topic_components(philox.normal(words[:dim]).reshape(1, topics, -1))
        uniforms = philox.uniform(words[dim : dim + topics, 0])
        uniforms[uniforms == 1] = 0
        user = embed(components, uniforms[None], simulator.config)[0]
        return user, _clicks(words[dim + topics :])


def _clicks(words: np.ndarray) -> Floats:
    """Draws (...) of clicks from words (..., 2)."""
    # CUDA clicks where a draw is at most the probability, the simulator where it is less.
    return np.nextafter(philox.uniform(words[..., 0]), np.float32(-1))
