"""Training of one agent: collect, update, validate, keep the best, save the state (Section 7)."""

import copy
import math
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gems.agents.base import Learner, Mode, Policy
from gems.config import TrainingConfig
from gems.data.replay import Batch, Episodes, Replay
from gems.errors import GemsError
from gems.progress import Progress
from gems.randomness import stream, torch_stream
from gems.simulator.simulator import Simulator
from gems.tracking import Tracker
from gems.training.rollout import rollout
from gems.training.state import SAVE_SECONDS, Terminated, Termination, TrainingState

RANDOM_BLOCK = 100


class Trainer:
    """Trains a learner in one environment.

    All randomness comes from streams named by the episode, and everything else that changes is in
    ``_state``, so that a resumed run equals one that was never stopped.

    Attributes:
        curve: one row a validation: episode, validation return, return and figures of training.
    """

    def __init__(
        self,
        learner: Learner,
        simulator: Simulator,
        config: TrainingConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        """Put the learner on ``device``; acting stays on the CPU."""
        self.learner, self.simulator = learner.to(device), simulator
        self.config, self.seed, self.device = config, seed, device
        policy = learner.policy
        self._actor: Policy = policy if device.type == "cpu" else copy.deepcopy(policy).cpu()
        capacity = 0 if learner.on_policy else min(config.replay_episodes, config.episodes)
        turns = simulator.config.turns
        self._replay = Replay(capacity, turns, policy.stored_dim, policy.disclosed)
        self.curve: list[dict[str, float]] = []
        self._episode = 0
        self._returns: list[float] = []
        self._figures: dict[str, list[float]] = defaultdict(list)
        self._termination = Termination()
        self._best: dict[str, Tensor] = {}
        self.best_episode, self.best_return = 0, -math.inf

    def train(self, stage: str, state: TrainingState, tracker: Tracker) -> None:
        """Train to the end, from the last saved state, and load the best policy.

        Raises:
            GemsError: a loss is not a number, or the saved state is damaged.
            Terminated: SIGTERM came; the state of the last episode is saved.
        """
        saved = state.load()
        if saved is not None:
            self._restore(saved)
        last_saved = time.monotonic()
        every = self.config.validate_every
        progress = Progress(stage, self.config.episodes, "episodes", self._episode)
        with progress, self._termination:
            while self._episode < self.config.episodes:
                started, first = time.monotonic(), self._episode
                try:
                    row = self._train_until((self._episode // every + 1) * every, progress)
                except Terminated:
                    state.save(self._state())
                    raise
                seconds = time.monotonic() - started
                self.curve.append(row)
                progress.advance(0, **{"return": row["validation_return"]})
                speed = (self._episode - first) / seconds
                tracker.log({**row, "episodes_per_second": speed}, self._episode)
                if time.monotonic() - last_saved > SAVE_SECONDS:
                    state.save(self._state())
                    last_saved = time.monotonic()
        self.learner.policy.load_state_dict(self._best)

    def _train_until(self, stop: int, progress: Progress) -> dict[str, float]:
        """Train up to episode ``stop``, validate there, and return a row of the curve."""
        while self._episode < stop:
            self._termination.check()
            collected = self._collect(stop)
            self._returns.extend(collected.returns.tolist())
            for index in range(len(collected.slates)):
                for name, value in self._learn(collected.pick(slice(index, index + 1))).items():
                    self._figures[name].append(value)
                self._episode += 1
                progress.advance()
        self._validate()
        figures = {name: float(np.mean(values)) for name, values in sorted(self._figures.items())}
        training_return = float(np.mean(self._returns))
        self._returns.clear()
        self._figures.clear()
        return {
            "episode": self._episode,
            "validation_return": self._last_return,
            "training_return": training_return,
            **figures,
        }

    def _acting(self) -> Policy:
        if self._actor is not self.learner.policy:
            self._actor.load_state_dict(self.learner.policy.state_dict())
        return self._actor

    def _collect(self, stop: int) -> Episodes:
        """The next episode; in the random phase, which no update changes, many at once."""
        left = self.config.random_episodes - self._episode
        n = min(RANDOM_BLOCK, left, stop - self._episode) if left > 0 else 1
        mode: Mode = "random" if left > 0 else "explore"
        purpose = "train", self._episode
        return rollout(self._acting(), self.simulator, n, mode, self.seed, *purpose)

    def _learn(self, episode: Episodes) -> dict[str, float]:
        """Remember one episode and make one update, unless the random phase forbids it."""
        if not self.learner.on_policy:
            self._replay.add(episode)
        if self._episode < self.config.random_episodes and not self.learner.learns_from_random:
            return {}
        if not self.learner.on_policy:
            rng = stream(self.seed, "replay", self._episode)
            episode = self._replay.sample(self.config.batch_episodes, rng)
        generator = torch_stream(self.seed, "update", self._episode, device=self.device)
        figures = self.learner.update(Batch.of(episode, self.device), generator)
        for name, value in figures.items():
            if not math.isfinite(value):
                raise GemsError(f"{name} became {value} at episode {self._episode}.")
        return figures

    def _validate(self) -> None:
        """Mean return of fresh users; keep the policy if it is the best so far."""
        n, purpose = self.config.validation_users, ("validation", self._episode)
        episodes = rollout(self._acting(), self.simulator, n, "greedy", self.seed, *purpose)
        self._last_return = float(episodes.returns.mean())
        if self._last_return > self.best_return:
            self.best_episode, self.best_return = self._episode, self._last_return
            weights = self.learner.policy.state_dict()
            self._best = {name: value.detach().cpu().clone() for name, value in weights.items()}

    def _state(self) -> dict[str, Any]:
        return {
            "episode": self._episode,
            "returns": self._returns,
            "figures": dict(self._figures),
            "learner": self.learner.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.learner.optimisers()],
            "replay": self._replay.state(),
            "best": self._best,
            "best_episode": self.best_episode,
            "best_return": self.best_return,
            "curve": self.curve,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self._episode, self._returns = saved["episode"], saved["returns"]
        self._figures.update(saved["figures"])
        self.learner.load_state_dict(saved["learner"])
        for optimiser, values in zip(self.learner.optimisers(), saved["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self._replay.restore(saved["replay"])
        self._best, self.best_episode = saved["best"], saved["best_episode"]
        self.best_return, self.curve = saved["best_return"], saved["curve"]
