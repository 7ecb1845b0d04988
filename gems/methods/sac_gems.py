"""SAC+GeMS: the action is a latent code that a frozen slate VAE decodes (Section 6)."""

from typing import TYPE_CHECKING

from gems.methods.base import Context, Look, Method
from gems.methods.sac import build_sac
from gems.sections import AgentConfig, SACConfig, VAEConfig

if TYPE_CHECKING:
    from gems.agents.base import Learner


def build(context: Context) -> "Learner":
    from gems.pretraining.vae import load_ranker

    latent_dim = context.options(VAEConfig).latent_dim
    sizes = context.n_items, context.slate_size
    return build_sac(context, load_ranker(context.require("vae"), *sizes, latent_dim))


METHOD = Method(
    name="SAC+GeMS",
    label="SAC+GeMS",
    build=build,
    options=(AgentConfig, SACConfig),
    needs=("vae",),
    assumptions=("LD",),
    look=Look("#D55E00", "o", "-", ""),
)
