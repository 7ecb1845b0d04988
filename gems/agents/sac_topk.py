"""SAC+TopK: the action is compared with an item table, the simulator's own or MF's."""

import torch
from torch import Tensor

from gems.agents.belief import Belief
from gems.agents.context import Context
from gems.agents.sac import SAC, SACPolicy
from gems.embeddings.table import load_items
from gems.rankers.topk import TopK


def build(context: Context, table: Tensor) -> SAC:
    """SAC with a top-k ranker over ``table`` (items, D)."""
    config = context.config
    policy = SACPolicy(Belief(context.n_items, config.agent), TopK(table), config.agent)
    return SAC(policy, Belief(context.n_items, config.agent), config.agent, config.sac)


def ideal(context: Context) -> SAC:
    """With the simulator's own item embeddings, which no deployed system would know."""
    return build(context, torch.from_numpy(context.simulator.items.embeddings.copy()))


def mf(context: Context) -> SAC:
    """With the item embeddings of matrix factorisation."""
    return build(context, load_items(context.require("mf"), context.n_items))
