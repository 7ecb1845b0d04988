"""Interface of policies and learners, and functions that the agents share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gems import kernels
from gems.data.replay import Batch
from gems.envs.simulator import Observation

Mode = Literal["random", "explore", "greedy"]


class Decision(NamedTuple):
    """What a policy shows after an observation.

    Attributes:
        slates: (n, slate size) int64.
        actions: (n, stored dim), the actions that the slates were decoded from.
        states: (n, state dim), the belief states that the policy acted on.
    """

    slates: Tensor
    actions: Tensor | None = None
    states: Tensor | None = None


class Policy(nn.Module, ABC):
    """Chooses slates for a batch of users.

    It acts on the CPU, without gradients. A run saves its ``state_dict``, so whatever it learns has
    to be in parameters and buffers. It may have a compiled twin (see ``gems.kernels``).

    Attributes:
        stored_dim: dimensions of the actions that its learner needs in the replay buffer, or 0.
        disclosed: whether it, or its learner, uses the users' embeddings and bored topics.
    """

    stored_dim: int = 0
    disclosed: bool = False

    def action_bounds(self) -> tuple[Tensor, Tensor] | None:
        """The smallest and the largest stored action, both (stored dim,); None if unbounded."""
        return None

    def begin(self, n: int) -> None:
        """Start an episode with ``n`` new users."""

    def draws(self, mode: Mode, turns: int, n: int, generator: torch.Generator) -> Tensor:
        """All random numbers of an episode with ``n`` users, (turns, n, k); by default k = 0.

        They are drawn before it starts, so that ``act`` and a compiled episode use the same ones.
        """
        return torch.empty(turns, n, 0)

    @abstractmethod
    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        """Choose the next slates.

        Args:
            observation: slates and clicks of the last turn.
            mode: ``random`` in the random phase, ``explore`` in later training, else ``greedy``.
            draws: (n, k), the random numbers of this turn.
        """


class Learner(nn.Module, ABC):
    """Trains a policy on whole episodes.

    A run resumes from its ``state_dict`` and those of ``optimisers``, so whatever changes in
    training has to be in parameters, buffers and optimisers.

    Attributes:
        policy: the policy that it trains.
        batch_drawn: ``before_episode`` or ``after_episode``; None: as ``training.batch_drawn``.
        on_policy: whether a batch is the last episode instead of a sample of the replay buffer.
        learns_from_random: whether updates start in the random phase instead of after it.
    """

    policy: Policy
    batch_drawn: str | None = None
    on_policy: ClassVar[bool] = False
    learns_from_random: ClassVar[bool] = False

    def start_episode(self, episode: int) -> None:
        """Called before an episode, or a block of the random phase; numbers start at 0."""

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One update, after each collected episode, with ``generator`` for its random numbers.

        Returns:
            Losses and other metrics by name, for the learning curve; a value that is not finite
            ends the run with an error.
        """

    @abstractmethod
    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """All optimisers, always in the same order."""


def random_slates(
    turns: int, n: int, slate_size: int, n_items: int, generator: torch.Generator
) -> Tensor:
    """Uniform items drawn with replacement, (turns, n, slate size)."""
    shape = turns, n, slate_size
    return torch.randint(n_items, shape, generator=generator, device=generator.device)


def column_bounds(table: Tensor) -> tuple[Tensor, Tensor]:
    """Center and half width (D,) of the range of each column of ``table`` (items, D)."""
    low, high = table.min(0).values, table.max(0).values
    return (high + low) / 2, (high - low) / 2


def top_items(values: Tensor, k: int) -> Tensor:
    """Indices (n, k) of the largest of ``values`` (n, items), in descending order."""
    if kernels.use(values):
        from gems.kernels import topk as compiled

        return compiled.top_items(values, k)
    return values.topk(k, dim=-1).indices


def adam(parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Adam as all agents use it; the fused implementation is the fastest on CPUs and GPUs."""
    return torch.optim.Adam(parameters, lr=lr, fused=True)


def minimise(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """One step of ``optimiser`` on ``loss``, with gradients for its own parameters only."""
    loss.backward(inputs=[p for group in optimiser.param_groups for p in group["params"]])
    optimiser.step()
    optimiser.zero_grad()


@torch.no_grad()
def polyak_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Polyak averaging: ``target`` <- (1 - tau) ``target`` + tau ``source``."""
    targets, sources = [p.data for p in target.parameters()], [p.data for p in source.parameters()]
    torch._foreach_mul_(targets, 1 - tau)
    torch._foreach_add_(targets, sources, alpha=tau)


def next_states(states: Tensor) -> Tensor:
    """Next state of each turn, (n, T, state dim).

    The last turn, which has none, repeats its own state; callers set the value of it to 0.
    """
    return torch.cat([states[:, 1:], states[:, -1:]], dim=1)


def credited(batch: Batch, credit: str) -> tuple[Tensor, Tensor]:
    """Slates and clicks (n, T, slate size) that are credited to each turn.

    Args:
        batch: the episodes.
        credit: ``observed``, the slate shown before the action (off by one), or ``chosen``, the
            slate that the action led to (Section 9).
    """
    turns = slice(None, -1) if credit == "observed" else slice(1, None)
    return batch.slates[:, turns], batch.clicks[:, turns]


@cache
def _discounts(turns: int, gamma: float, device: torch.device) -> Tensor:
    """Matrix (T, T) of gamma^(u - t) in row u and column t <= u, else 0."""
    exponents = torch.arange(turns).unsqueeze(1) - torch.arange(turns)
    return torch.where(exponents >= 0, gamma ** exponents.clamp(min=0).float(), 0.0).to(device)


def returns_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """Discounted returns (n, T) from each turn on, of the rewards (n, T)."""
    return rewards @ _discounts(rewards.shape[1], gamma, rewards.device)


def first_clicked(slates: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each slate (m, slate size) was clicked (m,), and its first clicked item (m,)."""
    rank = clicks.argmax(-1, keepdim=True)
    return clicks.any(-1), slates.gather(-1, rank).squeeze(-1)
