"""The methods and environments by name: adding a method means one entry here and its file.

Agents are named by ``module:class`` and imported when used, so that the workflow can read this
table without loading torch, and can tell which modules a run of each method executes.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from gems.errors import GemsError, unknown

Prerequisite = Literal["vae", "mf"]
Embedding = Literal["focused", "diffuse"]


@dataclass(frozen=True)
class Method:
    """One row of Table 2.

    Attributes:
        label: name in tables.
        agent: ``module:callable`` that builds the agent from a ``agents.context.Context``.
        disclosed: whether it sees the inside of the simulator (grouping of Table 2).
        sections: sections of the configuration that its agent reads.
        trained: whether it learns at all.
        needs: pretrained models it acts with.
        assumptions: keys of ``ASSUMPTIONS`` that it makes (Table 1).
    """

    label: str
    agent: str
    disclosed: bool
    sections: tuple[str, ...] = ()
    trained: bool = True
    needs: tuple[Prerequisite, ...] = ()
    assumptions: tuple[str, ...] = ()


# Table 1's columns, under the paper's abbreviations.
ASSUMPTIONS = ("DQ", "1CL", "MI", "CM", "LD", "SP", "EIB")

METHODS: dict[str, Method] = {
    "ShortTermOracle": Method(
        "Short-term oracle", "gems.agents.fixed:oracle", disclosed=True, trained=False
    ),
    "SAC+TopK-ideal": Method(
        "SAC+TopK (ideal)",
        "gems.agents.sac_topk:ideal",
        disclosed=True,
        sections=("agent", "sac"),
        assumptions=("DQ", "LD", "SP"),
    ),
    "SlateQ": Method(
        "SlateQ",
        "gems.agents.slateq:slateq",
        disclosed=True,
        sections=("agent", "slateq"),
        assumptions=("DQ", "1CL", "CM"),
    ),
    "Random": Method(
        "Random", "gems.agents.fixed:random", disclosed=False, sections=("random",), trained=False
    ),
    "REINFORCE+SoftMax": Method(
        "REINFORCE+SoftMax",
        "gems.agents.reinforce:reinforce",
        disclosed=False,
        sections=("agent", "reinforce"),
        assumptions=("DQ", "1CL", "MI"),
    ),
    "SAC+WkNN": Method(
        "SAC+WkNN",
        "gems.agents.sac_wknn:wknn",
        disclosed=False,
        sections=("agent", "sac", "wknn"),
        assumptions=("DQ", "LD", "SP", "EIB"),
    ),
    "SAC+TopK-MF": Method(
        "SAC+TopK (MF)",
        "gems.agents.sac_topk:mf",
        disclosed=False,
        sections=("agent", "sac"),
        needs=("mf",),
        assumptions=("DQ", "LD", "SP"),
    ),
    "SAC+GeMS": Method(
        "SAC+GeMS",
        "gems.agents.sac_gems:gems",
        disclosed=False,
        sections=("agent", "sac"),
        needs=("vae",),
        assumptions=("LD",),
    ),
}

# The method that all others are compared with, and those whose returns count as 0 and 1.
OURS, ZERO, ONE = "SAC+GeMS", "Random", "SAC+TopK-ideal"


@dataclass(frozen=True)
class Environment:
    """Item embeddings and click model of one environment (Section 1 of the specification).

    Attributes:
        embedding: which item embeddings.
        top_down: weight nu of the examination from the top; the rest looks from the bottom.
        penalised: whether too uniform slates lose relevance.
    """

    embedding: Embedding
    top_down: float
    penalised: bool


EMBEDDINGS: tuple[Embedding, ...] = ("focused", "diffuse")

ENVIRONMENTS: dict[str, Environment] = {
    f"{embedding}_{name}": Environment(embedding, top_down, penalised)
    for embedding in EMBEDDINGS
    for name, top_down, penalised in (
        ("topdown", 1.0, False),
        ("mix", 0.5, False),
        ("divpen", 0.5, True),
    )
}


def method(name: str) -> Method:
    """Look up a method.

    Raises:
        GemsError: there is none of that name.
    """
    if name not in METHODS:
        raise GemsError(unknown("method", name, METHODS))
    return METHODS[name]


def environment(name: str) -> Environment:
    """Look up an environment.

    Raises:
        GemsError: there is none of that name.
    """
    if name not in ENVIRONMENTS:
        raise GemsError(unknown("environment", name, ENVIRONMENTS))
    return ENVIRONMENTS[name]


def run_modules(entry: Method) -> tuple[str, ...]:
    """Modules whose code, with all they import, a run of a method executes."""
    return "gems.training.run", entry.agent.split(":")[0]


def agent_builder(entry: Method) -> Any:
    """Import the callable that builds the agent of ``entry``."""
    module, name = entry.agent.split(":")
    return getattr(import_module(module), name)


def slug(name: str) -> str:
    """Name of a method in file and run names: ``SAC+TopK-MF`` is ``SAC_TopK_MF``."""
    return name.replace("+", "_").replace("-", "_")
