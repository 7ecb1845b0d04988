"""What figures need of the test episodes: sums by turn, and scores by number of bored topics."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gems.files import written_whole
from gems.registry import Environment
from gems.sections import SimulatorConfig
from gems.simulator.items import Items
from gems.simulator.kernels import SLATE_SIZE, TOPICS
from gems.simulator.simulator import Observation, Simulator

BINS_PER_UNIT = 100


class RecordingSimulator(Simulator):
    """A simulator that counts what happens in every turn it plays, the first slate excepted.

    Attributes:
        played: (turns,) users that played each turn.
        totals: (turns, 3) sums over users of the reward, the topics that were bored when the slate
            was shown, and the different main topics in the slate.
    """

    def __init__(self, items: Items, environment: Environment, config: SimulatorConfig) -> None:
        """Take what a ``Simulator`` takes."""
        super().__init__(items, environment, config)
        self.played = np.zeros(self.config.turns, dtype=np.int64)
        self.totals = np.zeros((self.config.turns, 3), dtype=np.int64)
        self._scores: dict[tuple[int, int], tuple[int, float]] = {}

    def advance(self, slates: NDArray, uniforms: NDArray) -> Observation:
        """Play a turn as ever, and count it."""
        bored = self.users.bored.sum(axis=1)
        seen = super().advance(slates, uniforms)
        if self.turn > 0:
            topics = self.items.main_topics[seen.slates]
            different = (topics[:, :, None] == np.arange(TOPICS)).any(axis=1).sum(axis=1)
            self.played[self.turn - 1] += len(bored)
            self.totals[self.turn - 1] += [seen.clicks.sum(), bored.sum(), different.sum()]
            self._count_scores(np.repeat(bored, SLATE_SIZE), self.scores.ravel())
        return seen

    def _count_scores(self, bored: NDArray, scores: NDArray) -> None:
        bins = np.floor(scores.astype(np.float64) * BINS_PER_UNIT).astype(np.int64)
        pairs, index = np.unique(np.stack([bins, bored], axis=1), axis=0, return_inverse=True)
        counts = np.bincount(index.ravel())
        sums = np.bincount(index.ravel(), weights=scores)
        for pair, count, total in zip(pairs.tolist(), counts.tolist(), sums.tolist(), strict=True):
            before = self._scores.get((pair[0], pair[1]), (0, 0.0))
            self._scores[pair[0], pair[1]] = before[0] + count, before[1] + total

    def write_turns(self, path: Path) -> None:
        """Write means over users as CSV: turn (from 1), reward, bored_topics, slate_topics."""
        means = self.totals / self.played[:, None]
        rows = ([turn, *values] for turn, values in enumerate(means.tolist(), start=1))
        _write(path, ["turn", "reward", "bored_topics", "slate_topics"], rows)

    def write_scores(self, path: Path) -> None:
        """Write the histogram of scores as CSV, boredom included: score_from, bored_topics, ...

        A row counts the items with a score from ``score_from`` to 0.01 more that were shown to
        users with ``bored_topics`` bored topics, and sums up their scores.
        """
        rows = (
            [score / BINS_PER_UNIT, bored, count, total]
            for (score, bored), (count, total) in sorted(self._scores.items())
        )
        _write(path, ["score_from", "bored_topics", "count", "score_sum"], rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
