"""REINFORCE with a softmax over items, on-policy (Section 6)."""

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
    random_slates,
    returns_to_go,
    top_items,
)
from gems.agents.belief import Belief
from gems.agents.networks import MLP
from gems.data.replay import Batch
from gems.envs.simulator import Observation


class SoftmaxPolicy(Policy):
    """A softmax over all items.

    It draws slates with replacement while exploring, else it shows the most likely items.
    """

    def __init__(
        self, n_items: int, slate_size: int, *, embedding_dim: int, state_dim: int, hidden_dim: int
    ) -> None:
        super().__init__()
        self.n_items, self.slate_size = n_items, slate_size
        self.belief = Belief(n_items, slate_size, embedding_dim=embedding_dim, state_dim=state_dim)
        self.net = MLP(state_dim, hidden_dim, n_items)

    def begin(self, n: int) -> None:
        self.belief.begin(n)

    def draws(self, mode: Mode, turns: int, n: int, generator: torch.Generator) -> Tensor:
        if mode == "random":
            return random_slates(turns, n, self.slate_size, self.n_items, generator)
        k = self.slate_size if mode == "explore" else 0
        return torch.rand(turns, n, k, generator=generator, device=generator.device)

    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        if mode == "random":
            return Decision(draws)
        states = self.belief.observe(observation)
        logits = self.net(states)
        if mode == "greedy":
            return Decision(top_items(logits, self.slate_size), states=states)
        # Inverse transform sampling with unnormalised probabilities.
        cumulative = (logits - logits.amax(-1, keepdim=True)).exp().double().cumsum(-1)
        slates = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
        return Decision(slates.clamp(max=self.n_items - 1), states=states)

    def compiled(self) -> Any:
        from gems.kernels.reinforce import SoftmaxArrays

        belief, net = kernels.arrays_of(self.belief), kernels.arrays_of(self.net)
        return SoftmaxArrays(belief, net, self.n_items)


class Reinforce(Learner):
    """Policy gradient with the probability that the first clicked item is in the slate.

    Keyword arguments are options of the sections ``agent`` and ``reinforce``.
    """

    policy: SoftmaxPolicy
    on_policy = True
    learns_from_random = True

    def __init__(
        self,
        policy: SoftmaxPolicy,
        *,
        gamma: float,
        policy_lr: float,
        credit: str,
        batch_drawn: str | None,
    ) -> None:
        super().__init__()
        self.policy, self.gamma, self.credit = policy, gamma, credit
        self.batch_drawn = batch_drawn
        self._adam = adam(list(policy.parameters()), policy_lr)

    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        return (self._adam,)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        states = self.policy.belief(batch.slates[:, :-1], batch.clicks[:, :-1])
        slates, clicks = credited(batch, self.credit)
        clicked, item = first_clicked(slates.flatten(0, 1), clicks.flatten(0, 1))
        returns = returns_to_go(batch.rewards, self.gamma).flatten()[clicked]
        log_probs = functional.log_softmax(self.policy.net(states.flatten(0, 1)[clicked]), dim=-1)
        prob = log_probs.gather(-1, item[clicked].unsqueeze(-1)).squeeze(-1).exp()
        in_slate = 1 - (1 - prob) ** self.policy.slate_size
        loss = -(returns * torch.log(in_slate + 1e-6)).sum()
        minimise(loss, self._adam)
        entropy = -(log_probs.detach().exp() * log_probs.detach()).sum(-1).mean().nan_to_num()
        return {"loss": loss.item(), "entropy": entropy.item()}
