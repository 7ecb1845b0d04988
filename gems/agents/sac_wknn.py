"""SAC+WkNN (Wolpertinger): the action is ten item embeddings, mapped to near items."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gems.agents.acting import Array, BeliefArrays, LayerArrays, belief_arrays, observe, ranks
from gems.agents.base import Decision, Mode, credited, random_slates
from gems.agents.belief import Belief, actor_and_critic
from gems.agents.context import Context
from gems.agents.sac import SAC, SACPolicy
from gems.compiled import LANES, add_product, jit_fused, padded
from gems.data.replay import Batch
from gems.networks import MLP
from gems.rankers import wknn as ranking
from gems.sections import AgentConfig, SACConfig, WkNNConfig
from gems.simulator.kernels import SLATE_SIZE
from gems.simulator.simulator import Observation


class ItemBounds(nn.Module):
    """An item table whose column minima and maxima bound each slot of the action."""

    table: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, table: Tensor) -> None:
        """Of ``table`` (items, dim); the action is laid out slot after slot."""
        super().__init__()
        low, high = table.min(0).values, table.max(0).values
        self.register_buffer("table", table)
        self.register_buffer("center", ((high + low) / 2).repeat(SLATE_SIZE))
        self.register_buffer("scale", ((high - low) / 2).repeat(SLATE_SIZE))

    def embed(self, slates: Tensor) -> Tensor:
        """Slates (m, slate size) as the critics see them, (m, slate size x dim)."""
        return self.table[slates].flatten(-2)


class WkNNArrays(NamedTuple):
    """Item table, the critic's first layer split by what it sees, and how to use them.

    Attributes:
        critic_belief: the critic's belief encoder.
        by_dim: (dim, items and padding), the first of ``ranking.search_arrays``.
        offset: (items and padding,), the second.
        n_items: number of items.
        dim: dimensions of an item.
        neighbours: candidates for each slot.
        by_slot: whether the action is read slot after slot.
        ranks_by_critic: whether candidates are ranked with the critic's belief.
        state: the critic's first layer for states alone.
        added: as ``ranking.project`` gives it.
        last: (hidden,) output weights of the critic.
    """

    critic_belief: BeliefArrays
    by_dim: Array
    offset: Array
    n_items: int
    dim: int
    neighbours: int
    by_slot: bool
    ranks_by_critic: bool
    state: LayerArrays
    added: Array
    last: Array


@ranks(WkNNArrays)
@jit_fused
def _rank(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """Nearest items of each slot, then the critic's greedy choice among them."""
    state = states[0]
    if arrays.ranks_by_critic:
        observe(arrays.critic_belief, seen.slate, seen.clicks, states[1])
        state = states[1]
    slots, dim = slate.shape[0], arrays.dim
    candidates = np.empty((1, slots, arrays.neighbours), dtype=np.int64)
    query = np.empty((slots, dim), dtype=np.float32)
    for slot in range(slots):
        for d in range(dim):
            query[slot, d] = action[slot * dim + d] if arrays.by_slot else action[d * slots + slot]
    near = np.empty((slots, arrays.offset.shape[0]), dtype=np.float32)
    items = arrays.by_dim, arrays.offset, arrays.n_items
    ranking.nearest_items(query, *items, near, candidates[0])
    base = np.empty((1, arrays.last.shape[0]), dtype=np.float32)
    hidden = arrays.state.bias.copy()
    add_product(hidden, state, arrays.state.weight)
    base[0] = hidden[: base.shape[1]]
    slate[:] = ranking.greedy(base, candidates, arrays.added, arrays.last)[0]


