"""SAC+WkNN (Wolpertinger): an action holds a vector for each slot (Section 6).

The items nearest to the vector of a slot are its candidates. Slot after slot, the first target
critic chooses among them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gems import kernels
from gems.agents.base import Decision, Mode, credited, random_slates
from gems.agents.belief import Belief
from gems.agents.networks import MLP, ItemTable
from gems.agents.sac import SAC, SACPolicy
from gems.data.replay import Batch
from gems.envs.simulator import Observation


class ItemBounds(ItemTable):
    """An item table that bounds actions with a vector for each slot (slate size x dim,)."""

    def __init__(self, table: Tensor, slate_size: int) -> None:
        super().__init__(table, slate_size, vectors=slate_size)

    def embed(self, slates: Tensor) -> Tensor:
        """Embeddings (m, slate size x dim) of slates (m, slate size)."""
        return self.table[slates].flatten(-2)


def nearest(queries: Tensor, table: Tensor, k: int) -> Tensor:
    """Indices (m, slots, k) of the k rows of ``table`` nearest to queries (m, slots, dim)."""
    if kernels.use(queries):
        from gems.kernels import wknn as compiled

        return compiled.nearest(queries, table, k)
    # -|q - x|^2 = 2 q x - |x|^2 - |q|^2, and the last term is the same for all items.
    proximity = queries @ (2 * table.t()) - table.square().sum(-1)
    return proximity.topk(k, dim=-1).indices


def greedy_slates(critic: nn.Module, table: Tensor, states: Tensor, candidates: Tensor) -> Tensor:
    """Slates (m, slots) of the candidates that the critic values most, chosen slot after slot.

    The candidate on trial also fills all slots that are not yet chosen.

    Args:
        critic: values (rows, 1) of (rows, state dim + slots x dim).
        table: (items, dim).
        states: (m, state dim).
        candidates: (m, slots, c) items.
    """
    m, slots, c = candidates.shape
    slates = candidates.new_zeros(m, slots)
    for slot in range(slots):
        trials = slates.unsqueeze(1).repeat(1, c, 1)
        trials[:, :, slot:] = candidates[:, slot].unsqueeze(-1)
        inputs = torch.cat([states.unsqueeze(1).expand(-1, c, -1), table[trials].flatten(2)], -1)
        best = critic(inputs.flatten(0, 1)).view(m, c).argmax(-1, keepdim=True)
        slates[:, slot] = candidates[:, slot].gather(-1, best).squeeze(-1)
    return slates


def slate_chooser(critic: MLP, table: Tensor, slots: int) -> Callable[[Tensor, Tensor], Tensor]:
    """``greedy_slates`` with the critic's present weights, for states and candidates."""
    if kernels.use(table):
        from gems.kernels import wknn as compiled

        return compiled.SlateChooser(critic, table, slots)
    return partial(greedy_slates, critic, table)


class WkNNPolicy(SACPolicy):
    """The actor, with a critic that ranks candidates (``attach``) and its belief encoder.

    Keyword arguments are options of the sections ``agent`` and ``wknn``.
    """

    ranker: ItemBounds  # type: ignore[assignment]

    def __init__(
        self,
        bounds: ItemBounds,
        belief: Belief,
        critic_belief: Belief,
        *,
        hidden_dim: int,
        neighbours: int,
        query_layout: str,
        ranking_state: str,
        random_phase: str,
    ) -> None:
        super().__init__(belief, bounds, hidden_dim=hidden_dim)  # type: ignore[arg-type]
        self.critic_belief = critic_belief
        self.neighbours, self.query_layout = neighbours, query_layout
        self.ranking_state, self.random_phase = ranking_state, random_phase
        self.stored_dim = 0

    def attach(self, critic: MLP) -> None:
        """Set the critic that ranks candidates."""
        self.critic = critic

    def begin(self, n: int) -> None:
        """Start an episode; the weights of the critic must not change during it."""
        super().begin(n)
        self.critic_belief.begin(n)
        self._choose = self.chooser()

    def draws(self, mode: Mode, turns: int, n: int, generator: torch.Generator) -> Tensor:
        if mode == "random" and self.random_phase == "slates":
            size, n_items = self.ranker.slate_size, len(self.ranker.table)
            return random_slates(turns, n, size, n_items, generator)
        return super().draws(mode, turns, n, generator)

    def act(self, observation: Observation, mode: Mode, draws: Tensor) -> Decision:
        if mode == "random" and self.random_phase == "slates":
            return Decision(draws)
        # The learner uses the slate, not the action.
        return super().act(observation, mode, draws)._replace(actions=None)

    def rank(self, actions: Tensor, states: Tensor, observation: Observation) -> Tensor:
        if self.ranking_state == "critic":
            states = self.critic_belief.observe(observation)
        return self._choose(states, self.candidates(actions))

    def candidates(self, actions: Tensor) -> Tensor:
        """The nearest items (m, slate size, neighbours) of actions (m, slate size x dim)."""
        size = self.ranker.slate_size
        if self.query_layout == "slot_dim":
            queries = actions.unflatten(-1, (size, -1))
        else:
            queries = actions.unflatten(-1, (-1, size)).transpose(1, 2)
        return nearest(queries, self.ranker.table, self.neighbours)

    def chooser(self) -> Callable[[Tensor, Tensor], Tensor]:
        """``slate_chooser`` with the present critic."""
        return slate_chooser(self.critic, self.ranker.table, self.ranker.slate_size)

    def compiled(self) -> Any:
        from gems.kernels.sac import SACArrays
        from gems.kernels.wknn import wknn_arrays

        belief, head, critic_belief = (
            kernels.arrays_of(part) for part in (self.belief, self.head, self.critic_belief)
        )
        ranker = wknn_arrays(
            critic_belief,
            self.critic,
            self.ranker.table,
            slots=self.ranker.slate_size,
            neighbours=self.neighbours,
            by_slot=self.query_layout == "slot_dim",
            ranks_by_critic=self.ranking_state == "critic",
        )
        return SACArrays(belief, head, ranker)


class SACWkNN(SAC):
    """SAC whose critics take the item embeddings of a slate as the action.

    The policy shares the first target critic. ``options`` are other arguments of ``SAC``.
    """

    policy: WkNNPolicy

    def __init__(self, policy: WkNNPolicy, *, credit: str, **options: Any) -> None:
        super().__init__(policy, policy.critic_belief, **options)
        self.credit = credit
        policy.attach(self.targets[0])  # type: ignore[arg-type]

    def replayed_actions(self, batch: Batch) -> Tensor:
        """Embeddings of the credited slates."""
        slates, _ = credited(batch, self.credit)
        return self.policy.ranker.embed(slates.flatten(0, 1))

    def critic_actions(
        self, actions: Tensor, actor_states: Tensor, critic_states: Tensor
    ) -> Tensor:
        """Embeddings of the slates that the actions lead to."""
        states = critic_states if self.policy.ranking_state == "critic" else actor_states
        slates = self.policy.chooser()(states, self.policy.candidates(actions))
        return self.policy.ranker.embed(slates)
