"""SlateQ with top-k slates and learnt item values, QL-TT-TS (Section 6 of the specification)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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
)
from gems.agents.base import (
    Decision,
    Learner,
    Mode,
    Policy,
    adam,
    credited,
    first_clicked,
    follow,
    following,
    random_slates,
    returns_to_go,
)
from gems.agents.belief import Belief
from gems.agents.context import Context
from gems.compiled import add_product, exp, jit_fused, padded
from gems.data.replay import Batch
from gems.networks import MLP
from gems.rankers.topk import top_items
from gems.sections import AgentConfig, SlateQConfig
from gems.selection import top_k
from gems.simulator.kernels import DIM, SLATE_SIZE, TOPIC_DIM, TOPICS
from gems.simulator.simulator import Observation, Simulator


class DisclosedClicks(nn.Module):
    """The simulator's relevances and click probabilities, as SlateQ is told them (Section 9)."""

    items: Tensor
    main_topics: Tensor
    examination: Tensor
    topic_dims: Tensor
    acting_dims: Tensor

    def __init__(self, simulator: Simulator, config: SlateQConfig) -> None:
        """Copy the constants of ``simulator``."""
        super().__init__()
        model = simulator.model
        self.acting_is_faulty = config.acting_relevance == "faulty"
        self.targets_are_faulty = config.target_relevance == "faulty"
        self.sharpness = float(model.sharpness)
        self.threshold = float(model.relevance_threshold)
        self.penalty = float(model.penalty)
        self.diversity_threshold = model.diversity_threshold
        items = torch.from_numpy(simulator.items.embeddings / simulator.items.normaliser)
        acting_dims = _topic_dims(faulty=self.acting_is_faulty)
        for name, constant in (
            ("items", items),
            ("main_topics", torch.from_numpy(simulator.items.main_topics)),
            ("examination", torch.from_numpy(model.examination)),
            ("topic_dims", _topic_dims(faulty=False)),
            ("acting_dims", acting_dims),
        ):
            self.register_buffer(name, constant, persistent=False)

    def acting_scores(self, observation: Observation) -> Tensor:
        """Scores (n, items) by which slates are chosen."""
        then = self.acting_is_faulty
        bored = torch.from_numpy(observation.was_bored if then else observation.bored)
        users = torch.from_numpy(observation.users).to(self.items.device)
        return self._scores(users, bored.to(self.items.device), self.acting_dims)

    def target_scores(self, users: Tensor, bored: Tensor) -> Tensor:
        """Scores (m, items) in the targets, for users (m, 20) with bored topics (m, topics)."""
        if self.targets_are_faulty:
            return users @ self.items.t()
        return self._scores(users, bored, self.topic_dims)

    def _scores(self, users: Tensor, bored: Tensor, dims: Tensor) -> Tensor:
        """Scores of users whose dimensions ``dims`` (topics, 20) of bored topics are set to 0."""
        return users.masked_fill(bored.float() @ dims > 0, 0.0) @ self.items.t()

    def relevances(self, scores: Tensor) -> Tensor:
        """Relevance of items with these scores."""
        return torch.sigmoid(self.sharpness * (scores - self.threshold))

    def best_slates(self, scores: Tensor, values: Tensor) -> Tensor:
        """Slates (m, slate size) of the largest relevance times value, both (m, items)."""
        if values.device.type != "cpu":
            return top_items(self.relevances(scores) * values)
        slates = torch.empty(len(values), SLATE_SIZE, dtype=torch.int64)
        arrays = [array.detach().numpy() for array in (scores, values, slates)]
        _best_rows(*arrays, *(np.float32(x) for x in (self.sharpness, self.threshold)))
        return slates

    def click_probabilities(self, slates: Tensor, relevances: Tensor) -> Tensor:
        """Click probability in the targets of every rank of slates, (m, slate size)."""
        probability = relevances * self.examination
        if self.penalty == 1.0:
            return probability
        topics = functional.one_hot(self.main_topics[slates], TOPICS).sum(-2)
        if self.targets_are_faulty:
            topics = topics.sum(0, keepdim=True)
        uniform = (topics >= self.diversity_threshold).any(-1, keepdim=True)
        return torch.where(uniform, probability / self.penalty, probability)