class WkNNPolicy(SACPolicy):
    """Actor whose ranker asks the first target critic."""

    def __init__(
        self,
        bounds: ItemBounds,
        belief: Belief,
        critic_belief: Belief,
        agent: AgentConfig,
        config: WkNNConfig,
    ) -> None:
        """The critic is shared with the learner, which sets it by ``attach``."""
        super().__init__(belief, bounds, agent)  # type: ignore[arg-type]
        self.critic_belief, self.config = critic_belief, config
        self.stored_dim = 0

    @property
    def bounds(self) -> ItemBounds:
        """The item table and the bounds of the action."""
        return self.ranker  # type: ignore[return-value]

    def attach(self, critic: MLP) -> None:
        """Take the critic that ranks candidates."""
        self.critic = critic

    def begin(self, n: int) -> None:
        """Start ``n`` users; the critic stays as it is until the next start."""
        super().begin(n)
        self.critic_belief.begin(n)
        self._added = self.projected()

    def act(self, observation: Observation, mode: Mode, generator: torch.Generator) -> Decision:
        """Sample an action and map it to a slate; learners need the slate only."""
        if mode == "random" and self.config.random_phase == "slates":
            n, n_items = len(observation.slates), len(self.bounds.table)
            return Decision(random_slates(n, n_items, generator))
        return Decision(super().act(observation, mode, generator).slates)

    def rank(self, actions: Tensor, states: Tensor, observation: Observation) -> Tensor:
        """Slates of ``actions``, ranked with the actor's or the critic's belief."""
        if self.config.ranking_state == "critic":
            states = self.critic_belief.observe(observation)
        return self.choose(actions, states, self._added)

    def ranker_arrays(self) -> WkNNArrays:
        """The item table, and the ranking critic as it is now."""
        table, config, first = self.bounds.table, self.config, self.critic.first
        width = self.belief.gru.hidden_size
        weight = padded(first.weight[:, :width].t(), rows=LANES)
        return WkNNArrays(
            belief_arrays(self.critic_belief.items.weight, self.critic_belief.gru),
            *ranking.search_arrays(table),
            table.shape[0],
            table.shape[1],
            config.neighbours,
            config.query_layout == "slot_dim",
            config.ranking_state == "critic",
            LayerArrays(weight.numpy(), padded(first.bias).numpy()),
            ranking.project(self.critic, table).numpy(),
            self.critic.last.weight.detach()[0].numpy(),
        )

    def projected(self) -> Tensor | None:
        """What items add to the critic's hidden layer, for ``choose``; None on a GPU."""
        table = self.bounds.table
        return ranking.project(self.critic, table) if table.device.type == "cpu" else None

    def choose(self, actions: Tensor, states: Tensor, added: Tensor | None) -> Tensor:
        """Slates (m, slate size) of actions (m, slate size x dim), given the ranking states."""
        if self.config.query_layout == "slot_dim":
            queries = actions.unflatten(-1, (SLATE_SIZE, -1))
        else:
            queries = actions.unflatten(-1, (-1, SLATE_SIZE)).transpose(1, 2)
        found = ranking.nearest(queries, self.bounds.table, self.config.neighbours)
        if added is None:
            return ranking.greedy_slates_plain(self.critic, states, found, self.bounds.table)
        return ranking.greedy_slates(self.critic, states, found, added)


class SACWkNN(SAC):
    """SAC whose critics judge slates of embedded items."""

    policy: WkNNPolicy

    def __init__(self, policy: WkNNPolicy, agent: AgentConfig, config: SACConfig) -> None:
        """Share the first target critic with the policy."""
        super().__init__(policy, policy.critic_belief, agent, config)
        policy.attach(self.targets[0])  # type: ignore[arg-type]

    def replayed_actions(self, batch: Batch) -> Tensor:
        """The credited slates, embedded."""
        slates, _ = credited(batch, str(self.policy.config.credit))
        return self.policy.bounds.embed(slates.flatten(0, 1))

    def executed(self, actions: Tensor, actor_states: Tensor, critic_states: Tensor) -> Tensor:
        """The slates that the actions lead to, embedded."""
        ranks_by_critic = self.policy.config.ranking_state == "critic"
        states = critic_states if ranks_by_critic else actor_states
        slates = self.policy.choose(actions, states, self.policy.projected())
        return self.policy.bounds.embed(slates)


def wknn(context: Context) -> SACWkNN:
    """Build SAC+WkNN over random item embeddings or those of matrix factorisation."""
    config, n_items = context.config, context.n_items
    actor, critic = actor_and_critic(n_items, config.agent)
    if config.wknn.item_table == "mf":
        table = context.item_table()
    elif config.agent.belief_tables == "equal":
        table = actor.items.weight.detach().clone()
    else:
        table = torch.randn(n_items, config.agent.embedding_dim)
    policy = WkNNPolicy(ItemBounds(table), actor, critic, config.agent, config.wknn)
    return SACWkNN(policy, config.agent, config.sac)
