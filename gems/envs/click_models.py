"""Click models: how probable clicks on a slate are, given the scores of its items.

A click model is one class. The plain simulator calls it with NumPy arrays, SlateQ, which knows
the simulator's relevances, with tensors; ``logistic``, ``like`` and ``where`` take both. To add a
model, subclass ``ClickModel`` in an extension, give it a ``name`` and, if it has options, a section
``Options``, and name it in the configuration: ``click_model: {kind: NAME, OPTION: VALUE}``.

The plain simulator plays a model whose class has no ``compiled`` of its own. A subclass of
``LogisticClickModel`` that only changes constants may say ``compiled =
LogisticClickModel.compiled``.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from gems.errors import GemsError
from gems.sections import Fraction, Positive, Section, SimulatorConfig

# A NumPy array or a tensor.
Array = Any


def logistic(x: Array) -> Array:
    """The logistic function."""
    if hasattr(x, "sigmoid"):
        return x.sigmoid()
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def like(constant: np.ndarray, x: Array) -> Array:
    """``constant`` as an array, or as a tensor on the device, of the type of ``x``."""
    return x.new_tensor(constant) if hasattr(x, "new_tensor") else constant.astype(x.dtype)


def where(condition: Array, x: Array, y: Array) -> Array:
    """``x`` where ``condition`` holds, else ``y``."""
    return x.where(condition, y) if hasattr(x, "where") else np.where(condition, x, y)


class ClickModel(ABC):
    """How users click.

    Attributes:
        name: its name in the configuration; "" for a class that only others derive from.
        Options: section of its options.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[Section]] = Section

    @abstractmethod
    def __init__(self, options: Any, simulator: SimulatorConfig, topics: int) -> None:
        """Take the model's own options, those of the simulator, and the number of topics."""

    @abstractmethod
    def relevance(self, scores: Array) -> Array:
        """Relevance of items with these scores, element by element: what SlateQ weighs items by."""

    @abstractmethod
    def click_probabilities(self, scores: Array, main_topics: Array) -> Array:
        """Click probabilities of every rank of slates.

        Args:
            scores: (n, slate size) scores of the items shown.
            main_topics: (n, slate size) their main topics.

        Returns:
            (n, slate size).
        """


class LogisticOptions(Section):
    """Logistic relevance and examination by rank (Section 1 of the specification)."""

    top_down: Fraction = Field(
        1.0,
        description="Weight nu of the examination from the top; the rest looks from the bottom.",
    )
    decay: float | None = Field(
        None,
        description="Factor of the examination probability from one rank to the next. Default: "
        "`simulator.examination_decay`.",
        gt=0,
        le=1,
    )
    diversity_penalty: float | None = Field(
        1.0,
        description="Divisor of the click probabilities of too uniform slates; `null` is "
        "`simulator.diversity_penalty`.",
        ge=1,
    )
    diversity_threshold: Positive | None = Field(
        None,
        description="Items of one topic from which a slate is too uniform. Default: "
        "`simulator.diversity_threshold`.",
    )


class LogisticClickModel(ClickModel):
    """The simulator's own: logistic relevance, examination by rank, a penalty for uniformity.

    Attributes:
        examination: (slate size,) float32, probability that each rank is looked at.
    """

    name = "logistic"
    Options = LogisticOptions

    def __init__(self, options: LogisticOptions, simulator: SimulatorConfig, topics: int) -> None:
        """Options that are not set are those of ``simulator``."""
        size, start = simulator.slate_size, simulator.examination_start or 0
        decay = options.decay or simulator.examination_decay
        ranks, nu = np.arange(size), options.top_down
        examination = nu * decay ** (start + ranks) + (1 - nu) * decay ** (start + size - 1 - ranks)
        self.examination = examination.astype(np.float32)
        self.sharpness = float(np.float32(simulator.sharpness))
        self.threshold = float(np.float32(simulator.relevance_threshold))
        self.penalty = float(np.float32(options.diversity_penalty or simulator.diversity_penalty))
        self.diversity_threshold = int(
            options.diversity_threshold or simulator.diversity_threshold or size + 1
        )
        self._topics = np.arange(topics)

    def relevance(self, scores: Array) -> Array:
        """The logistic function of the score."""
        return logistic(self.sharpness * (scores - self.threshold))

    def click_probabilities(self, scores: Array, main_topics: Array) -> Array:
        """Relevance times examination, divided by the penalty where a slate is too uniform."""
        probability = self.relevance(scores) * like(self.examination, scores)
        if self.penalty == 1.0:
            return probability
        return where(self._uniform(main_topics), probability / self.penalty, probability)

    def _uniform(self, main_topics: Array) -> Array:
        """Whether slates (n, slate size) are too uniform, (n, 1)."""
        counts = (main_topics[..., None] == like(self._topics, main_topics)).sum(-2)
        return (counts >= self.diversity_threshold).any(-1)[..., None]

    def compiled(self) -> Any:
        """Constants of the compiled twin."""
        from gems.kernels.click_model import Logistic

        return Logistic(
            self.examination,
            np.float32(self.sharpness),
            np.float32(self.threshold),
            np.float32(self.penalty),
            self.diversity_threshold,
        )


CLICK_MODELS: dict[str, type[ClickModel]] = {"logistic": LogisticClickModel}


def is_new(value: Any) -> bool:
    """Whether ``value`` is a click model that can be registered."""
    return isinstance(value, type) and issubclass(value, ClickModel) and bool(value.name)


def register(added: type[ClickModel]) -> None:
    """Add a click model.

    Raises:
        GemsError: another one has its name.
    """
    if CLICK_MODELS.get(added.name, added) is not added:
        raise GemsError(f"Two click models are named {added.name}; rename one.")
    CLICK_MODELS[added.name] = added
