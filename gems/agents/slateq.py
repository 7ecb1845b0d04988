"""SlateQ in its variant QL-TT-TS: Q-learning with top-k slates (Section 6)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gems import kernels
from gems.agents.base import (
    Decision,
    Learner,
    Mode,
    Policy,
    adam,
    credited,
    first_clicked,
    minimise,
    next_states,
    polyak_update,
    random_slates,
    returns_to_go,
    top_items,
)
from gems.agents.belief import Belief
from gems.agents.disclosed_clicks import DisclosedClicks
from gems.agents.networks import MLP
from gems.data.replay import Batch
from gems.envs.simulator import Observation


def best_slates(clicks: DisclosedClicks, scores: Tensor, values: Tensor, slate_size: int) -> Tensor:
    """Slates (m, slate size) of the items with the largest products of relevance and Q value.

    ``scores`` and Q ``values`` are (m, items).
    """
    constants = kernels.twin_of(clicks.model) if kernels.use(values) else None
    if constants is not None:
        from gems.kernels import slateq as compiled

        sharpness, threshold = constants.sharpness, constants.threshold
        return compiled.best_slates(scores, values, slate_size, sharpness, threshold)
    return top_items(clicks.relevances(scores) * values, slate_size)


class SlateQPolicy(Policy):
    """Shows the items with the largest products of relevance and Q value.

    While exploring, a slate is random with probability ``epsilon``, a buffer that the learner sets.
    """

    disclosed = True
    epsilon: Tensor

    def __init__(
        self,
        clicks: DisclosedClicks,
        slate_size: int,
        *,
        embedding_dim: int,
        state_dim: int,
        hidden_dim: int,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.clicks, self.slate_size = clicks, slate_size
        self.n_items = len(clicks.items)
        self.belief = Belief(
            self.n_items, slate_size, embedding_dim=embedding_dim, state_dim=state_dim
        )
        self.net = MLP(state_dim, hidden_dim, self.n_items)
        self.register_buffer("epsilon", torch.tensor(epsilon))

    def begin(self, n: int) -> None:
        self.belief.begin(n)

    def draws(self, mode: Mode, turns: int, n: int, generator: torch.Generator) -> Tensor:
        """Random slates; or while exploring, uniforms for whether to show one and for its items."""
        if mode == "random":
            return random_slates(turns, n, self.slate_size, self.n_items, generator)
        k = 1 + self.slate_size if mode == "explore" else 0
        return torch.rand(turns, n, k, generator=generator, device=generator.device)

    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        if mode == "random":
            return Decision(draws)
        states = self.belief.observe(observation)
        values = self.net(states)
        scores = self.clicks.acting_scores(observation)
        slates = best_slates(self.clicks, scores, values, self.slate_size)
        if mode == "explore":
            random = (draws[:, 1:].double() * self.n_items).long().clamp(max=self.n_items - 1)
            slates = torch.where(draws[:, :1] < self.epsilon, random, slates)
        return Decision(slates, states=states)

    def compiled(self) -> Any:
        from gems.kernels.slateq import slateq_arrays

        clicks = self.clicks
        constants = kernels.arrays_of(clicks.model)
        return slateq_arrays(
            kernels.arrays_of(self.belief),
            kernels.arrays_of(self.net),
            clicks.items,
            clicks.acting_dims,
            by_was_bored=clicks.acting_is_faulty,
            sharpness=constants.sharpness,
            threshold=constants.threshold,
            epsilon=self.epsilon.item(),
        )


class SlateQ(Learner):
    """Q-learning of item values Q(s, i).

    The value of a slate is the sum over its items of click probability times Q value. Keyword
    arguments are options of the sections ``agent`` and ``slateq``.
    """

    policy: SlateQPolicy
    updates: Tensor

    def __init__(
        self,
        policy: SlateQPolicy,
        *,
        gamma: float,
        tau: float,
        q_lr: float,
        epsilon_start: float,
        epsilon_end: float,
        epsilon_decay: float,
        epsilon_clock: str,
        credit: str,
    ) -> None:
        super().__init__()
        self.policy, self.gamma, self.tau, self.credit = policy, gamma, tau, credit
        self.epsilon_start, self.epsilon_end = epsilon_start, epsilon_end
        self.epsilon_decay, self.epsilon_clock = epsilon_decay, epsilon_clock
        net = policy.net
        self.target = MLP(net.first.in_features, net.first.out_features, policy.n_items)
        self.target.load_state_dict(net.state_dict())
        self.target.requires_grad_(False)
        self.register_buffer("updates", torch.tensor(0))
        self._adam = adam([*net.parameters(), *policy.belief.parameters()], q_lr)

    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        return (self._adam,)

    def start_episode(self, episode: int) -> None:
        if self.epsilon_clock == "episodes":
            self._set_epsilon(episode)

    def _set_epsilon(self, count: float) -> None:
        decay = math.exp(-count / self.epsilon_decay)
        start, end = self.epsilon_start, self.epsilon_end
        self.policy.epsilon.fill_(end + (start - end) * decay)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Update the target network, then the Q values of the first clicked items."""
        polyak_update(self.target, self.policy.net, self.tau)
        states = self.policy.belief(batch.slates[:, :-1], batch.clicks[:, :-1])
        slates, clicks = credited(batch, self.credit)
        clicked, item = first_clicked(slates.flatten(0, 1), clicks.flatten(0, 1))
        targets = 1 + self.gamma * self._next_values(batch, states.detach()).flatten()[clicked]
        values = self._values(states.flatten(0, 1)[clicked], item[clicked])
        # The mean of a batch without clicks would be nan; its loss is 0, with zero gradients.
        loss = functional.mse_loss(values, targets) if len(values) else values.sum()
        minimise(loss, self._adam)
        self.updates += 1
        if self.epsilon_clock == "updates":
            self._set_epsilon(self.updates.item())
        after = self.gamma * functional.pad(returns_to_go(batch.rewards, self.gamma)[:, 1:], (0, 1))
        return {
            "loss": loss.item(),
            "q_value": values.detach().mean().nan_to_num().item(),
            "return_to_go": (1 + after.flatten()[clicked]).mean().nan_to_num().item(),
            "epsilon": self.policy.epsilon.item(),
        }

    def _values(self, states: Tensor, items: Tensor) -> Tensor:
        """Q values (m,) of one item in each state."""
        net = self.policy.net
        rows, bias = functional.embedding(items, net.last.weight), net.last.bias[items]
        return (net.hidden(states) * rows).sum(-1) + bias

    @torch.no_grad()
    def _next_values(self, batch: Batch, states: Tensor) -> Tensor:
        """Values (n, T) of the next states: those of their best slates, or 0 in the last turn."""
        clicks = self.policy.clicks
        values = self.target(next_states(states).flatten(0, 1))
        users, bored = (part[:, 1:].flatten(0, 1) for part in (batch.users, batch.bored))
        scores = clicks.target_scores(users, bored)
        slates = best_slates(clicks, scores, values, self.policy.slate_size)
        probability = clicks.click_probabilities(slates, scores.gather(-1, slates))
        value = (probability * values.gather(-1, slates)).sum(-1).view(states.shape[:2])
        value[:, -1] = 0
        return value
