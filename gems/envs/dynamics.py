"""The simulator's turn in plain NumPy, for all users at once (Section 1 of the specification).

This is the reference; ``gems.kernels.simulator`` is its compiled twin. Sums over dimensions run in
one order, term by term, so that a batch of n users gives exactly what n batches of one give, and
the twin gives the same scores, slates and tastes.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Users(NamedTuple):
    """State of a batch of n users.

    Attributes:
        embedding: (n, dim) float32, current taste.
        bored: (n, topics) bool, topics bored in the coming turn.
        timer: (n, topics) turns until a bored topic recovers.
        topic_log: (n, click memory) main topics of recent clicks, oldest first.
        topic_count: (n,) entries in ``topic_log``.
        turn_log: (n, click memory) turns of recent clicks, oldest first.
        turn_count: (n,) entries in ``turn_log``.
    """

    embedding: Floats
    bored: Bools
    timer: Integers
    topic_log: Integers
    topic_count: Integers
    turn_log: Integers
    turn_count: Integers


class Model(NamedTuple):
    """A click model, or the constants of its compiled twin, and those of boredom and drift."""

    clicks: Any
    influence: np.float32
    l2_norm: bool
    boredom_threshold: int
    boredom_turns: int
    click_lifetime: int


class Catalogue(NamedTuple):
    """Items: embeddings by item and by dimension, main topics, normaliser, and sizes.

    Attributes:
        embeddings: (items, dim) float32.
        by_dim: (dim and zeros to a multiple of 4, items) float32.
        main_topics: (items,) int64.
        normaliser: scores are divided by it.
        topics: number of topics.
        slate_size: items of a slate.
    """

    embeddings: Floats
    by_dim: Floats
    main_topics: Integers
    normaliser: np.float32
    topics: int
    slate_size: int


def effective_users(users: Users) -> Floats:
    """Embeddings (n, dim) with bored topics set to 0."""
    (n, dim), topics = users.embedding.shape, users.bored.shape[1]
    parts = users.embedding.reshape(n, topics, dim // topics)
    return np.where(users.bored[:, :, None], np.float32(0), parts).reshape(n, dim)


def oracle_slates(users: Users, catalogue: Catalogue, out: Integers) -> None:
    """The short-term oracle's slates: top items by score with the effective users."""
    out[:] = _best(effective_users(users), catalogue)


def score_all(effective: Floats, catalogue: Catalogue) -> Floats:
    """Scores (n, items) of all items."""
    scores = np.zeros((len(effective), len(catalogue.embeddings)), dtype=np.float32)
    for weight, values in zip((effective / catalogue.normaliser).T, catalogue.by_dim, strict=False):
        scores += weight[:, None] * values
    return scores


def _best(effective: Floats, catalogue: Catalogue) -> Integers:
    """Items with the largest scores (n, slate size) in descending order; ties to the lower one."""
    n, users = len(effective), np.arange(len(effective))
    scores = score_all(effective, catalogue)
    best = np.empty((n, catalogue.slate_size), dtype=np.int64)
    for rank in range(catalogue.slate_size):
        best[:, rank] = scores.argmax(axis=1)
        scores[users, best[:, rank]] = -np.inf
    return best


def _scores(effective: Floats, slates: Integers, catalogue: Catalogue) -> Floats:
    """Scores (n, slate size) of the items of slates."""
    scores = np.zeros(slates.shape, dtype=np.float32)
    for d in range(effective.shape[1]):
        scores += effective[:, d : d + 1] * catalogue.embeddings[slates, d]
    return scores / catalogue.normaliser