def _topic_dims(faulty: bool) -> Tensor:
    """Dimensions of each topic (topics, 20), 1 or 0: of topic b those from 2b to before 2b + 2.

    The released code ends before 3b instead: topic 0 has none, and topics above 2 too many.
    """
    topic, dim = torch.arange(TOPICS).unsqueeze(1), torch.arange(DIM)
    first = topic * TOPIC_DIM
    last = first + (topic if faulty else TOPIC_DIM)
    return ((dim >= first) & (dim < last)).float()


@jit_fused
def _weigh(values: Any, scores: Any, sharpness: Any, threshold: Any, out: Any) -> None:
    """Values (items,) times relevances, into ``out``."""
    for item in range(out.shape[0]):
        # Not ``sigmoid``: relevances near 0 must keep their order.
        odds = exp(-sharpness * (scores[item] - threshold))
        out[item] = values[item] / (np.float32(1) + odds)


@jit_fused
def _best_rows(scores: Any, values: Any, slates: Any, sharpness: Any, threshold: Any) -> None:
    """``best_slates`` row by row, so that a row's products stay in the cache."""
    products = np.empty(values.shape[1], dtype=np.float32)
    for row in range(values.shape[0]):
        _weigh(values[row], scores[row], sharpness, threshold, products)
        top_k(products, slates[row])


class SlateQArrays(NamedTuple):
    """Belief, Q network, what is told of the simulator, and the share of random slates.

    ``dims`` are the dimensions set to 0 by boredom, of the turn just played if ``by_was_bored``.
    """

    belief: BeliefArrays
    net: NetArrays
    by_dim: Array
    dims: Array
    by_was_bored: bool
    n_items: int
    sharpness: np.float32
    threshold: np.float32
    epsilon: np.float32


@chooses(SlateQArrays)
@jit_fused
def _choose(arrays: Any, states: Any, seen: Any, draws: Any, slate: Any, action: Any) -> None:
    """Explore by the first draw, with the items of the others, or show the best items."""
    observe(arrays.belief, seen.slate, seen.clicks, states[0])
    if draws[0] < arrays.epsilon:
        for rank in range(slate.shape[0]):
            slate[rank] = min(int(draws[1 + rank] * arrays.n_items), arrays.n_items - 1)
        return
    values = outputs_of(arrays.net, states[0])
    effective = seen.user.copy()
    bored = seen.was_bored if arrays.by_was_bored else seen.bored
    for topic in range(arrays.dims.shape[0]):
        for d in range(arrays.dims.shape[1]):
            if bored[topic] and arrays.dims[topic, d] > 0:
                effective[d] = 0
    scores = np.zeros_like(values)
    add_product(scores, effective, arrays.by_dim)
    products = np.empty(arrays.n_items, dtype=np.float32)
    _weigh(values, scores, arrays.sharpness, arrays.threshold, products)
    top_k(products, slate)


