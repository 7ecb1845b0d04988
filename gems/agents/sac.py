"""Soft actor-critic whose continuous actions a ranker turns into slates (Section 6)."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from gems import kernels
from gems.agents.base import (
    Decision,
    Learner,
    Mode,
    Policy,
    adam,
    minimise,
    next_states,
    polyak_update,
    returns_to_go,
)
from gems.agents.belief import Belief, actor_and_critic
from gems.agents.critics import Critics
from gems.agents.gaussian import Gaussian
from gems.data.replay import Batch
from gems.envs.simulator import Observation


class Ranker(Protocol):
    """A module that turns actions into slates.

    Attributes:
        center: (D,) buffer, the middle of the range of actions.
        scale: (D,) buffer; actions lie between ``center - scale`` and ``center + scale``.
    """

    center: Tensor
    scale: Tensor

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) of actions (n, D)."""


class SACPolicy(Policy):
    """The actor: a belief encoder, a Gaussian head, and a ranker that bounds the actions."""

    def __init__(self, belief: Belief, ranker: Ranker, *, hidden_dim: int) -> None:
        super().__init__()
        self.belief = belief
        bounds = ranker.center, ranker.scale
        self.head = Gaussian(*bounds, state_dim=belief.state_dim, hidden_dim=hidden_dim)
        self.ranker = ranker
        self.action_dim = self.stored_dim = len(ranker.center)

    def action_bounds(self) -> tuple[Tensor, Tensor]:
        center, scale = self.head.center, self.head.scale
        return center - scale, center + scale

    def begin(self, n: int) -> None:
        self.belief.begin(n)

    def draws(self, mode: Mode, turns: int, n: int, generator: torch.Generator) -> Tensor:
        if mode == "greedy":
            return super().draws(mode, turns, n, generator)
        draw = torch.rand if mode == "random" else torch.randn
        shape = turns, n, self.action_dim
        return draw(shape, generator=generator, device=generator.device)

    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        states = self.belief.observe(observation)
        if mode == "random":
            actions = self.head.middle_half(draws)
        elif mode == "explore":
            actions = self.head.sample(self.head.net(states), draws).actions
        else:
            actions = self.head.mean_action(states)
        return Decision(self.rank(actions, states, observation), actions, states)

    def rank(self, actions: Tensor, states: Tensor, observation: Observation) -> Tensor:
        """Slates (n, slate size) of ``actions``; subclasses may rank by states too."""
        return self.ranker.rank(actions)

    def compiled(self) -> Any:
        from gems.kernels.sac import SACArrays

        parts = self.belief, self.head, self.ranker
        return SACArrays(*(kernels.arrays_of(part) for part in parts))


