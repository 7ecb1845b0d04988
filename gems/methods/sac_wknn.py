"""SAC+WkNN (Wolpertinger): the action is one item embedding per slot, mapped to near items."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gems.methods.base import Context, Look, Method
from gems.sections import CREDIT, AgentConfig, Credit, Positive, SACConfig, Section, by_fidelity

if TYPE_CHECKING:
    from gems.agents.base import Learner
    from gems.config import Config


class WkNNConfig(Section):
    """Wolpertinger ranker: nearest items, then a greedy choice by the critic (Section 6)."""

    section: ClassVar[str] = "wknn"

    neighbours: Positive = Field(10, description="Number of candidate items for each slot.")
    item_table: Literal["random", "mf"] | None = by_fidelity(
        "random",
        "mf",
        "Item embeddings: standard normal and not trained, or from matrix factorisation.",
    )
    query_layout: Literal["dim_slot", "slot_dim"] | None = by_fidelity(
        "dim_slot",
        "slot_dim",
        "Layout of the action in the search for neighbours: dimension by dimension, unlike in the "
        "critics, or slot by slot.",
    )
    ranking_state: Literal["actor", "critic"] | None = by_fidelity(
        "actor", "critic", "Belief that the critic gets to rank candidates."
    )
    random_phase: Literal["slates", "actions"] | None = by_fidelity(
        "slates",
        "actions",
        "What the random episodes draw: uniform slates, with replacement, or actions, as SAC does "
        "with other rankers.",
    )
    credit: Credit = by_fidelity(*CREDIT)

    def check(self, config: "Config") -> None:
        if self.neighbours > config.items.count:
            raise ValueError("wknn.neighbours must not exceed items.count")


def needs(config: "Config") -> tuple[str, ...]:
    return ("mf",) if config.of(WkNNConfig).item_table == "mf" else ()


def build(context: Context) -> "Learner":
    import torch

    from gems.agents.belief import actor_and_critic
    from gems.agents.sac_wknn import ItemBounds, SACWkNN, WkNNPolicy
    from gems.pretraining.item_table import item_table

    agent, options = context.options(AgentConfig), context.options(WkNNConfig)
    actor, critic = actor_and_critic(
        context.n_items,
        context.slate_size,
        embedding_dim=agent.embedding_dim,
        state_dim=agent.state_dim,
        belief_tables=str(agent.belief_tables),
    )
    if options.item_table == "mf":
        table = item_table(context)
    elif agent.belief_tables == "equal":
        table = actor.items.weight.detach().clone()
    else:
        table = torch.randn(context.n_items, agent.embedding_dim)
    policy = WkNNPolicy(
        ItemBounds(table, context.slate_size),
        actor,
        critic,
        hidden_dim=agent.hidden_dim,
        neighbours=options.neighbours,
        query_layout=str(options.query_layout),
        ranking_state=str(options.ranking_state),
        random_phase=str(options.random_phase),
    )
    return SACWkNN(
        policy,
        credit=str(options.credit),
        gamma=agent.gamma,
        hidden_dim=agent.hidden_dim,
        **context.options(SACConfig).model_dump(),
    )


METHOD = Method(
    name="SAC+WkNN",
    label="SAC+WkNN",
    build=build,
    options=(AgentConfig, SACConfig, WkNNConfig),
    needs=needs,
    assumptions=("DQ", "LD", "SP", "EIB"),
    audited=WkNNConfig,
    episode_ms=80.0,
    look=Look("#CC79A7", "D", (0, (3, 1.5)), "--"),
)
