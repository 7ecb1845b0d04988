"""Batched simulator of users who click, drift and get bored (Section 1 of the specification)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gems.registry import Environment
from gems.sections import SimulatorConfig
from gems.simulator import kernels
from gems.simulator.items import Floats, Integers, Items
from gems.simulator.kernels import DIM, SLATE_SIZE, TOPICS
from gems.simulator.users import SeededUsers, UserSource


class Observation(NamedTuple):
    """What is known after a turn of n users.

    Attributes:
        slates: (n, slate size) int64, items shown.
        clicks: (n, slate size) bool.
        users: (n, 20) float32, tastes; only disclosed methods look.
        bored: (n, topics) bool, topics bored in the coming turn; only disclosed methods look.
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
        users: state of the users (``kernels.Users``).
        scores: (n, slate size) float32, scores of the items shown last, boredom included.
        turn: number of turns played.
    """

    def __init__(self, items: Items, environment: Environment, config: SimulatorConfig) -> None:
        """Take the items, the click model of ``environment`` and the constants of ``config``."""
        self.items = items
        self.config = config
        self.catalogue = kernels.Catalogue(
            items.embeddings, items.by_dim, items.main_topics, np.float32(items.normaliser)
        )
        self.model = click_model(environment, config)

    def reset(self, n: int, rng: np.random.Generator) -> Observation:
        """Draw ``n`` new users and show them the first slate; ``rng`` also draws later clicks."""
        return self.meet(n, SeededUsers(rng))

    def meet(self, n: int, source: UserSource) -> Observation:
        """``reset`` with users, and draws of their clicks, of any source."""
        users, uniforms = source.begin(n, self)
        self._source = source
        return self.start(users, uniforms)

    def step(self, slates: Integers) -> Observation:
        """Show ``slates`` (n, slate size); an entry of -1 asks for the oracle's item.

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
        return self.advance(np.tile(self.items.first_slate, (len(users), 1)), uniforms)

    def _new(self, users: Floats) -> kernels.Users:
        """State of users with these embeddings who have seen nothing."""
        n, memory = len(users), self.config.click_memory
        return kernels.Users(
            embedding=np.array(users, dtype=np.float32),
            bored=np.zeros((n, TOPICS), dtype=np.bool_),
            timer=np.full((n, TOPICS), self.config.boredom_turns, dtype=np.int64),
            topic_log=np.zeros((n, memory), dtype=np.int64),
            topic_count=np.zeros(n, dtype=np.int64),
            turn_log=np.zeros((n, memory), dtype=np.int64),
            turn_count=np.zeros(n, dtype=np.int64),
        )

    def advance(self, slates: Integers, uniforms: Floats) -> Observation:
        """``step`` with the draws given: a click happens where its uniform < its probability."""
        shape = (len(self.users.embedding), SLATE_SIZE)
        slates = np.array(slates, dtype=np.int64)
        if slates.shape != shape or uniforms.shape != shape:
            raise ValueError(f"slates must have shape {shape}, not {slates.shape}")
        if slates.size and (slates.min() < -1 or slates.max() >= len(self.items.embeddings)):
            raise ValueError(f"slates must hold items 0 to {len(self.items.embeddings) - 1}, or -1")
        self.scores, was_bored = np.empty(shape, dtype=np.float32), self.users.bored.copy()
        clicks = np.empty(shape, dtype=np.bool_)
        kernels.play_turn(
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
        users = self._new(np.zeros((len(slates), DIM), dtype=np.float32))
        bored = np.empty((*slates.shape[:2], TOPICS), dtype=np.bool_)
        kernels.replay_boredom(users, slates, clicks, self.model, self.items.main_topics, bored)
        return bored

    def oracle_slates(self) -> Integers:
        """The short-term oracle's slates for the coming turn, (n, slate size) int64."""
        slates = np.empty((len(self.users.embedding), SLATE_SIZE), dtype=np.int64)
        kernels.oracle_slates(self.users, self.catalogue, slates)
        return slates


def click_model(environment: Environment, config: SimulatorConfig) -> kernels.ClickModel:
    """The constants of ``config`` and ``environment`` as the kernels take them."""
    ranks = np.arange(SLATE_SIZE)
    start, decay, nu = config.examination_start or 0, config.examination_decay, environment.top_down
    examination = nu * decay ** (start + ranks) + (1 - nu) * decay ** (
        start + SLATE_SIZE - 1 - ranks
    )
    return kernels.ClickModel(
        examination=examination.astype(np.float32),
        sharpness=np.float32(config.sharpness),
        relevance_threshold=np.float32(config.relevance_threshold),
        penalty=np.float32(config.diversity_penalty if environment.penalised else 1.0),
        diversity_threshold=config.diversity_threshold or SLATE_SIZE + 1,
        influence=np.float32(config.influence),
        l2_norm=config.user_norm == "l2",
        boredom_threshold=config.boredom_threshold,
        boredom_turns=config.boredom_turns,
        click_lifetime=config.click_lifetime,
    )
