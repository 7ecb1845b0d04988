"""The simulator's turn, compiled: the twin of ``gems.envs.dynamics``, one user after the other.

Plain loops without reassociation, so that a batch of n users gives exactly what n batches of one
give. All functions implement Section 1 of the specification.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gems.kernels.click_model import odds
from gems.kernels.compiled import jit
from gems.kernels.selection import top_k


class Scratch(NamedTuple):
    """Buffers for one user's turn: scores of all items, a slate, a taste, counts by topic."""

    scores: NDArray[np.float32]
    best: NDArray[np.int64]
    effective: NDArray[np.float32]
    counts: NDArray[np.int64]


@jit
def scratch_for(catalogue: Any) -> Scratch:
    return Scratch(
        np.empty(catalogue.by_dim.shape[1], dtype=np.float32),
        np.empty(catalogue.slate_size, dtype=np.int64),
        # Zeros at the end, as in ``by_dim``.
        np.zeros(catalogue.by_dim.shape[0], dtype=np.float32),
        np.empty(catalogue.topics, dtype=np.int64),
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
    """The user embedding with bored topics set to 0, into ``out`` (dim or wider,)."""
    width = embedding.shape[0] // bored.shape[0]
    for d in range(embedding.shape[0]):
        out[d] = embedding[d]
    for topic in range(bored.shape[0]):
        if bored[topic]:
            for d in range(topic * width, (topic + 1) * width):
                out[d] = np.float32(0)


@jit
def oracle_slates(users: Any, catalogue: Any, out: Any) -> None:
    """The short-term oracle's slates: top items by score with the effective users."""
    scratch = scratch_for(catalogue)
    for u in range(out.shape[0]):
        effective_user(users.embedding[u], users.bored[u], scratch.effective)
        score_all(scratch.effective, catalogue.by_dim, catalogue.normaliser, scratch.scores)
        top_k(scratch.scores, out[u])


@jit
def _fill(slate: Any, catalogue: Any, scratch: Any) -> None:
    """Replace -1 by the oracle's item for ``scratch.effective`` at that rank (step 4)."""
    missing = False
    for rank in range(slate.shape[0]):
        missing |= slate[rank] < 0
    if missing:
        score_all(scratch.effective, catalogue.by_dim, catalogue.normaliser, scratch.scores)
        top_k(scratch.scores, scratch.best)
        for rank in range(slate.shape[0]):
            if slate[rank] < 0:
                slate[rank] = scratch.best[rank]


@jit
def _click(
    slate: Any, uniforms: Any, catalogue: Any, model: Any, scratch: Any, scores: Any, clicks: Any
) -> None:
    """Scores and clicks of one slate by the taste ``scratch.effective`` (steps 5 and 6)."""
    per_topic, most = scratch.counts, 0
    per_topic[:] = 0
    for rank in range(slate.shape[0]):
        topic = catalogue.main_topics[slate[rank]]
        per_topic[topic] += 1
        most = max(most, per_topic[topic])
    penalty = model.penalty if most >= model.diversity_threshold else np.float32(1)
    for rank in range(slate.shape[0]):
        score = np.float32(0)
        item = catalogue.embeddings[slate[rank]]
        for d in range(item.shape[0]):
            score += scratch.effective[d] * item[d]
        scores[rank] = score / catalogue.normaliser
    for rank in range(slate.shape[0]):
        against = odds(scores[rank], model.sharpness, model.threshold)
        attractiveness = np.float32(1) / (np.float32(1) + against) / penalty
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
def _drift(
    user: Any, slate: Any, clicks: Any, embeddings: Any, topics: int, influence: Any, l2_norm: bool
) -> None:
    """Move the user towards each clicked item in rank order (step 8)."""
    for rank in range(slate.shape[0]):
        if clicks[rank]:
            item = embeddings[slate[rank]]
            for d in range(user.shape[0]):
                user[d] = (np.float32(1) - influence) * user[d] + influence * item[d]
            _normalise(user, topics, l2_norm)


@jit
def _normalise(user: Any, topics: int, l2_norm: bool) -> None:
    """Divide by the Euclidean norm, or by the sum over topics of the topic's norm."""
    total = np.float32(0)
    square = np.float32(0)
    width = user.shape[0] // topics
    for topic in range(topics):
        first = topic * width
        part = user[first] * user[first]
        for d in range(first + 1, first + width):
            part += user[d] * user[d]
        square += part
        total += np.sqrt(part)
    norm = np.sqrt(square) if l2_norm else total
    for d in range(user.shape[0]):
        user[d] /= norm


@jit
def normalise(users: Any, topics: int, l2_norm: bool) -> Any:
    """As ``dynamics.normalise``, but in place."""
    for u in range(users.shape[0]):
        _normalise(users[u], topics, l2_norm)
    return users


@jit
def _boredom(users: Any, u: int, model: Any, recent: Any) -> None:
    """Recover from boredom and get bored, for the coming turn (steps 1 and 2).

    ``recent`` (topics,) is a buffer for counts.
    """
    bored = users.bored[u]
    timer = users.timer[u]
    for topic in range(bored.shape[0]):
        if bored[topic]:
            timer[topic] -= 1
            bored[topic] = timer[topic] > 0
        if not bored[topic]:
            timer[topic] = model.boredom_turns
    recent[:] = 0
    for entry in range(users.topic_count[u]):
        recent[users.topic_log[u, entry]] += 1
    for topic in range(bored.shape[0]):
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
    scratch: Any,
    scores: Any,
    clicks: Any,
) -> None:
    """``play_turn`` of user ``u``; ``scratch`` is that of ``scratch_for``."""
    effective_user(users.embedding[u], users.bored[u], scratch.effective)
    _fill(slate, catalogue, scratch)
    _click(slate, uniforms, catalogue, model.clicks, scratch, scores, clicks)
    _remember(users, u, slate, clicks, turn, model, catalogue.main_topics)
    if turn >= 0:
        embeddings, topics = catalogue.embeddings, catalogue.topics
        _drift(
            users.embedding[u], slate, clicks, embeddings, topics, model.influence, model.l2_norm
        )
    _boredom(users, u, model, scratch.counts)


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
    """One turn of every user, as ``dynamics.play_turn``; ``model`` holds the twin's constants."""
    scratch = scratch_for(catalogue)
    for u in range(slates.shape[0]):
        play_user(
            users, u, slates[u], uniforms[u], turn, catalogue, model, scratch, scores[u], clicks[u]
        )


@jit
def replay_boredom(users: Any, slates: Any, clicks: Any, model: Any, main: Any, bored: Any) -> None:
    """Bored topics of recorded episodes, as ``dynamics.replay_boredom``."""
    recent = np.empty(bored.shape[2], dtype=np.int64)
    for u in range(slates.shape[0]):
        for turn in range(slates.shape[1]):
            _remember(users, u, slates[u, turn], clicks[u, turn], turn - 1, model, main)
            _boredom(users, u, model, recent)
            bored[u, turn] = users.bored[u]
