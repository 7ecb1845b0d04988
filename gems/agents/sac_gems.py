"""SAC+GeMS: the action is a latent slate, decoded by the frozen VAE."""

from gems.agents.belief import Belief
from gems.agents.context import Context
from gems.agents.sac import SAC, SACPolicy
from gems.rankers.vae import load_ranker


def gems(context: Context) -> SAC:
    """Build SAC+GeMS from the pretrained VAE of the context."""
    config = context.config
    ranker = load_ranker(context.require("vae"), context.n_items, config.vae.latent_dim)
    policy = SACPolicy(Belief(context.n_items, config.agent), ranker, config.agent)
    return SAC(policy, Belief(context.n_items, config.agent), config.agent, config.sac)
