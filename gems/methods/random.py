"""Random slates (Section 6)."""

from typing import TYPE_CHECKING, ClassVar, Literal

from gems.methods.base import Context, Look, Method
from gems.sections import Section, by_fidelity

if TYPE_CHECKING:
    from gems.agents.base import Policy


class RandomConfig(Section):
    """The method Random (Section 6 of the specification)."""

    section: ClassVar[str] = "random"

    items: Literal["distinct", "with_replacement"] | None = by_fidelity(
        "distinct", "with_replacement", "Whether the items of a slate are all different."
    )


def build(context: Context) -> "Policy":
    from gems.agents.fixed import RandomPolicy

    distinct = context.options(RandomConfig).items == "distinct"
    return RandomPolicy(context.n_items, context.slate_size, distinct=distinct)


METHOD = Method(
    name="Random",
    label="Random",
    build=build,
    trained=False,
    options=(RandomConfig,),
    look=Look("#888888", "+", (0, (1, 2.5)), "++"),
)