class SAC(Learner):
    """Trains twin critics, a policy and the entropy coefficient alpha.

    ``belief`` is the critics' belief encoder; keyword arguments are options of the sections
    ``agent`` and ``sac``.
    """

    policy: SACPolicy
    alpha: Tensor

    def __init__(
        self,
        policy: SACPolicy,
        belief: Belief,
        *,
        gamma: float,
        tau: float,
        q_lr: float,
        policy_lr: float,
        alpha_lr: float,
        initial_alpha: float,
        hidden_dim: int,
    ) -> None:
        super().__init__()
        self.policy, self.belief = policy, belief
        self.gamma, self.tau = gamma, tau
        dims = belief.state_dim, policy.action_dim, hidden_dim
        self.critics, self.targets = Critics(*dims), Critics(*dims)
        self.targets.load_state_dict(self.critics.state_dict())
        self.targets.requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.zeros(1))
        self.register_buffer("alpha", torch.tensor([initial_alpha]))
        self._critic_adam = adam([*self.critics.parameters(), *belief.parameters()], q_lr)
        self._policy_adam = adam(
            [*policy.head.parameters(), *policy.belief.parameters()], policy_lr
        )
        self._alpha_adam = adam([self.log_alpha], alpha_lr)

    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        return self._critic_adam, self._policy_adam, self._alpha_adam

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics, the policy and alpha, in this order."""
        head, rewards = self.policy.head, batch.rewards
        observed = batch.slates[:, :-1], batch.clicks[:, :-1]
        actor_states, critic_states = self.policy.belief(*observed), self.belief(*observed)
        outputs = head.net(actor_states.flatten(0, 1))
        targets = self._targets(rewards, actor_states, critic_states, outputs, generator)

        states = critic_states.flatten(0, 1)
        q_loss, q_value = self.critics.loss(states, self.replayed_actions(batch), targets)
        minimise(q_loss, self._critic_adam)

        actions, log_prob = head.sample(outputs, head.noise(len(outputs), generator))
        min_q = self.critics.min_value(states.detach(), actions)
        policy_loss = (self.alpha * log_prob - min_q).mean()
        minimise(policy_loss, self._policy_adam)

        log_prob, target_entropy = log_prob.detach(), -self.policy.action_dim
        alpha_loss = -(self.log_alpha.exp() * (log_prob.mean() + target_entropy)).sum()
        minimise(alpha_loss, self._alpha_adam)

        polyak_update(self.targets, self.critics, self.tau)

        entropy_bonus = -self.alpha * log_prob.view_as(rewards)
        soft_rewards = rewards + self.gamma * functional.pad(entropy_bonus[:, 1:], (0, 1))
        self.alpha.copy_(self.log_alpha.detach().exp())
        return {
            "q_loss": q_loss.item(),
            "policy_loss": policy_loss.item(),
            "alpha_loss": alpha_loss.item(),
            "alpha": self.alpha.item(),
            "q_value": q_value.item(),
            # To compare with `q_value`, which estimates the return with the entropy bonus.
            "return_to_go": returns_to_go(rewards, self.gamma).mean().item(),
            "soft_return_to_go": returns_to_go(soft_rewards, self.gamma).mean().item(),
        }

    def replayed_actions(self, batch: Batch) -> Tensor:
        """Actions (n T, D) of the batch in the form that the critics take."""
        return batch.actions.flatten(0, 1)

    def critic_actions(
        self, actions: Tensor, actor_states: Tensor, critic_states: Tensor
    ) -> Tensor:
        """Actions (m, D) of the policy in the form that the critics take, here unchanged."""
        return actions

    @torch.no_grad()
    def _targets(
        self,
        rewards: Tensor,
        actor_states: Tensor,
        critic_states: Tensor,
        outputs: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Targets (n T,) of the critics, r + gamma (min_j Q_j(s', a') - alpha log pi(a')).

        ``outputs`` (n T, 2 D) are those of the policy network, which include the next states.
        """
        n, turns = rewards.shape
        outputs = outputs.view(n, turns, -1)
        next_actor_states, next_critic_states, next_outputs = (
            next_states(part).flatten(0, 1) for part in (actor_states, critic_states, outputs)
        )
        head = self.policy.head
        actions, log_prob = head.sample(next_outputs, head.noise(n * turns, generator))
        actions = self.critic_actions(actions, next_actor_states, next_critic_states)
        min_q = self.targets.min_value(next_critic_states, actions)
        value = (min_q - self.alpha * log_prob).view(n, turns)
        value[:, -1] = 0  # the episode ends
        return (rewards + self.gamma * value).flatten()


def sac(
    ranker: Ranker,
    n_items: int,
    slate_size: int,
    *,
    gamma: float,
    hidden_dim: int,
    embedding_dim: int,
    state_dim: int,
    belief_tables: str,
    **rates: float,
) -> SAC:
    """SAC with any ranker, and with new belief encoders and networks.

    Keyword arguments are the options of the sections ``agent`` and ``sac``.
    """
    actor, critic = actor_and_critic(
        n_items,
        slate_size,
        embedding_dim=embedding_dim,
        state_dim=state_dim,
        belief_tables=belief_tables,
    )
    policy = SACPolicy(actor, ranker, hidden_dim=hidden_dim)
    return SAC(policy, critic, gamma=gamma, hidden_dim=hidden_dim, **rates)
