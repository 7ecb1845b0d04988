"""Registry of methods: one file each, and those of extensions (``gems.extensions``)."""

from importlib import import_module

from gems.errors import GemsError, unknown
from gems.methods.base import ASSUMPTIONS, Context, Look, Method

__all__ = ["ASSUMPTIONS", "METHODS", "Context", "Look", "Method", "method", "register", "slug"]

# In the order of Table 2.
_FILES = (
    *("short_term_oracle", "sac_topk_ideal", "slateq", "random"),
    *("reinforce", "sac_wknn", "sac_topk_mf", "sac_gems"),
)

METHODS: dict[str, Method] = {}

# The method that others are compared with, and those whose returns are normalised to 0 and 1.
REFERENCE_METHOD, NORMALISE_LOW, NORMALISE_HIGH = "SAC+GeMS", "Random", "SAC+TopK-ideal"


def register(added: Method) -> None:
    """Add a method.

    Raises:
        GemsError: another method has the same name, or the same name in files.
    """
    for known in METHODS.values():
        if slug(known.name) == slug(added.name) and known != added:
            raise GemsError(
                f"Two methods are named {added.name}, in {known.build.__module__} and "
                f"{added.build.__module__}; rename one."
            )
    METHODS[added.name] = added


def method(name: str) -> Method:
    """Look up a method.

    Raises:
        GemsError: the name is unknown.
    """
    if name not in METHODS:
        raise GemsError(unknown("method", name, METHODS))
    return METHODS[name]


def slug(name: str) -> str:
    """Name of a method in file and run names: ``SAC_TopK_MF`` for ``SAC+TopK-MF``."""
    return name.replace("+", "_").replace("-", "_")


for _file in _FILES:
    register(import_module(f"gems.methods.{_file}").METHOD)
