"""SlateQ with top-k slates and learnt item values, QL-TT-TS (Section 6)."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gems.methods.base import Context, Look, Method
from gems.sections import CREDIT, AgentConfig, Credit, Fraction, Rate, Section, by_fidelity

if TYPE_CHECKING:
    from gems.agents.base import Learner

Relevance = Literal["faulty", "true"]


class SlateQConfig(Section):
    """SlateQ, QL-TT-TS (Section 6 of the specification)."""

    section: ClassVar[str] = "slateq"

    q_lr: Rate = Field(1e-3, description="Learning rate of the Q network and its belief.")
    tau: Fraction = Field(0.002, description="Rate of the soft update of the target Q network.")
    epsilon_start: Fraction = Field(1.0, description="Initial probability of a random slate.")
    epsilon_end: Fraction = Field(0.01, description="Final probability of a random slate.")
    epsilon_decay: Rate = Field(
        1000.0, description="Time constant of the decay of epsilon, in units of `epsilon_clock`."
    )
    epsilon_clock: Literal["episodes", "updates"] | None = by_fidelity(
        "episodes",
        "updates",
        "Clock of the decay of epsilon: all episodes, including random ones, or updates.",
    )
    acting_relevance: Relevance | None = by_fidelity(
        "faulty",
        "true",
        "Relevances for choosing slates: the simulator's (`true`), or those of the released code, "
        "which uses the bored topics of the turn just played and sets the wrong dimensions to zero "
        "(`faulty`).",
    )
    target_relevance: Relevance | None = by_fidelity(
        "faulty",
        "true",
        "Relevances in the targets: the simulator's (`true`), or those of the released code, which "
        "ignores boredom and applies the diversity penalty to the whole batch at once (`faulty`).",
    )
    credit: Credit = by_fidelity(*CREDIT)


def build(context: Context) -> "Learner":
    from gems.agents.disclosed_clicks import DisclosedClicks
    from gems.agents.slateq import SlateQ, SlateQPolicy

    agent, options = context.options(AgentConfig), context.options(SlateQConfig)
    clicks = DisclosedClicks(
        context.simulator,
        acting_relevance=str(options.acting_relevance),
        target_relevance=str(options.target_relevance),
    )
    policy = SlateQPolicy(
        clicks,
        context.slate_size,
        embedding_dim=agent.embedding_dim,
        state_dim=agent.state_dim,
        hidden_dim=agent.hidden_dim,
        epsilon=options.epsilon_start,
    )
    learning = options.model_dump(exclude={"acting_relevance", "target_relevance"})
    return SlateQ(policy, gamma=agent.gamma, **learning)


METHOD = Method(
    name="SlateQ",
    label="SlateQ",
    build=build,
    disclosed=True,
    options=(AgentConfig, SlateQConfig),
    unread=("agent.belief_tables",),
    assumptions=("DQ", "1CL", "CM"),
    audited=SlateQConfig,
    look=Look("#009E73", "^", (0, (3, 1, 1, 1)), "\\\\"),
)
