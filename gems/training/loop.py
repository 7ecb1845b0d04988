"""The training loop: collect, update, validate, keep the best policy, save (Section 7)."""

import copy
import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems.agents.base import Learner, Mode, Policy
from gems.data.replay import Batch, Episodes, Replay
from gems.envs.simulator import Simulator
from gems.envs.users import SharedUsers
from gems.errors import GemsError
from gems.runtime.interrupt import Interrupt
from gems.runtime.progress import Progress
from gems.runtime.randomness import stream, torch_stream
from gems.runtime.tracking import Tracker
from gems.sections import TrainingConfig
from gems.training.checkpoint import TrainingState
from gems.training.rollout import rollout

RANDOM_BLOCK = 100


class Trainer:
    """Trains a learner in one environment.

    The learner trains on ``device``; its policy acts on the CPU.

    A resumed run equals one without interruption: each episode has its own random streams, and
    ``_state`` holds all that changes, the offset in the stream of shared users included.

    Attributes:
        curve: a row for each validation: episode, validation return, training return and metrics.
        kept: weights of the policy after the episodes of ``training.keep``.
    """

    def __init__(
        self,
        learner: Learner,
        simulator: Simulator,
        config: TrainingConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.learner, self.simulator = learner.to(device), simulator
        self.config, self.seed, self.device = config, seed, device
        policy = learner.policy
        self._actor: Policy = policy if device.type == "cpu" else copy.deepcopy(policy).cpu()
        capacity = 1 if learner.on_policy else min(config.replay_episodes, config.episodes)
        turns, sizes = simulator.config.turns, simulator.sizes
        self._replay = Replay(capacity, turns, policy.stored_dim, policy.disclosed, sizes)
        self._batch_drawn = learner.batch_drawn or config.batch_drawn
        self._users = SharedUsers() if config.users == "shared" else None
        self.curve: list[dict[str, float]] = []
        self._episode = 0
        self._returns: list[float] = []
        self._metrics: dict[str, list[float]] = {}
        self._best: dict[str, Tensor] = {}
        self.best_episode, self.best_return = 0, -math.inf
        self.kept: dict[int, dict[str, Tensor]] = {}

    def train(self, stage: str, state: TrainingState, tracker: Tracker) -> None:
        """Train, from the last saved state if there is one, and load the best policy.

        SIGTERM and SIGINT end the process after the state has been saved.

        Raises:
            GemsError: a metric is not finite, or the saved state is damaged or cannot be written.
        """
        saved = state.load(self._replay)
        if saved is not None:
            self._restore(saved)
            for row in self.curve:
                tracker.log(_metrics(row), int(row["episode"]))
        every, started = self.config.validate_every, time.monotonic()
        with (
            Progress(stage, self.config.episodes, "episodes", self._episode) as progress,
            Interrupt() as interrupt,
        ):
            first = self._episode
            while self._episode < self.config.episodes:
                self._advance(progress)
                if self._episode % every == 0:
                    row = self._add_row()
                    progress.advance(0, **{"validation return": row["validation_return"]})
                    speed = (self._episode - first) / (time.monotonic() - started)
                    tracker.log(_metrics(row) | {"episodes_per_second": speed}, self._episode)
                    first, started = self._episode, time.monotonic()
                if state.due() or interrupt.received:
                    state.save(self._state(), self._replay)
                interrupt.end()
        self.learner.policy.load_state_dict(self._best)

    def _advance(self, progress: Progress) -> None:
        """Collect episodes, at most up to the next validation, and make an update for each."""
        every = self.config.validate_every
        collected = self._collect((self._episode // every + 1) * every)
        self._returns.extend(collected.returns.tolist())
        for index in range(len(collected.slates)):
            for name, value in self._learn(collected.pick(slice(index, index + 1))).items():
                self._metrics.setdefault(name, []).append(value)
            self._episode += 1
            if self._episode in self.config.keep:
                self.kept[self._episode] = self._weights()
            progress.advance()

    def _add_row(self) -> dict[str, float]:
        """Validate, and return the new row of the curve."""
        mean_return, bored = self._validate()
        row = {
            "episode": self._episode,
            "validation_return": mean_return,
            "validation_bored_topics": bored,
            "training_return": float(np.mean(self._returns)),
            **{name: float(np.mean(values)) for name, values in sorted(self._metrics.items())},
        }
        self._returns, self._metrics = [], {}
        self.curve.append(row)
        return row

    def _acting(self) -> Policy:
        if self._actor is not self.learner.policy:
            self._actor.load_state_dict(self.learner.policy.state_dict())
        return self._actor

    def _collect(self, stop: int) -> Episodes:
        """Collect one episode, or a block of them in the random phase."""
        left = self.config.random_episodes - self._episode
        n = min(RANDOM_BLOCK, left, stop - self._episode) if left > 0 else 1
        mode: Mode = "random" if left > 0 else "explore"
        self.learner.start_episode(self._episode)
        return self._play(n, mode, "train")

    def _play(self, n: int, mode: Mode, purpose: str) -> Episodes:
        streams = self.seed, purpose, self._episode
        return rollout(self._acting(), self.simulator, n, mode, *streams, users=self._users)

    def _learn(self, episode: Episodes) -> dict[str, float]:
        """Store one episode and make one update, if there is a batch for it; return its metrics."""
        before = self._batch_drawn == "before_episode"
        batch = self._draw(distinct=True) if before else None
        self._replay.add(episode)
        if not before:
            batch = self._draw(distinct=False)
        if batch is None:
            return {}
        generator = torch_stream(self.seed, "update", self._episode, device=self.device)
        metrics = self.learner.update(Batch.of(batch, self.device), generator)
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise GemsError(
                    f"{name} became {value} at episode {self._episode}; try lower learning rates."
                )
        return metrics

    def _draw(self, distinct: bool) -> Episodes | None:
        """Sample the batch; None in the random phase or while the replay buffer is empty."""
        in_random_phase = self._episode < self.config.random_episodes
        if not len(self._replay) or (in_random_phase and not self.learner.learns_from_random):
            return None
        size = 1 if self.learner.on_policy else self.config.batch_episodes
        return self._replay.sample(size, stream(self.seed, "replay", self._episode), distinct)

    def _validate(self) -> tuple[float, float]:
        """Validate on new users, and keep the policy if it is the best so far.

        Returns:
            Mean return, and mean number of bored topics in a turn.
        """
        episodes = self._play(self.config.validation_users, "greedy", "validation")
        mean_return = float(episodes.returns.mean())
        if mean_return > self.best_return:
            self.best_episode, self.best_return = self._episode, mean_return
            self._best = self._weights()
        bored = self.simulator.boredom(episodes.slates, episodes.clicks)[:, :-1]
        return mean_return, float(bored.sum(-1).mean())

    def _weights(self) -> dict[str, Tensor]:
        weights = self.learner.policy.state_dict()
        return {name: value.detach().cpu().clone() for name, value in weights.items()}

    def _state(self) -> dict[str, Any]:
        return {
            "episode": self._episode,
            "learner": self.learner.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.learner.optimisers()],
            "best": self._best,
            "best_episode": self.best_episode,
            "best_return": self.best_return,
            "kept": self.kept,
            "curve": self.curve,
            "returns": self._returns,
            "metrics": self._metrics,
            "users": self._users.offset if self._users else 0,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self._episode = saved["episode"]
        self.learner.load_state_dict(saved["learner"])
        for optimiser, values in zip(self.learner.optimisers(), saved["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self._best, self.kept = saved["best"], saved["kept"]
        self.best_episode = saved["best_episode"]
        self.best_return, self.curve = saved["best_return"], saved["curve"]
        self._returns, self._metrics = saved["returns"], saved["metrics"]
        if self._users:
            self._users.offset = saved["users"]


def _metrics(row: dict[str, float]) -> dict[str, float]:
    """A row of the curve without the episode, which trackers take as the step."""
    return {name: value for name, value in row.items() if name != "episode"}
