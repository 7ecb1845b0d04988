"""Soft actor-critic on a continuous action that a ranker turns into a slate (Section 6)."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gems.agents.acting import (
    Array,
    BeliefArrays,
    NetArrays,
    belief_arrays,
    chooses,
    net_arrays,
    observe,
    outputs_of,
    rank,
)
from gems.agents.base import (
    Decision,
    Learner,
    Mode,
    Policy,
    adam,
    follow,
    following,
    returns_to_go,
)
from gems.agents.belief import Belief
from gems.agents.critics import Critics
from gems.agents.gaussian import LOG_STD_MAX, LOG_STD_MIN, Gaussian
from gems.compiled import LANES, exp, jit_fused, tanh
from gems.data.replay import Batch
from gems.sections import AgentConfig, SACConfig
from gems.simulator.simulator import Observation


class SACArrays(NamedTuple):
    """An actor: belief, head with the bounds of its action, ranker."""

    belief: BeliefArrays
    head: NetArrays
    center: Array
    scale: Array
    ranker: Any


@chooses(SACArrays)
@jit_fused
def _choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Sample an action with the noise ``draws`` and rank items by it."""
    observe(arrays.belief, seen.slate, seen.clicks, states[0])
    outputs = outputs_of(arrays.head, states[0])
    dim = arrays.center.shape[0]
    sampled = np.zeros(-(-dim // LANES) * LANES, dtype=np.float32)
    for d in range(dim):
        log_std = min(max(outputs[dim + d], np.float32(LOG_STD_MIN)), np.float32(LOG_STD_MAX))
        squashed = tanh(outputs[d] + exp(log_std) * draws[d])
        sampled[d] = arrays.center[d] + arrays.scale[d] * squashed
    for d in range(action.shape[0]):
        action[d] = sampled[d]
    rank(arrays.ranker, sampled, states, seen, slate)


class Ranker(Protocol):
    """Turns actions into slates; a module with the bounds of the action as buffers."""

    center: Tensor
    scale: Tensor

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) of actions (n, action dim)."""


class SACPolicy(Policy):
    """Actor: belief, Gaussian head and ranker."""

    def __init__(self, belief: Belief, ranker: Ranker, config: AgentConfig) -> None:
        """The action has the bounds of ``ranker``."""
        super().__init__()
        self.belief = belief
        self.head = Gaussian(ranker.center, ranker.scale, config)
        self.ranker = ranker
        self.action_dim = self.stored_dim = len(ranker.center)

    def begin(self, n: int) -> None:
        """Start ``n`` users."""
        self.belief.begin(n)

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Sample an action (its mean when greedy) and rank items by it."""
        states = self.belief.observe(observation)
        if mode == "random":
            actions = self.head.middle_half(len(states), generator)
        elif mode == "explore":
            actions = self.head.sample(self.head.net(states), generator).actions
        else:
            actions = self.head.mean_action(states)
        return Decision(self.rank(actions, states, observation), actions)

    def rank(self, actions: Tensor, states: Tensor, observation: Observation) -> Tensor:
        """Slates of ``actions``; rankers that look at states override this."""
        return self.ranker.rank(actions)

    def compiled(self, turns: int, generator: torch.Generator) -> tuple[SACArrays, Tensor]:
        """The actor, and the noise of its actions."""
        head = self.head
        arrays = SACArrays(
            belief_arrays(self.belief.items.weight, self.belief.gru),
            net_arrays(head.net),
            head.center.numpy(),
            head.scale.numpy(),
            self.ranker_arrays(),
        )
        return arrays, torch.randn(turns, len(head.center), generator=generator)

    @abstractmethod
    def ranker_arrays(self) -> Any:
        """What the ranker is made of, for ``acting.rank``."""


class SAC(Learner):
    """Two critics with targets, a policy and an entropy coefficient, each with its Adam."""

    policy: SACPolicy
    alpha: Tensor

    def __init__(
        self, policy: SACPolicy, belief: Belief, agent: AgentConfig, config: SACConfig
    ) -> None:
        """Take the actor and the critics' own belief encoder."""
        super().__init__()
        self.policy, self.belief = policy, belief
        self.gamma, self.tau = agent.gamma, config.tau
        shape = agent.state_dim, policy.action_dim, agent.hidden_dim
        self.critics, self.targets = Critics(*shape), Critics(*shape)
        self.targets.load_state_dict(self.critics.state_dict())
        self.targets.requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.zeros(1))
        self.register_buffer("alpha", torch.tensor([config.initial_alpha]))
        self._critic_parameters = [*self.critics.parameters(), *belief.parameters()]
        self._policy_parameters = [*policy.head.parameters(), *policy.belief.parameters()]
        self._critic_adam = adam(self._critic_parameters, config.q_lr)
        self._policy_adam = adam(self._policy_parameters, config.policy_lr)
        self._alpha_adam = adam([self.log_alpha], config.alpha_lr)

    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """Those of critics, policy and entropy coefficient."""
        return self._critic_adam, self._policy_adam, self._alpha_adam

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics, then of the policy and the entropy coefficient."""
        shown, rewards = (batch.slates[:, :-1], batch.clicks[:, :-1]), batch.rewards
        actor_states, critic_states = self.policy.belief(*shown), self.belief(*shown)
        outputs = self.policy.head.net(actor_states.flatten(0, 1))
        targets = self._targets(rewards, actor_states, critic_states, outputs, generator)

        states = critic_states.flatten(0, 1)
        q_loss, q_value = self.critics.loss(states, self.replayed_actions(batch), targets)
        q_loss.backward(inputs=self._critic_parameters)
        self._step(self._critic_adam)

        sampled = self.policy.head.sample(outputs, generator)
        best = self.critics.least(states.detach(), sampled.actions)
        policy_loss = (self.alpha * sampled.log_prob - best).mean()
        policy_loss.backward(inputs=self._policy_parameters)
        self._step(self._policy_adam)

        entropy = -self.alpha * sampled.log_prob.detach().view_as(rewards)
        soft_rewards = rewards + self.gamma * functional.pad(entropy[:, 1:], (0, 1))
        missing = sampled.log_prob.detach().mean() - self.policy.action_dim
        alpha_loss = -(self.log_alpha.exp() * missing).sum()
        alpha_loss.backward(inputs=[self.log_alpha])
        self._step(self._alpha_adam)
        self.alpha.copy_(self.log_alpha.detach().exp())
        follow(self.targets, self.critics, self.tau)
        return {
            "q_loss": q_loss.item(),
            "policy_loss": policy_loss.item(),
            "alpha_loss": alpha_loss.item(),
            "alpha": self.alpha.item(),
            "q_value": q_value.item(),
            # Of the same turns as `q_value`: without and with the entropy that critics count too.
            "return_to_go": returns_to_go(rewards, self.gamma).mean().item(),
            "soft_return_to_go": returns_to_go(soft_rewards, self.gamma).mean().item(),
        }

    def replayed_actions(self, batch: Batch) -> Tensor:
        """Actions (n T, D) that the critics judge."""
        return batch.actions.flatten(0, 1)

    def executed(self, actions: Tensor, actor_states: Tensor, critic_states: Tensor) -> Tensor:
        """Actions (m, D) as the critics see them, from the policy's; here the same."""
        return actions

    @torch.no_grad()
    def _targets(
        self,
        rewards: Tensor,
        actor: Tensor,
        critic: Tensor,
        outputs: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """What the values of each turn (n T,) should be; ``outputs`` are the head's in every state.

        The next state's are those of a turn later, so the head runs once.
        """
        n, turns = rewards.shape
        actor, critic, outputs = (
            following(part).flatten(0, 1) for part in (actor, critic, outputs.view(n, turns, -1))
        )
        sampled = self.policy.head.sample(outputs, generator)
        actions = self.executed(sampled.actions, actor, critic)
        value = self.targets.least(critic, actions) - self.alpha * sampled.log_prob
        value = value.view(n, turns)
        value[:, -1] = 0  # the episode ends
        return (rewards + self.gamma * value).flatten()

    @staticmethod
    def _step(optimiser: torch.optim.Optimizer) -> None:
        optimiser.step()
        optimiser.zero_grad()
