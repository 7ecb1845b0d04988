"""REINFORCE with a softmax over all items (Section 6)."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gems.methods.base import Context, Look, Method
from gems.sections import CREDIT, AgentConfig, BatchDrawn, Credit, Rate, Section, by_fidelity

if TYPE_CHECKING:
    from gems.agents.base import Learner


class ReinforceConfig(Section):
    """REINFORCE with a softmax over items (Section 6 of the specification)."""

    section: ClassVar[str] = "reinforce"

    policy_lr: Rate = Field(3e-3, description="Learning rate of the policy and its belief.")
    credit: Credit = by_fidelity(*CREDIT)
    batch_drawn: BatchDrawn | None = by_fidelity(
        "before_episode",
        "after_episode",
        "Whether the batch is drawn before the episode is played and holds the previous one, or "
        "after it and holds the episode just played.",
    )


def build(context: Context) -> "Learner":
    from gems.agents.reinforce import Reinforce, SoftmaxPolicy

    agent = context.options(AgentConfig)
    policy = SoftmaxPolicy(
        context.n_items,
        context.slate_size,
        embedding_dim=agent.embedding_dim,
        state_dim=agent.state_dim,
        hidden_dim=agent.hidden_dim,
    )
    return Reinforce(policy, gamma=agent.gamma, **context.options(ReinforceConfig).model_dump())


METHOD = Method(
    name="REINFORCE+SoftMax",
    label="REINFORCE+SoftMax",
    build=build,
    options=(AgentConfig, ReinforceConfig),
    unread=(
        *("training.batch_drawn", "training.batch_episodes", "training.replay_episodes"),
        "agent.belief_tables",
    ),
    assumptions=("DQ", "1CL", "MI"),
    audited=ReinforceConfig,
    look=Look("#E69F00", "v", (0, (6, 1, 1, 1)), ".."),
)
