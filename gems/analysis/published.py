"""The published Table 2, as far as it is known here; other cells are not guessed."""

import math

SOURCE = "Deffayet, Thonet, Renders, de Rijke (WSDM 2023), doi 10.1145/3539597.3570412, Table 2"
PUBLISHED: dict[str, dict[str, float]] = {
    "focused_topdown": {
        "ShortTermOracle": 107.7,
        "SAC+TopK-ideal": 429.0,
        "REINFORCE+SoftMax": 248.1,
        "SAC+TopK-MF": 254.4,
        "SAC+GeMS": 305.3,
    },
    "focused_mix": {
        "SAC+TopK-ideal": 384.1,
        "REINFORCE+SoftMax": 233.5,
        "SAC+TopK-MF": 232.7,
        "SAC+GeMS": 242.6,
    },
    "focused_divpen": {
        "SAC+TopK-ideal": 386.3,
        "REINFORCE+SoftMax": 249.1,
        "SAC+TopK-MF": 242.2,
        "SAC+GeMS": 254.1,
    },
}
# Known of these only: the least and the largest value over the six environments.
PUBLISHED_RANGES: dict[str, tuple[float, float]] = {"SAC+WkNN": (95.0, 107.0)}
# SAC+GeMS with a discount factor of 0, of the paper's second research question.
PUBLISHED_MYOPIC = {"focused_topdown": 194.3}


def published(method: str, environment: str) -> float:
    """The published mean test return of a cell; NaN where it is not known."""
    return PUBLISHED.get(environment, {}).get(method, math.nan)
