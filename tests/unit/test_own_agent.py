"""TD3 on the latent actions of GeMS, written as a user would, from the public parts alone."""

import copy

import torch
from learners import N_ITEMS, learner_of
from test_kernels import assert_trains
from torch import nn
from torch.nn import functional

from gems import kernels
from gems.agents.base import Decision, Learner, Policy, adam, next_states, polyak_update
from gems.agents.belief import Belief
from gems.agents.critics import Critics
from gems.agents.networks import MLP
from gems.pretraining.vae import load_ranker
from gems.training.rollout import rollout


class Actor(nn.Module):
    """Deterministic actions within the bounds of a ranker."""

    def __init__(self, ranker, state_dim, hidden_dim):
        super().__init__()
        self.net = MLP(state_dim, hidden_dim, len(ranker.center))
        self.register_buffer("center", ranker.center.clone())
        self.register_buffer("scale", ranker.scale.clone())

    def forward(self, states, noise=0.0):
        return self.center + self.scale * (self.net(states).tanh() + noise).clamp(-1, 1)


class TD3Policy(Policy):
    def __init__(self, belief, ranker, hidden_dim):
        super().__init__()
        self.belief, self.ranker = belief, ranker
        self.head = Actor(ranker, belief.state_dim, hidden_dim)
        self.stored_dim = len(ranker.center)

    def begin(self, n):
        self.belief.begin(n)

    def draws(self, mode, turns, n, generator):
        k = 0 if mode == "greedy" else self.stored_dim
        return torch.randn(turns, n, k, generator=generator)

    def act(self, observation, mode, draws):
        noise = {"random": 1.0, "explore": 0.1, "greedy": 0.0}[mode]
        states = self.belief.observe(observation)
        actions = self.head(states, noise * draws if noise else 0.0)
        return Decision(self.ranker.rank(actions), actions)


class TD3(Learner):
    def __init__(self, policy, belief, *, gamma, tau, q_lr, policy_lr, hidden_dim):
        super().__init__()
        self.policy, self.belief, self.gamma, self.tau = policy, belief, gamma, tau
        self.critics = Critics(belief.state_dim, policy.stored_dim, hidden_dim)
        self.targets, self.target_head = copy.deepcopy(self.critics), copy.deepcopy(policy.head)
        self.critic_adam = adam([*self.critics.parameters(), *belief.parameters()], q_lr)
        self.policy_adam = adam([*policy.head.parameters(), *policy.belief.parameters()], policy_lr)

    def optimisers(self):
        return self.critic_adam, self.policy_adam

    def update(self, batch, generator):
        shown = batch.slates[:, :-1], batch.clicks[:, :-1]
        actor_states, critic_states = self.policy.belief(*shown), self.belief(*shown)
        with torch.no_grad():
            noise = 0.2 * torch.randn(batch.actions.shape, generator=generator)
            actions = self.target_head(next_states(actor_states), noise.clamp(-0.5, 0.5))
            following = next_states(critic_states).flatten(0, 1)
            value = self.targets.min_value(following, actions.flatten(0, 1)).view_as(batch.rewards)
            targets = batch.rewards + self.gamma * functional.pad(value[:, :-1], (0, 1))
        states = critic_states.flatten(0, 1)
        q_loss, _ = self.critics.loss(states, batch.actions.flatten(0, 1), targets.flatten())
        self._step(self.critic_adam, q_loss)
        actions = self.policy.head(actor_states.flatten(0, 1))
        policy_loss = -self.critics.min_value(states.detach(), actions).mean()
        self._step(self.policy_adam, policy_loss)
        polyak_update(self.targets, self.critics, self.tau)
        polyak_update(self.target_head, self.policy.head, self.tau)
        return {"q_loss": q_loss.item(), "policy_loss": policy_loss.item()}

    @staticmethod
    def _step(optimiser, loss):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_an_agent_made_of_the_public_parts_trains(models):
    _, simulator = learner_of("SAC+GeMS", models, simulator={"turns": 12})
    ranker = load_ranker(models / "vae.safetensors", N_ITEMS, 10, latent_dim=32)
    actor, critic = (
        Belief(N_ITEMS, simulator.slate_size, embedding_dim=20, state_dim=20) for _ in range(2)
    )
    policy = TD3Policy(actor, ranker, hidden_dim=32)
    assert kernels.twin_of(policy) is None
    rates = {"tau": 0.002, "q_lr": 1e-3, "policy_lr": 3e-3}
    assert_trains(TD3(policy, critic, gamma=0.8, hidden_dim=32, **rates), simulator)
    for n in (1, 3):
        episodes = rollout(policy, simulator, n, "explore", 3, "own")
        actions = torch.from_numpy(episodes.actions).flatten(0, 1)
        shown = torch.from_numpy(episodes.slates[:, 1:]).flatten(0, 1)
        assert torch.equal(ranker.rank(actions), shown.long())
