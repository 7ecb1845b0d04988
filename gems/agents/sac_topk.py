"""SAC+TopK: the action is compared with an item table, the simulator's own or MF's."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gems.agents.acting import Array, ranks
from gems.agents.belief import actor_and_critic
from gems.agents.context import Context
from gems.agents.sac import SAC, SACPolicy
from gems.compiled import add_product, jit_fused, padded
from gems.rankers.topk import TopK
from gems.selection import top_k


class TopKArrays(NamedTuple):
    """An item table with one row a dimension."""

    by_dim: Array
    n_items: int


@ranks(TopKArrays)
@jit_fused
def _rank(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """The items with the largest dot product with the action."""
    values = np.zeros(arrays.by_dim.shape[1], dtype=np.float32)
    add_product(values, action, arrays.by_dim)
    top_k(values[: arrays.n_items], slate)


class TopKPolicy(SACPolicy):
    """Actor whose action a top-k ranker compares with items."""

    ranker: TopK

    def ranker_arrays(self) -> TopKArrays:
        """A copy of the item table."""
        table = self.ranker.table
        return TopKArrays(padded(table.t()).numpy(), len(table))


def build(context: Context, table: Tensor) -> SAC:
    """SAC with a top-k ranker over ``table`` (items, D)."""
    config = context.config
    actor, critic = actor_and_critic(context.n_items, config.agent)
    return SAC(TopKPolicy(actor, TopK(table), config.agent), critic, config.agent, config.sac)


def ideal(context: Context) -> SAC:
    """With the simulator's own item embeddings, which no deployed system would know."""
    return build(context, torch.from_numpy(context.simulator.items.embeddings.copy()))


def mf(context: Context) -> SAC:
    """With the item embeddings of matrix factorisation."""
    return build(context, context.item_table())
