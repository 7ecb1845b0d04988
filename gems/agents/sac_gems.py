"""SAC+GeMS: the action is a latent code that a frozen slate VAE decodes."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gems.agents.acting import (
    LayerArrays,
    from_rectified,
    layer_arrays,
    ranks,
    rectified,
    rectify,
)
from gems.agents.belief import actor_and_critic
from gems.agents.context import Context
from gems.agents.sac import SAC, SACPolicy
from gems.compiled import jit_fused
from gems.rankers.vae import GeMSRanker, find_best, in_blocks, load_ranker


class GeMSArrays(NamedTuple):
    """The decoder of a slate VAE, and its item table in blocks.

    Attributes:
        first: layer of the decoder.
        second: layer of the decoder.
        slots: layer to the slots' vectors.
        blocks: (blocks, dim, block of items), the item table.
        n_items: number of items; the last block is filled up with zeros.
    """

    first: LayerArrays
    second: LayerArrays
    slots: LayerArrays
    blocks: NDArray[np.float32]
    n_items: int


@ranks(GeMSArrays)
@jit_fused
def _decode(arrays: Any, action: Any, states: Any, seen: Any, slate: Any) -> None:
    """The most likely item of every slot."""
    hidden = from_rectified(arrays.second, rectified(arrays.first, action))
    rectify(hidden)
    slots = from_rectified(arrays.slots, hidden)
    dim = arrays.blocks.shape[1]
    queries = slots[: slate.shape[0] * dim].reshape(slate.shape[0], dim)
    find_best(queries, arrays.blocks, arrays.n_items, slate)


class GeMSPolicy(SACPolicy):
    """Actor whose action a slate VAE decodes."""

    ranker: GeMSRanker

    def ranker_arrays(self) -> GeMSArrays:
        """Copies of the frozen decoder, made once."""
        return self._arrays

    @cached_property
    def _arrays(self) -> GeMSArrays:
        vae = self.ranker.vae
        first, second = (layer for layer in vae.decoder if isinstance(layer, nn.Linear))
        layers = layer_arrays(first), layer_arrays(second), layer_arrays(vae.slate_head)
        return GeMSArrays(*layers, in_blocks(vae.items.weight), vae.items.num_embeddings)


def gems(context: Context) -> SAC:
    """Build SAC+GeMS from the pretrained VAE of the context."""
    config = context.config
    ranker = load_ranker(context.require("vae"), context.n_items, config.vae.latent_dim)
    actor, critic = actor_and_critic(context.n_items, config.agent)
    return SAC(GeMSPolicy(actor, ranker, config.agent), critic, config.agent, config.sac)
