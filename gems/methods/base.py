"""``Method``, which each file of a method defines. Does not import torch."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gems.errors import GemsError
from gems.sections import Section

if TYPE_CHECKING:
    from gems.agents.base import Learner, Policy
    from gems.config import Config
    from gems.envs.simulator import Simulator

# Columns of Table 1, under the paper's abbreviations.
ASSUMPTIONS = ("DQ", "1CL", "MI", "CM", "LD", "SP", "EIB")

S = TypeVar("S", bound=Section)
# Names are parts of the names of files and runs.
NAME = r"[A-Za-z0-9][A-Za-z0-9+.-]*"


class Look(NamedTuple):
    """How figures draw a method: colour, marker, line style and hatch of Matplotlib."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]
    hatch: str


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section) and bool(kind.section)


@dataclass(frozen=True)
class Context:
    """What ``Method.build`` may use.

    Attributes:
        config: the configuration.
        simulator: the environment; only disclosed methods may use more than its sizes.
        environment: name of the environment.
        pretrained: files of pretrained models by name.
    """

    config: "Config"
    simulator: "Simulator"
    environment: str
    pretrained: dict[str, Path]

    @property
    def n_items(self) -> int:
        return self.simulator.n_items

    @property
    def slate_size(self) -> int:
        return self.simulator.slate_size

    def options(self, kind: type[S]) -> S:
        return self.config.of(kind)

    def require(self, name: str) -> Path:
        """The file of a pretrained model.

        Raises:
            GemsError: it was not given.
        """
        if name not in self.pretrained:
            raise GemsError(f"This method needs a pretrained model: give --pretrained {name}=FILE.")
        return self.pretrained[name]


@dataclass(frozen=True)
class Method:
    """A method: a row of Table 2.

    Attributes:
        name: its name in the configuration.
        label: its name in tables and figures.
        build: builds the policy, or the learner that trains one. Imports torch only when called.
            Weights are drawn from torch's global generator, which the caller has seeded.
        disclosed: whether it uses the internals of the simulator (the groups of Table 2).
        trained: whether it is trained.
        options: sections of the configuration that it reads.
        unread: options of these sections, or of ``training``, that have no effect on it.
        needs: names of the pretrained models that it uses, or a function of the configuration that
            returns them.
        assumptions: those of ``ASSUMPTIONS`` that it makes (Table 1).
        audited: section whose presets the audit of the baselines compares, if the released code
            has faults in this method.
        episode_ms: milliseconds for an episode of 100 turns and its update on one core, from which
            the time limits of jobs follow.
        look: how figures draw it; by default an unused look.
    """

    name: str
    label: str
    build: "Callable[[Context], Policy | Learner]"
    disclosed: bool = False
    trained: bool = True
    options: tuple[type[Section], ...] = ()
    unread: tuple[str, ...] = ()
    needs: "tuple[str, ...] | Callable[[Config], tuple[str, ...]]" = ()
    assumptions: tuple[str, ...] = ()
    audited: type[Section] | None = None
    episode_ms: float = 25.0
    look: Look | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail later.

        Raises:
            GemsError: a field has the wrong type or an unknown value.
        """
        sections = isinstance(self.options, tuple) and all(map(_is_section, self.options))
        needs = callable(self.needs) or isinstance(self.needs, tuple)
        for valid, problem in (
            (re.fullmatch(NAME, self.name), f"its name must match {NAME}"),
            (callable(self.build), "build must be a function"),
            (sections, "options must be a tuple of subclasses of Section, each with a `section`"),
            (needs, "needs must be a tuple of names, such as ('mf',), or a function"),
            (set(self.assumptions) <= {*ASSUMPTIONS}, f"assumptions are among {ASSUMPTIONS}"),
            (self.look is None or isinstance(self.look, Look), "look must be a Look"),
        ):
            if not valid:
                raise GemsError(f"The method {self.name!r} cannot be used: {problem}.")

    def prerequisites(self, config: "Config") -> tuple[str, ...]:
        return self.needs(config) if callable(self.needs) else self.needs
