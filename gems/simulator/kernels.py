"""The simulator's arithmetic, compiled: every function treats its users one by one.

Plain loops without reassociation, so that a batch of n users gives exactly what n batches of one
give. All functions implement Section 1 of the specification.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gems.compiled import exp, jit
from gems.selection import top_k

TOPICS = 10
TOPIC_DIM = 2
DIM = TOPICS * TOPIC_DIM
SLATE_SIZE = 10


class Users(NamedTuple):
    """State of a batch of n users.

    Attributes:
        embedding: (n, 20) float32, current taste.
        bored: (n, topics) bool, topics bored in the coming turn.
        timer: (n, topics) turns until a bored topic recovers.
        topic_log: (n, click memory) main topics of recent clicks, oldest first.
        topic_count: (n,) entries in ``topic_log``.
        turn_log: (n, click memory) turns of recent clicks, oldest first.
        turn_count: (n,) entries in ``turn_log``.
    """

    embedding: NDArray[np.float32]
    bored: NDArray[np.bool_]
    timer: NDArray[np.int64]
    topic_log: NDArray[np.int64]
    topic_count: NDArray[np.int64]
    turn_log: NDArray[np.int64]
    turn_count: NDArray[np.int64]


class ClickModel(NamedTuple):
    """Constants of clicks, boredom and drift; ``examination`` is (slate size,) float32."""

    examination: NDArray[np.float32]
    sharpness: np.float32
    relevance_threshold: np.float32
    penalty: np.float32
    diversity_threshold: int
    influence: np.float32
    l2_norm: bool
    boredom_threshold: int
    boredom_turns: int
    click_lifetime: int


class Catalogue(NamedTuple):
    """Items as the kernels need them: embeddings by item and by dimension, topics, normaliser."""

    embeddings: NDArray[np.float32]
    by_dim: NDArray[np.float32]
    main_topics: NDArray[np.int64]
    normaliser: np.float32


class Room(NamedTuple):
    """Room for one user's turn: scores of all items, a slate, a taste, counts by topic."""

    scores: NDArray[np.float32]
    best: NDArray[np.int64]
    effective: NDArray[np.float32]
    counts: NDArray[np.int64]


@jit
def room_for(catalogue: Any) -> Room:
    """Room to play with the items of ``catalogue``."""
    return Room(
        np.empty(catalogue.by_dim.shape[1], dtype=np.float32),
        np.empty(SLATE_SIZE, dtype=np.int64),
        np.empty(DIM, dtype=np.float32),
        np.empty(TOPICS, dtype=np.int64),
    )


@jit
def score_all(user: Any, by_dim: Any, normaliser: Any, out: Any) -> None:
    """Scores of all items for one user embedding, into ``out`` (items,)."""
    out[:] = 0
    for d in range(0, by_dim.shape[0], 4):
        a, b = user[d] / normaliser, user[d + 1] / normaliser
        e, f = user[d + 2] / normaliser, user[d + 3] / normaliser
        p, q, r, s = by_dim[d], by_dim[d + 1], by_dim[d + 2], by_dim[d + 3]
        for i in range(out.shape[0]):
            out[i] = (((out[i] + a * p[i]) + b * q[i]) + e * r[i]) + f * s[i]


