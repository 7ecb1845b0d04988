"""A learner that notes what the training loop asks of it, in an environment without luck."""

from typing import NamedTuple

import numpy as np
import torch
from runtimes import UNTRACKED

from gems.agents.base import Decision, Learner, Policy
from gems.config import build
from gems.envs.items import Items
from gems.envs.simulator import Simulator
from gems.training.checkpoint import TrainingState
from gems.training.loop import Trainer

TURNS = 2
NEVER, ALWAYS = 0, 1  # items that nobody clicks, and that everybody clicks
CLICKED_OR_NOT = {
    "turns": TURNS,
    "sharpness": 1e4,
    "relevance_threshold": 0.1,
    "examination_decay": 1.0,
    "boredom_threshold": 11,  # more clicks than are remembered
}
# Item 0 has next to no relevance, all others have the largest one.
CATALOGUE = Items(np.r_[np.full((1, 20), 1e-6), np.full((19, 20), 20**-0.5)].astype(np.float32))


class Started(NamedTuple):
    """A call of ``start_episode``."""

    episode: int


class Played(NamedTuple):
    """A rollout: how, after how many updates, with which users, shown what first, which draws."""

    mode: str
    updates: int
    users: np.ndarray
    first_slates: np.ndarray
    draws: int


class Updated(NamedTuple):
    """An update: the users of its episodes, and which draws."""

    users: np.ndarray
    draws: int


class SpyPolicy(Policy):
    """Shows as many items that are clicked as ``worth`` says for the number of updates made."""

    disclosed = True

    def __init__(self, log, worth):
        super().__init__()
        self.log, self.worth = log, worth
        self.register_buffer("updates", torch.tensor(0))

    def begin(self, n):
        self.is_new = True

    def draws(self, mode, turns, n, generator):
        return torch.full((turns, n, 1), generator.initial_seed())

    def act(self, observation, mode, draws):
        updates = int(self.updates)
        if self.is_new:
            seen = observation.users, observation.slates
            self.log.append(Played(mode, updates, *seen, int(draws[0, 0])))
        self.is_new = False
        slates = torch.full((len(observation.users), 10), NEVER)
        slates[:, : self.worth(updates)] = ALWAYS
        return Decision(slates)


class SpyLearner(Learner):
    """Only counts its updates; ``log`` holds all that happened, in order."""

    def __init__(
        self, worth=lambda updates: 0, on_policy=False, learns_from_random=False, batch_drawn=None
    ):
        super().__init__()
        self.log = []
        self.policy = SpyPolicy(self.log, worth)
        self.on_policy, self.learns_from_random = on_policy, learns_from_random
        self.batch_drawn = batch_drawn

    def start_episode(self, episode):
        self.log.append(Started(episode))

    def update(self, batch, generator):
        self.log.append(Updated(batch.users[:, 0].numpy(), generator.initial_seed()))
        self.policy.updates += 1
        return {}

    def optimisers(self):
        return ()

    def played(self, *modes):
        """The rollouts in these modes."""
        return [e for e in self.log if isinstance(e, Played) and e.mode in modes]

    def batches(self):
        """Of each update the numbers, from 0, of the training episodes it learnt from."""
        users = np.concatenate([played.users for played in self.played("random", "explore")])
        numbers = {user.tobytes(): number for number, user in enumerate(users)}
        updates = [event for event in self.log if isinstance(event, Updated)]
        return [[numbers[user.tobytes()] for user in update.users] for update in updates]


def clicked_or_not(config=None):
    """An environment in which item 0 is never clicked and all others always."""
    config = config or build({"simulator": CLICKED_OR_NOT})
    return Simulator(CATALOGUE, config.environment("focused_topdown"))


def train(learner, folder, seed=3, **training):
    """Train ``learner`` with these options of ``training``; gives the trainer."""
    defaults = {"random_episodes": 0, "validation_users": 1, "batch_episodes": 3}
    config = build({"training": {**defaults, **training}}).training
    trainer = Trainer(learner, clicked_or_not(), config, seed, torch.device("cpu"))
    trainer.train("spy", TrainingState(folder, "spy"), UNTRACKED)
    return trainer
