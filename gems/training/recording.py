"""Statistics of test episodes for figures: means by turn, and scores by number of bored topics."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gems.envs.environments import Environment
from gems.envs.items import Items
from gems.envs.simulator import Observation, Simulator
from gems.runtime.files import written_whole

BINS_PER_UNIT = 100


class RecordingSimulator(Simulator):
    """A simulator that records statistics of every turn after the first slate.

    Attributes:
        played: (turns,) number of users in each turn.
        totals: (turns, 3) sums over users of reward, bored topics when the slate was shown, and
            different main topics in the slate.
    """

    def __init__(self, items: Items, environment: Environment) -> None:
        super().__init__(items, environment)
        self.played = np.zeros(self.config.turns, dtype=np.int64)
        self.totals = np.zeros((self.config.turns, 3), dtype=np.int64)
        self._scores: dict[tuple[int, int], tuple[int, float]] = {}

    def advance(self, slates: NDArray, uniforms: NDArray) -> Observation:
        bored = self.users.bored.sum(axis=1)
        seen = super().advance(slates, uniforms)
        if self.turn > 0:
            topics = self.items.main_topics[seen.slates]
            different = (topics[:, :, None] == np.arange(self.topics)).any(axis=1).sum(axis=1)
            self.played[self.turn - 1] += len(bored)
            self.totals[self.turn - 1] += [seen.clicks.sum(), bored.sum(), different.sum()]
            self._count_scores(np.repeat(bored, self.slate_size), self.scores.ravel())
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
        """Write means over users as CSV; turns count from 1."""
        means = self.totals / self.played[:, None]
        rows = ([turn, *values] for turn, values in enumerate(means.tolist(), start=1))
        _write(path, ["turn", "reward", "bored_topics", "slate_topics"], rows)

    def write_scores(self, path: Path) -> None:
        """Write a histogram of the scores of shown items, boredom included, as CSV.

        A row has the count and sum of scores in [score_from, score_from + 0.01) under
        ``bored_topics`` bored topics.
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
