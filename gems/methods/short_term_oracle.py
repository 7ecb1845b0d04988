"""The short-term oracle: the items with the highest scores for the user's current state."""

from typing import TYPE_CHECKING

from gems.methods.base import Context, Look, Method

if TYPE_CHECKING:
    from gems.agents.base import Policy


def build(context: Context) -> "Policy":
    from gems.agents.fixed import OraclePolicy

    return OraclePolicy()


METHOD = Method(
    name="ShortTermOracle",
    label="Short-term oracle",
    build=build,
    disclosed=True,
    trained=False,
    look=Look("#000000", "x", (0, (1, 1.2)), "xx"),
)
