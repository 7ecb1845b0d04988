"""Batched simulator of users: clicks, drift and boredom (Section 1 of the specification)."""

from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gems import kernels
from gems.envs import dynamics
from gems.envs.click_models import CLICK_MODELS
from gems.envs.environments import Environment
from gems.envs.items import Floats, Integers, Items
from gems.envs.users import SeededUsers, UserSource
from gems.errors import GemsError


class Sizes(NamedTuple):
    """Sizes of an environment: ``dim`` are the dimensions of items and users."""

    n_items: int
    slate_size: int
    topics: int
    dim: int


class Observation(NamedTuple):
    """What is known after a turn of n users.

    Attributes:
        slates: (n, slate size) int64, items shown.
        clicks: (n, slate size) bool.
        users: (n, dim) float32, tastes; only for disclosed methods.
        bored: (n, topics) bool, topics bored in the coming turn; likewise.
        was_bored: (n, topics) bool, topics that were bored in the turn just played; likewise.
    """

    slates: Integers
    clicks: NDArray[np.bool_]
    users: Floats
    bored: NDArray[np.bool_]
    was_bored: NDArray[np.bool_]


class Simulator:
    """Users of one environment, all at the same turn; a single user is a batch of one.

    Attributes:
        config: options of the simulator.
        n_items: number of items.
        slate_size: items of a slate.
        topics: number of topics.
        dim: dimensions of items and users: those of all topics.
        click_model: how users click.
        compiled: whether turns are played by compiled code, else by NumPy.
        users: state of the users.
        scores: (n, slate size) float32, scores of the items shown last, boredom included.
        turn: number of turns played.
    """

    def __init__(self, items: Items, environment: Environment) -> None:
        """Take the items, and the click model and options of ``environment``.

        Raises:
            GemsError: there are fewer items than a slate shows.
            ValueError: the items have another number of topics than the environment.
        """
        self.items, self.config = items, environment.simulator
        config = self.config
        self.n_items, self.dim = items.embeddings.shape
        self.slate_size, self.topics = config.slate_size, items.topics
        if self.topics != environment.items.topics:
            raise ValueError(f"the items must have {environment.items.topics} topics")
        if self.n_items < self.slate_size:
            raise GemsError(
                f"The environment {environment.name} shows slates of {self.slate_size} items, "
                f"but has {self.n_items} items."
            )
        kind = CLICK_MODELS[environment.kind]
        self.click_model = kind(environment.click_options, config, items.topics)
        twin = kernels.twin_of(self.click_model)
        self.compiled = twin is not None
        self._turns = _compiled() if self.compiled else dynamics
        self.catalogue = dynamics.Catalogue(
            items.embeddings,
            items.by_dim,
            items.main_topics,
            np.float32(items.normaliser),
            self.topics,
            self.slate_size,
        )
        self.model = dynamics.Model(
            twin if self.compiled else self.click_model,
            influence=np.float32(config.influence),
            l2_norm=config.user_norm == "l2",
            boredom_threshold=config.boredom_threshold,
            boredom_turns=config.boredom_turns,
            click_lifetime=config.click_lifetime,
        )
        self._first_slate = items.first_slate(self.slate_size)

    @property
    def sizes(self) -> Sizes:
        """All sizes of the environment."""
        return Sizes(self.n_items, self.slate_size, self.topics, self.dim)

    def reset(self, n: int, rng: np.random.Generator) -> Observation:
        """Draw ``n`` new users and show them the first slate; ``rng`` also draws later clicks."""
        return self.meet(n, SeededUsers(rng))

    def meet(self, n: int, source: UserSource) -> Observation:
        """``reset`` with users, and draws of their clicks, of any source."""
        users, uniforms = source.begin(n, self)
        self._source = source
        return self.start(users, uniforms)

    def step(self, slates: Integers) -> Observation:
        """Show ``slates`` (n, slate size); an entry of -1 stands for the oracle's item.

        Raises:
            ValueError: ``slates`` has another shape or an item that does not exist.
        """
        return self.advance(slates, self.draw(1)[0])

    def draw(self, turns: int) -> Floats:
        """The draws of that many coming turns, (turns, n, slate size)."""
        return self._source.draw(turns)

    def start(self, users: Floats, uniforms: Floats) -> Observation:
        """``reset`` with the users' embeddings and the draws of the first clicks given."""
        self.users = self._new(users)
        self.turn = -1
        return self.advance(np.tile(self._first_slate, (len(users), 1)), uniforms)

    def _new(self, users: Floats) -> dynamics.Users:
        """State of new users with these embeddings."""
        n, memory = len(users), self.config.click_memory
        return dynamics.Users(
            embedding=np.array(users, dtype=np.float32),
            bored=np.zeros((n, self.topics), dtype=np.bool_),
            timer=np.full((n, self.topics), self.config.boredom_turns, dtype=np.int64),
            topic_log=np.zeros((n, memory), dtype=np.int64),
            topic_count=np.zeros(n, dtype=np.int64),
            turn_log=np.zeros((n, memory), dtype=np.int64),
            turn_count=np.zeros(n, dtype=np.int64),
        )

    def advance(self, slates: Integers, uniforms: Floats) -> Observation:
        """``step`` with the draws given: a click happens where its uniform < its probability."""
        shape = (len(self.users.embedding), self.slate_size)
        slates = np.array(slates, dtype=np.int64)
        if slates.shape != shape or uniforms.shape != shape:
            raise ValueError(f"slates must have shape {shape}, not {slates.shape}")
        if slates.size and (slates.min() < -1 or slates.max() >= self.n_items):
            raise ValueError(f"slates must hold items 0 to {self.n_items - 1}, or -1")
        self.scores, was_bored = np.empty(shape, dtype=np.float32), self.users.bored.copy()
        clicks = np.empty(shape, dtype=np.bool_)
        self._turns.play_turn(
            self.users, slates, uniforms, self.turn, self.catalogue, self.model, self.scores, clicks
        )
        self.turn += 1
        state = self.users.embedding.copy(), self.users.bored.copy(), was_bored
        return Observation(slates, clicks, *state)

    def boredom(
        self, slates: NDArray[np.signedinteger], clicks: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Topics bored in the turn after each observation of recorded episodes.

        Args:
            slates: (n, T + 1, slate size), as in ``Episodes``.
            clicks: (n, T + 1, slate size).

        Returns:
            (n, T + 1, topics) bool.
        """
        users = self._new(np.zeros((len(slates), self.dim), dtype=np.float32))
        bored = np.empty((*slates.shape[:2], self.topics), dtype=np.bool_)
        self._turns.replay_boredom(users, slates, clicks, self.model, self.items.main_topics, bored)
        return bored

    def oracle_slates(self) -> Integers:
        """The short-term oracle's slates for the coming turn, (n, slate size) int64."""
        slates = np.empty((len(self.users.embedding), self.slate_size), dtype=np.int64)
        self._turns.oracle_slates(self.users, self.catalogue, slates)
        return slates


def _compiled() -> ModuleType:
    """The compiled twin of ``dynamics``; only here is numba imported."""
    from gems.kernels import simulator

    return simulator