@jit
def effective_user(embedding: Any, bored: Any, out: Any) -> None:
    """The user embedding with bored topics set to 0, into ``out`` (20,)."""
    for d in range(embedding.shape[0]):
        out[d] = np.float32(0) if bored[d // TOPIC_DIM] else embedding[d]


@jit
def oracle_slates(users: Any, catalogue: Any, out: Any) -> None:
    """The short-term oracle's slates: top items by score with the effective users."""
    room = room_for(catalogue)
    for u in range(out.shape[0]):
        effective_user(users.embedding[u], users.bored[u], room.effective)
        score_all(room.effective, catalogue.by_dim, catalogue.normaliser, room.scores)
        top_k(room.scores, out[u])


@jit
def _fill(slate: Any, catalogue: Any, room: Any) -> None:
    """Replace -1 by the oracle's item for ``room.effective`` at that rank (step 4)."""
    missing = False
    for rank in range(slate.shape[0]):
        missing |= slate[rank] < 0
    if missing:
        score_all(room.effective, catalogue.by_dim, catalogue.normaliser, room.scores)
        top_k(room.scores, room.best)
        for rank in range(slate.shape[0]):
            if slate[rank] < 0:
                slate[rank] = room.best[rank]


@jit
def _click(
    slate: Any, uniforms: Any, catalogue: Any, model: Any, room: Any, scores: Any, clicks: Any
) -> None:
    """Scores and clicks of one slate by the taste ``room.effective`` (steps 5 and 6)."""
    per_topic, most = room.counts, 0
    per_topic[:] = 0
    for rank in range(slate.shape[0]):
        topic = catalogue.main_topics[slate[rank]]
        per_topic[topic] += 1
        most = max(most, per_topic[topic])
    penalty = model.penalty if most >= model.diversity_threshold else np.float32(1)
    for rank in range(slate.shape[0]):
        score = np.float32(0)
        item = catalogue.embeddings[slate[rank]]
        for d in range(DIM):
            score += room.effective[d] * item[d]
        scores[rank] = score / catalogue.normaliser
    for rank in range(slate.shape[0]):
        odds = exp(-model.sharpness * (scores[rank] - model.relevance_threshold))
        attractiveness = np.float32(1) / (np.float32(1) + odds) / penalty
        clicks[rank] = uniforms[rank] < attractiveness * model.examination[rank]


@jit
def _shift(log: Any) -> None:
    """Drop the oldest entry of a log."""
    for entry in range(log.shape[0] - 1):
        log[entry] = log[entry + 1]


@jit
def _append(log: Any, count: int, value: int) -> int:
    """Append to a log of bounded length, dropping its oldest entry when full."""
    if count == log.shape[0]:
        _shift(log)
        count -= 1
    log[count] = value
    return count + 1


@jit
def _remember(
    users: Any, u: int, slate: Any, clicks: Any, turn: int, model: Any, main: Any
) -> None:
    """Log the clicks of a turn and forget old ones (step 7); ``turn`` < 0 is the first slate."""
    topics = users.topic_count[u]
    turns = users.turn_count[u]
    for rank in range(slate.shape[0]):
        if clicks[rank]:
            topics = _append(users.topic_log[u], topics, main[slate[rank]])
            if turn >= 0:
                turns = _append(users.turn_log[u], turns, turn)
    while turns > 0 and turn - users.turn_log[u, 0] > model.click_lifetime:
        _shift(users.topic_log[u])
        _shift(users.turn_log[u])
        topics -= 1
        turns -= 1
    users.topic_count[u] = topics
    users.turn_count[u] = turns


@jit
def _drift(user: Any, slate: Any, clicks: Any, embeddings: Any, model: Any) -> None:
    """Move the user towards each clicked item in rank order (step 8)."""
    for rank in range(slate.shape[0]):
        if clicks[rank]:
            item = embeddings[slate[rank]]
            for d in range(user.shape[0]):
                user[d] = (np.float32(1) - model.influence) * user[d] + model.influence * item[d]
            normalise(user, model.l2_norm)


@jit
def normalise(user: Any, l2_norm: bool) -> None:
    """Divide by the Euclidean norm, or by the sum over topics of the topic's norm."""
    total = np.float32(0)
    square = np.float32(0)
    for topic in range(TOPICS):
        part = np.float32(0)
        for d in range(topic * TOPIC_DIM, (topic + 1) * TOPIC_DIM):
            part += user[d] * user[d]
        square += part
        total += np.sqrt(part)
    norm = np.sqrt(square) if l2_norm else total
    for d in range(user.shape[0]):
        user[d] /= norm


@jit
def _boredom(users: Any, u: int, model: Any, recent: Any) -> None:
    """Recover from boredom and get bored, for the coming turn (steps 1 and 2).

    ``recent`` (topics,) has room for counts.
    """
    bored = users.bored[u]
    timer = users.timer[u]
    for topic in range(TOPICS):
        if bored[topic]:
            timer[topic] -= 1
            bored[topic] = timer[topic] > 0
        if not bored[topic]:
            timer[topic] = model.boredom_turns
    recent[:] = 0
    for entry in range(users.topic_count[u]):
        recent[users.topic_log[u, entry]] += 1
    for topic in range(TOPICS):
        if recent[topic] >= model.boredom_threshold:
            bored[topic] = True


@jit
def play_user(
    users: Any,
    u: int,
    slate: Any,
    uniforms: Any,
    turn: int,
    catalogue: Any,
    model: Any,
    room: Any,
    scores: Any,
    clicks: Any,
) -> None:
    """``play_turn`` of user ``u``; ``room`` is that of ``room_for``."""
    effective_user(users.embedding[u], users.bored[u], room.effective)
    _fill(slate, catalogue, room)
    _click(slate, uniforms, catalogue, model, room, scores, clicks)
    _remember(users, u, slate, clicks, turn, model, catalogue.main_topics)
    if turn >= 0:
        _drift(users.embedding[u], slate, clicks, catalogue.embeddings, model)
    _boredom(users, u, model, room.counts)


@jit
def play_turn(
    users: Any,
    slates: Any,
    uniforms: Any,
    turn: int,
    catalogue: Any,
    model: Any,
    scores: Any,
    clicks: Any,
) -> None:
    """One turn of every user: fill, click, remember, drift, then boredom for the next turn.

    Args:
        users: state, changed in place.
        slates: (n, slate size) int64; -1 is replaced in place by the oracle's item.
        uniforms: (n, slate size) float32; a click happens where its uniform < its probability.
        turn: number of the turn; -1 for the first slate, whose clicks do not move the user.
        catalogue: the items.
        model: the constants.
        scores: (n, slate size) float32, written.
        clicks: (n, slate size) bool, written.
    """
    room = room_for(catalogue)
    for u in range(slates.shape[0]):
        play_user(
            users, u, slates[u], uniforms[u], turn, catalogue, model, room, scores[u], clicks[u]
        )


@jit
def replay_boredom(users: Any, slates: Any, clicks: Any, model: Any, main: Any, bored: Any) -> None:
    """Bored topics after each observation of recorded episodes, (n, T + 1, topics) ``bored``.

    Args:
        users: state of new users, changed in place.
        slates: (n, T + 1, slate size), the first slate first.
        clicks: (n, T + 1, slate size) bool.
        model: the constants.
        main: (items,) main topics.
        bored: written.
    """
    recent = np.empty(TOPICS, dtype=np.int64)
    for u in range(slates.shape[0]):
        for turn in range(slates.shape[1]):
            _remember(users, u, slates[u, turn], clicks[u, turn], turn - 1, model, main)
            _boredom(users, u, model, recent)
            bored[u, turn] = users.bored[u]
