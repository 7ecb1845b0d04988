"""``gems recommend``: the next slates of logged sessions, read and written as JSON lines."""

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gems.errors import GemsError
from gems.runtime.files import written_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gems.training.policy import SlatePolicy

# A chunk ends at either, so that memory is bounded whatever the sessions are.
CHUNK_SESSIONS, CHUNK_TURNS = 1_000, 100_000
# Sessions are played together if the shortest has at least this share of the turns of the longest.
SHORTEST = 0.8


class Session(NamedTuple):
    """A line of the history: the user, if named, and slates and clicks (turns, slate size)."""

    user: Any
    slates: "NDArray[np.int64]"
    clicks: "NDArray[np.bool_]"


def recommend_command(args: argparse.Namespace) -> None:
    """Choose the next slate of each session of a history, with the policy of a finished run."""
    from gems.training.policy import load_policy

    policy = load_policy(args.run, args.episode)
    with contextlib.ExitStack() as stack:
        if args.history == Path("-"):
            lines: IO[bytes] = sys.stdin.buffer
        else:
            lines = stack.enter_context(args.history.open("rb"))
        if args.output is None:
            output: IO[str] = sys.stdout
        else:
            temporary = stack.enter_context(written_whole(args.output))
            output = stack.enter_context(temporary.open("w", encoding="utf-8"))
        seeds = itertools.count()
        for chunk in _chunks(lines, policy):
            for session, slate in zip(chunk, _next_slates(policy, chunk, seeds), strict=True):
                output.write(json.dumps({"user": session.user, "slate": slate}) + "\n")


def _chunks(lines: Iterable[bytes], policy: "SlatePolicy") -> Iterator[list[Session]]:
    """The sessions in the order of the lines; blank lines are skipped."""
    chunk: list[Session] = []
    turns = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            session = _session(line, policy)
        except GemsError as error:
            raise GemsError(f"Line {number} of the history cannot be used. {error}") from error
        chunk.append(session)
        turns += len(session.slates)
        if len(chunk) == CHUNK_SESSIONS or turns >= CHUNK_TURNS:
            yield chunk
            chunk, turns = [], 0
    if chunk:
        yield chunk


def _session(line: bytes, policy: "SlatePolicy") -> Session:
    from gems.training.policy import checked

    try:
        read = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise GemsError(f"It is not JSON: {error}.") from error
    if not isinstance(read, dict):
        raise GemsError('It is not an object such as {"slates": [[...]], "clicks": [[...]]}.')
    for name in ("slates", "clicks"):
        if name not in read:
            raise GemsError(f"It has no {name!r}.")
        if not isinstance(read[name], list):
            raise GemsError(f"Its {name!r} must be a list with a list for each turn.")
    turns, clicked = len(read["slates"]), len(read["clicks"])
    if turns != clicked:
        raise GemsError(f"It has {turns} slates, but clicks of {clicked}.")
    if not turns:
        raise GemsError("It has no turn; a session needs one slate with its clicks at least.")
    shape = turns, policy.slate_size
    return Session(
        read.get("user"), *checked(read["slates"], read["clicks"], shape, policy.n_items)
    )


def _next_slates(
    policy: "SlatePolicy", sessions: list[Session], seeds: Iterator[int]
) -> list[list[int]]:
    """The slate after the last turn of each session.

    Args:
        policy: chooses the slates.
        sessions: of any numbers of turns.
        seeds: for policies that draw random numbers, so that no two groups get the same ones.
    """
    slates: list[list[int]] = [[] for _ in sessions]
    for group in _groups([len(session.slates) for session in sessions]):
        chosen = _played(policy, [sessions[index] for index in group], next(seeds))
        for index, slate in zip(group, chosen.tolist(), strict=True):
            slates[index] = slate
    return slates


def _groups(turns: list[int]) -> Iterator[list[int]]:
    """Indices of sessions of about the same number of turns, which are played together."""
    group: list[int] = []
    for index in sorted(range(len(turns)), key=turns.__getitem__, reverse=True):
        if group and turns[index] < SHORTEST * turns[group[0]]:
            yield group
            group = []
        group.append(index)
    yield group


def _played(policy: "SlatePolicy", sessions: list[Session], seed: int) -> "NDArray[np.int64]":
    """The slates (n, slate size) after the last turn of each of ``sessions``."""
    import numpy as np

    lengths = np.array([len(session.slates) for session in sessions])
    shape = lengths.max(), len(sessions), policy.slate_size
    # Turns after the end of a session are filled, and what the policy chooses there is dropped.
    slates, clicks = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    for place, session in enumerate(sessions):
        slates[: lengths[place], place] = session.slates
        clicks[: lengths[place], place] = session.clicks
    last = np.empty(shape[1:], dtype=np.int64)
    policy.reset(len(sessions), seed=seed)
    for turn in range(shape[0]):
        chosen = policy.act(slates[turn], clicks[turn])
        ends = lengths == turn + 1
        last[ends] = chosen[ends]
    return last
