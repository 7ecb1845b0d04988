"""The logistic click model, compiled: the twin of ``LogisticClickModel``."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gems.kernels.compiled import exp, jit


class Logistic(NamedTuple):
    """Constants of a ``LogisticClickModel``; ``examination`` is (slate size,) float32."""

    examination: NDArray[np.float32]
    sharpness: np.float32
    threshold: np.float32
    penalty: np.float32
    diversity_threshold: int


@jit
def odds(score: Any, sharpness: Any, threshold: Any) -> Any:
    """Odds against the relevance of a score: the relevance is 1 / (1 + odds).

    Not by a ``sigmoid`` that rounds to 0: relevances near 0 must keep their order.
    """
    return exp(-sharpness * (score - threshold))