def normalise(users: Floats, topics: int, l2_norm: bool) -> Floats:
    """Users (n, dim) by their Euclidean norm, or by the sum over topics of the topic's norm."""
    n, dim = users.shape
    parts = users.reshape(n, topics, dim // topics)
    squares = np.zeros(parts.shape[:2], dtype=np.float32)
    for d in range(parts.shape[2]):
        squares += parts[:, :, d] * parts[:, :, d]
    terms = squares if l2_norm else np.sqrt(squares)
    norm = np.zeros(n, dtype=np.float32)
    for topic in range(topics):
        norm += terms[:, topic]
    divisors = np.sqrt(norm) if l2_norm else norm
    return np.divide(users, divisors[:, None], dtype=np.float32)


def _append(log: Integers, count: Integers, mask: Bools, values: Integers) -> None:
    """Append to the logs of the users in ``mask``, dropping their oldest entry when full."""
    _drop_oldest(log, count, mask & (count == log.shape[1]))
    log[mask, count[mask]] = values[mask]
    count[mask] += 1


def _drop_oldest(log: Integers, count: Integers, mask: Bools) -> None:
    log[mask, :-1] = log[mask, 1:]
    count[mask] -= 1


def _remember(
    users: Users, slates: Integers, clicks: Bools, turn: int, model: Model, main: Integers
) -> None:
    """Log the clicks of a turn and forget old ones (step 7); ``turn`` < 0 is the first slate."""
    for rank in np.flatnonzero(clicks.any(axis=0)):
        clicked = clicks[:, rank]
        _append(users.topic_log, users.topic_count, clicked, main[slates[:, rank]])
        if turn >= 0:
            _append(users.turn_log, users.turn_count, clicked, np.full(len(slates), turn))
    while True:
        age = turn - users.turn_log[:, 0]
        old = (users.turn_count > 0) & (age > model.click_lifetime)
        if not old.any():
            return
        _drop_oldest(users.topic_log, users.topic_count, old)
        _drop_oldest(users.turn_log, users.turn_count, old)


def _drift(
    users: Users, slates: Integers, clicks: Bools, catalogue: Catalogue, model: Model
) -> None:
    """Move users towards each clicked item in rank order (step 8)."""
    keep, topics = np.float32(1) - model.influence, catalogue.topics
    for rank in np.flatnonzero(clicks.any(axis=0)):
        mask = clicks[:, rank]
        moved = catalogue.embeddings[slates[mask, rank]] * model.influence
        moved = keep * users.embedding[mask] + moved
        users.embedding[mask] = normalise(moved, topics, model.l2_norm)


def _boredom(users: Users, model: Model) -> None:
    """Recover from boredom and get bored, for the coming turn (steps 1 and 2)."""
    users.timer[users.bored] -= 1
    users.bored[users.timer <= 0] = False
    users.timer[~users.bored] = model.boredom_turns
    topics = np.arange(users.bored.shape[1])
    held = np.arange(users.topic_log.shape[1]) < users.topic_count[:, None]
    recent = ((users.topic_log[:, :, None] == topics) & held[:, :, None]).sum(axis=1)
    users.bored[recent >= model.boredom_threshold] = True


def play_turn(
    users: Users,
    slates: Integers,
    uniforms: Floats,
    turn: int,
    catalogue: Catalogue,
    model: Model,
    scores: Floats,
    clicks: Bools,
) -> None:
    """One turn of every user: fill, click, remember, drift, then boredom for the next turn.

    Args:
        users: state, changed in place.
        slates: (n, slate size) int64; -1 is replaced in place by the oracle's item.
        uniforms: (n, slate size) float32; a click happens where its uniform < its probability.
        turn: number of the turn; -1 for the first slate, whose clicks do not move the user.
        catalogue: the items.
        model: click model and constants.
        scores: (n, slate size) float32, written.
        clicks: (n, slate size) bool, written.
    """
    effective = effective_users(users)
    asked = slates < 0
    if asked.any():
        slates[asked] = _best(effective, catalogue)[asked]
    scores[:] = _scores(effective, slates, catalogue)
    topics = catalogue.main_topics[slates]
    clicks[:] = uniforms < model.clicks.click_probabilities(scores, topics)
    _remember(users, slates, clicks, turn, model, catalogue.main_topics)
    if turn >= 0:
        _drift(users, slates, clicks, catalogue, model)
    _boredom(users, model)


def replay_boredom(
    users: Users, slates: Integers, clicks: Bools, model: Model, main: Integers, bored: Bools
) -> None:
    """Bored topics after each observation of recorded episodes, (n, T + 1, topics) ``bored``.

    Args:
        users: state of new users, changed in place.
        slates: (n, T + 1, slate size), the first slate first.
        clicks: (n, T + 1, slate size) bool.
        model: the constants.
        main: (items,) main topics.
        bored: written.
    """
    for turn in range(slates.shape[1]):
        _remember(users, slates[:, turn], clicks[:, turn], turn - 1, model, main)
        _boredom(users, model)
        bored[:, turn] = users.bored
