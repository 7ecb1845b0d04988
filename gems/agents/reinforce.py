"""REINFORCE with a softmax over items, on-policy (Section 6 of the specification)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gems.agents.acting import (
    BeliefArrays,
    NetArrays,
    belief_arrays,
    chooses,
    net_arrays,
    observe,
    outputs_of,
)
from gems.agents.base import (
    Decision,
    Learner,
    Mode,
    Policy,
    adam,
    credited,
    first_clicked,
    random_slates,
    returns_to_go,
)
from gems.agents.belief import Belief
from gems.agents.context import Context
from gems.compiled import exp, jit_fused
from gems.data.replay import Batch
from gems.networks import MLP
from gems.rankers.topk import top_items
from gems.sections import AgentConfig, ReinforceConfig
from gems.selection import largest
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Observation


class SoftmaxArrays(NamedTuple):
    """Belief, and the network of the logits."""

    belief: BeliefArrays
    net: NetArrays
    n_items: int


@chooses(SoftmaxArrays)
@jit_fused
def _choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Draw each rank's item: the first whose cumulated weight exceeds its draw of the total."""
    observe(arrays.belief, seen.slate, seen.clicks, states[0])
    weights = outputs_of(arrays.net, states[0])[: arrays.n_items]
    greatest = weights[largest(weights)]
    for item in range(arrays.n_items):
        weights[item] = exp(weights[item] - greatest)
    total = np.float64(0)
    cumulated = np.empty(arrays.n_items, dtype=np.float64)
    for item in range(arrays.n_items):
        total += weights[item]
        cumulated[item] = total
    for rank in range(slate.shape[0]):
        place = np.searchsorted(cumulated, draws[rank] * total, side="right")
        slate[rank] = min(place, arrays.n_items - 1)


class SoftmaxPolicy(Policy):
    """A softmax over all items; a slate is ten draws with replacement, or the ten most likely."""

    def __init__(self, n_items: int, config: AgentConfig) -> None:
        """Policy over ``n_items`` items."""
        super().__init__()
        self.n_items = n_items
        self.belief = Belief(n_items, config)
        self.net = MLP(config.state_dim, config.hidden_dim, n_items)

    def begin(self, n: int) -> None:
        """Start ``n`` users."""
        self.belief.begin(n)

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Draw a slate, or take the top of the softmax when greedy."""
        if mode == "random":
            return Decision(random_slates(len(observation.slates), self.n_items, generator))
        logits = self.net(self.belief.observe(observation))
        if mode == "greedy":
            return Decision(top_items(logits))
        draws = logits.softmax(-1).multinomial(SLATE_SIZE, replacement=True, generator=generator)
        return Decision(draws)

    def compiled(self, turns: int, generator: torch.Generator) -> tuple[SoftmaxArrays, Tensor]:
        """The networks, and a draw for each item."""
        belief = belief_arrays(self.belief.items.weight, self.belief.gru)
        arrays = SoftmaxArrays(belief, net_arrays(self.net), self.n_items)
        return arrays, torch.rand(turns, SLATE_SIZE, generator=generator)


class Reinforce(Learner):
    """Policy gradient on the return-to-go, with the probability that an item enters a slate."""

    policy: SoftmaxPolicy
    on_policy = True
    learns_from_random = True

    def __init__(self, policy: SoftmaxPolicy, agent: AgentConfig, config: ReinforceConfig) -> None:
        """One Adam for the policy and its belief."""
        super().__init__()
        self.policy = policy
        self.gamma, self.credit = agent.gamma, config.credit
        self.batch_drawn = config.batch_drawn
        self._adam = adam(list(policy.parameters()), config.policy_lr)

    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """The one of the policy."""
        return (self._adam,)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step on turns whose credited slate was clicked."""
        states = self.policy.belief(batch.slates[:, :-1], batch.clicks[:, :-1])
        slates, clicks = credited(batch, str(self.credit))
        clicked, item = first_clicked(slates.flatten(0, 1), clicks.flatten(0, 1))
        returns = returns_to_go(batch.rewards, self.gamma).flatten()[clicked]
        log_prob = functional.log_softmax(self.policy.net(states.flatten(0, 1)[clicked]), dim=-1)
        prob = log_prob.gather(-1, item[clicked].unsqueeze(-1)).squeeze(-1).exp()
        in_slate = 1 - (1 - prob) ** SLATE_SIZE
        loss = -(returns * torch.log(in_slate + 1e-6)).sum()
        loss.backward()
        self._adam.step()
        self._adam.zero_grad()
        entropy = -(log_prob.detach().exp() * log_prob.detach()).sum(-1).mean().nan_to_num()
        return {"loss": loss.item(), "entropy": entropy.item()}


def reinforce(context: Context) -> Reinforce:
    """Build REINFORCE+SoftMax."""
    config = context.config
    return Reinforce(SoftmaxPolicy(context.n_items, config.agent), config.agent, config.reinforce)
