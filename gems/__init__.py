"""GeMS: generative slate recommendation with reinforcement learning, reproduced end to end.

Importing this package registers the environments of the paper with Gymnasium, as
``gems/focused_topdown-v0`` and so on. The names in ``__all__`` are the public functions and
classes (docs/python.md); each is loaded when it is first used.

"Section 6" or "Section 6 of the specification" in docstrings is that of docs/specification.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gems.gym.registration import register_built_in

if TYPE_CHECKING:
    from gems.collection.runs import collect
    from gems.data.import_logs import import_logs
    from gems.gym.registration import register_environments
    from gems.gym.wrappers import (
        LatentActions,
        TopKActions,
        VectorLatentActions,
        VectorTopKActions,
    )
    from gems.training.policy import SlatePolicy, load_policy

__version__ = "0.1.0"

__all__ = [
    "LatentActions",
    "SlatePolicy",
    "TopKActions",
    "VectorLatentActions",
    "VectorTopKActions",
    "collect",
    "import_logs",
    "load_policy",
    "register_environments",
]

# The module of each public name. Most load NumPy and PyTorch, which takes seconds.
_MODULES = {
    "LatentActions": "gems.gym.wrappers",
    "SlatePolicy": "gems.training.policy",
    "TopKActions": "gems.gym.wrappers",
    "VectorLatentActions": "gems.gym.wrappers",
    "VectorTopKActions": "gems.gym.wrappers",
    "collect": "gems.collection.runs",
    "import_logs": "gems.data.import_logs",
    "load_policy": "gems.training.policy",
    "register_environments": "gems.gym.registration",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_built_in()
