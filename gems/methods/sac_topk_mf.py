"""SAC+TopK with the item table of matrix factorisation."""

from typing import TYPE_CHECKING

from gems.methods.base import Context, Look, Method
from gems.methods.sac import build_sac
from gems.sections import AgentConfig, MFConfig, SACConfig

if TYPE_CHECKING:
    from gems.agents.base import Learner


def build(context: Context) -> "Learner":
    from gems.agents.topk import TopK
    from gems.pretraining.item_table import item_table

    return build_sac(context, TopK(item_table(context), context.slate_size))


METHOD = Method(
    name="SAC+TopK-MF",
    label="SAC+TopK (MF)",
    build=build,
    options=(AgentConfig, SACConfig),
    needs=("mf",),
    assumptions=("DQ", "LD", "SP"),
    audited=MFConfig,
    look=Look("#56B4E9", "P", (0, (7, 1, 1, 1, 1, 1)), "||"),
)
