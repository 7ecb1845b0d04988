"""What the training loop asks of a policy and of a learner."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gems.data.replay import Batch
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Observation

Mode = Literal["random", "explore", "greedy"]


class Decision(NamedTuple):
    """Slates (n, slate size) int64, and the actions (n, stored dim) they were decoded from."""

    slates: Tensor
    actions: Tensor | None = None


class Policy(nn.Module, ABC):
    """Chooses slates for a batch of users; what a checkpoint of a run holds.

    Attributes:
        stored_dim: dimensions of the actions that its learner wants to see again; 0 if none.
        disclosed: whether it, or its learner, looks at the users' tastes and boredom.
    """

    stored_dim: int = 0
    disclosed: bool = False

    def begin(self, n: int) -> None:
        """Forget all users; ``n`` new ones come."""

    @abstractmethod
    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Choose the next slates.

        Args:
            observation: what the last turn showed.
            mode: ``random`` in the random phase, ``explore`` while training, else ``greedy``.
            generator: source of all randomness, on the policy's device.
        """

    def compiled(self, turns: int, generator: torch.Generator) -> tuple[Any, Tensor] | None:
        """What ``acting.play_episode`` needs to explore with one user, None if it can't.

        Returns:
            The policy's arrays, and random numbers (turns, k).
        """
        return None


class Learner(nn.Module, ABC):
    """Improves a policy from whole episodes.

    Attributes:
        policy: what it improves.
        on_policy: whether it learns from one episode at a time instead of the replay.
        learns_from_random: whether it learns during the random phase too.
        batch_drawn: when its batch is drawn; None as ``training.batch_drawn`` says.
    """

    policy: Policy
    batch_drawn: str | None = None
    on_policy: ClassVar[bool] = False
    learns_from_random: ClassVar[bool] = False

    def start_episode(self, episode: int) -> None:
        """Called before an episode is collected; episodes are numbered from 0."""

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One gradient update; returns losses and other figures by name."""

    @abstractmethod
    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """The optimisers, in a fixed order, for a training state."""


def random_slates(n: int, n_items: int, generator: torch.Generator) -> Tensor:
    """Uniform items drawn with replacement, (n, slate size)."""
    return torch.randint(n_items, (n, SLATE_SIZE), generator=generator, device=generator.device)


def adam(parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Adam as all agents use it; fused, which is the fast form on CPUs and GPUs."""
    return torch.optim.Adam(parameters, lr=lr, fused=True)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Polyak averaging: ``target`` <- (1 - tau) ``target`` + tau ``source``."""
    targets, sources = [p.data for p in target.parameters()], [p.data for p in source.parameters()]
    torch._foreach_mul_(targets, 1 - tau)
    torch._foreach_add_(targets, sources, alpha=tau)


def following(states: Tensor) -> Tensor:
    """State after each turn's action, (n, T, state): the last is a dummy, masked by its end."""
    return torch.cat([states[:, 1:], states[:, -1:]], dim=1)


def credited(batch: Batch, credit: str) -> tuple[Tensor, Tensor]:
    """Slates and clicks (n, T, slate size) credited to each turn (Section 9: off by one)."""
    turns = slice(None, -1) if credit == "observed" else slice(1, None)
    return batch.slates[:, turns], batch.clicks[:, turns]


@cache
def _discounts(turns: int, gamma: float, device: torch.device) -> Tensor:
    """Weight (T, T) of the reward of each turn, by row, in the return from each turn, by column."""
    ahead = torch.arange(turns).unsqueeze(1) - torch.arange(turns)
    return torch.where(ahead >= 0, gamma ** ahead.clamp(min=0).float(), 0.0).to(device)


def returns_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """Discounted sum of the rewards (n, T) from each turn on, (n, T)."""
    return rewards @ _discounts(rewards.shape[1], gamma, rewards.device)


def first_clicked(slates: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
    """Of every slate (m, slate size): whether it was clicked (m,), its first clicked item (m,)."""
    rank = clicks.argmax(-1, keepdim=True)
    return clicks.any(-1), slates.gather(-1, rank).squeeze(-1)