class SlateQPolicy(Policy):
    """Shows the items with the largest relevance times Q value; random slates with epsilon."""

    disclosed = True
    epsilon: Tensor

    def __init__(self, clicks: DisclosedClicks, config: AgentConfig, epsilon: float) -> None:
        """Start with the share ``epsilon`` of random slates."""
        super().__init__()
        self.clicks = clicks
        self.n_items = len(clicks.items)
        self.belief = Belief(self.n_items, config)
        self.net = MLP(config.state_dim, config.hidden_dim, self.n_items)
        self.register_buffer("epsilon", torch.tensor(epsilon))

    def begin(self, n: int) -> None:
        """Start ``n`` users."""
        self.belief.begin(n)

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Choose slates by relevance times value, or at random with epsilon while exploring."""
        n, device = len(observation.slates), self.epsilon.device
        if mode == "random":
            return Decision(random_slates(n, self.n_items, generator))
        values = self.net(self.belief.observe(observation))
        slates = self.clicks.best_slates(self.clicks.acting_scores(observation), values)
        if mode == "explore":
            explores = torch.rand(n, 1, generator=generator, device=device) < self.epsilon
            slates = torch.where(explores, random_slates(n, self.n_items, generator), slates)
        return Decision(slates)

    def compiled(self, turns: int, generator: torch.Generator) -> tuple[SlateQArrays, Tensor]:
        """The networks; a draw that decides to explore, and one for each random item."""
        clicks = self.clicks
        arrays = SlateQArrays(
            belief_arrays(self.belief.items.weight, self.belief.gru),
            net_arrays(self.net),
            padded(clicks.items.t()).numpy(),
            clicks.acting_dims.numpy(),
            clicks.acting_is_faulty,
            self.n_items,
            np.float32(clicks.sharpness),
            np.float32(clicks.threshold),
            np.float32(self.epsilon.item()),
        )
        return arrays, torch.rand(turns, 1 + SLATE_SIZE, generator=generator)


class SlateQ(Learner):
    """Q-learning of item values; the value of a slate is that of its items, weighted by clicks."""

    policy: SlateQPolicy
    updates: Tensor

    def __init__(self, policy: SlateQPolicy, agent: AgentConfig, config: SlateQConfig) -> None:
        """One Adam for the Q network and its belief."""
        super().__init__()
        self.policy, self.config = policy, config
        self.gamma = agent.gamma
        self.target = MLP(agent.state_dim, agent.hidden_dim, policy.n_items)
        self.target.load_state_dict(policy.net.state_dict())
        self.target.requires_grad_(False)
        self.register_buffer("updates", torch.tensor(0))
        self._adam = adam([*policy.net.parameters(), *policy.belief.parameters()], config.q_lr)

    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """The one of the Q network."""
        return (self._adam,)

    def start_episode(self, episode: int) -> None:
        """Set epsilon where it depends on the number of episodes."""
        if self.config.epsilon_clock == "episodes":
            self._set_epsilon(episode)

    def _set_epsilon(self, count: float) -> None:
        c = self.config
        share = math.exp(-count / c.epsilon_decay)
        self.policy.epsilon.fill_(c.epsilon_end + (c.epsilon_start - c.epsilon_end) * share)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the Q values of the first clicked items; the target follows before it."""
        follow(self.target, self.policy.net, self.config.tau)
        states = self.policy.belief(batch.slates[:, :-1], batch.clicks[:, :-1])
        slates, clicks = credited(batch, str(self.config.credit))
        clicked, item = first_clicked(slates.flatten(0, 1), clicks.flatten(0, 1))
        targets = 1 + self.gamma * self._next_values(batch, states.detach()).flatten()[clicked]
        values = self._values(states.flatten(0, 1)[clicked], item[clicked])
        # A batch without a click has an empty mean; its update is one without a gradient.
        loss = functional.mse_loss(values, targets) if len(values) else values.sum()
        loss.backward()
        self._adam.step()
        self._adam.zero_grad()
        self.updates += 1
        if self.config.epsilon_clock == "updates":
            self._set_epsilon(self.updates.item())
        after = self.gamma * functional.pad(returns_to_go(batch.rewards, self.gamma)[:, 1:], (0, 1))
        return {
            "loss": loss.item(),
            "q_value": values.detach().mean().nan_to_num().item(),
            "return_to_go": (1 + after.flatten()[clicked]).mean().nan_to_num().item(),
            "epsilon": self.policy.epsilon.item(),
        }

    def _values(self, states: Tensor, items: Tensor) -> Tensor:
        """Q values (m,) of one item for each state."""
        net = self.policy.net
        rows, bias = functional.embedding(items, net.last.weight), net.last.bias[items]
        return (net.hidden(states) * rows).sum(-1) + bias

    @torch.no_grad()
    def _next_values(self, batch: Batch, states: Tensor) -> Tensor:
        """Value (n, T) of the slates that would be shown next; 0 at the end of an episode."""
        clicks = self.policy.clicks
        values = self.target(following(states).flatten(0, 1))
        users, bored = (part[:, 1:].flatten(0, 1) for part in (batch.users, batch.bored))
        scores = clicks.target_scores(users, bored)
        slates = clicks.best_slates(scores, values)
        relevances = clicks.relevances(scores.gather(-1, slates))
        probability = clicks.click_probabilities(slates, relevances)
        value = (probability * values.gather(-1, slates)).sum(-1).view(states.shape[:2])
        value[:, -1] = 0
        return value


def slateq(context: Context) -> SlateQ:
    """Build SlateQ."""
    config = context.config
    clicks = DisclosedClicks(context.simulator, config.slateq)
    policy = SlateQPolicy(clicks, config.agent, config.slateq.epsilon_start)
    return SlateQ(policy, config.agent, config.slateq)
