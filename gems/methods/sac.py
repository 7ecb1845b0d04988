"""SAC as the methods build it that differ in their rankers only."""

from typing import TYPE_CHECKING

from gems.methods.base import Context
from gems.sections import AgentConfig, SACConfig

if TYPE_CHECKING:
    from gems.agents.base import Learner
    from gems.agents.sac import Ranker


def build_sac(context: Context, ranker: "Ranker") -> "Learner":
    """SAC with ``ranker``, under the options of the sections ``agent`` and ``sac``."""
    from gems.agents.sac import sac

    agent, rates = context.options(AgentConfig), context.options(SACConfig)
    options = agent.model_dump() | rates.model_dump()
    return sac(ranker, context.n_items, context.slate_size, **options)
