"""SAC+GeMS: the action is a latent code that a frozen slate VAE decodes (Section 6)."""

from typing import TYPE_CHECKING

from gems.methods.base import Context, Look, Method
from gems.sections import AgentConfig, SACConfig, VAEConfig

if TYPE_CHECKING:
    from gems.agents.base import Learner


def build(context: Context) -> "Learner":
    from gems.agents.sac import sac
    from gems.pretraining.vae import load_ranker

    latent_dim = context.options(VAEConfig).latent_dim
    n_items, slate_size = context.n_items, context.slate_size
    ranker = load_ranker(context.require("vae"), n_items, slate_size, latent_dim)
    agent, rates = (context.options(kind).model_dump() for kind in (AgentConfig, SACConfig))
    return sac(ranker, n_items, slate_size, **agent, **rates)


METHOD = Method(
    name="SAC+GeMS",
    label="SAC+GeMS",
    build=build,
    options=(AgentConfig, SACConfig),
    needs=("vae",),
    assumptions=("LD",),
    look=Look("#D55E00", "o", "-", ""),
)
