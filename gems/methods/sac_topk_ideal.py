"""SAC+TopK with the item embeddings of the simulator, which a deployed system does not know."""

from typing import TYPE_CHECKING

from gems.methods.base import Context, Look, Method
from gems.methods.sac import build_sac
from gems.sections import AgentConfig, SACConfig

if TYPE_CHECKING:
    from gems.agents.base import Learner


def build(context: Context) -> "Learner":
    import torch

    from gems.agents.topk import TopK

    table = torch.from_numpy(context.simulator.items.embeddings.copy())
    return build_sac(context, TopK(table, context.slate_size))


METHOD = Method(
    name="SAC+TopK-ideal",
    label="SAC+TopK (ideal)",
    build=build,
    disclosed=True,
    options=(AgentConfig, SACConfig),
    assumptions=("DQ", "LD", "SP"),
    look=Look("#0072B2", "s", (0, (5, 1.5)), "//"),
)
