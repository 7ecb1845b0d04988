"""Labels and order of methods and environments in tables and figures.

Names that are not registered are shown unchanged, after the others; such methods count as
undisclosed.
"""

from collections.abc import Iterable

from gems.config.paper import ENVIRONMENTS
from gems.methods import METHODS

CLICK_MODELS = {"topdown": "TopDown", "mix": "Mixed", "divpen": "DivPen"}


def order_of_methods(methods: Iterable[str]) -> list[str]:
    """Unique methods, in the order of tables."""
    return _ordered(methods, METHODS)


def order_of_environments(environments: Iterable[str]) -> list[str]:
    """Unique environments, in the order of tables."""
    return _ordered(environments, ENVIRONMENTS)


def _ordered(names: Iterable[str], registered: Iterable[str]) -> list[str]:
    unique = set(names)
    known = [name for name in registered if name in unique]
    return known + sorted(unique.difference(known))


def label(method: str) -> str:
    return METHODS[method].label if method in METHODS else method


def is_disclosed(method: str) -> bool:
    return method in METHODS and METHODS[method].disclosed


def environment_title(name: str) -> str:
    embedding, _, click_model = name.partition("_")
    if name not in ENVIRONMENTS or click_model not in CLICK_MODELS:
        return name
    return f"{embedding.title()}, {CLICK_MODELS[click_model]}"
