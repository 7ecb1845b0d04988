"""Compiled twins of plain code, for the CPU. All that needs numba is in this package.

The plain code says what is computed, runs on every device, and works without this package. Where a
twin exists, the plain code calls it in one place with its tensors::

    if kernels.use(states):
        from gems.kernels import critics as compiled

        return compiled.loss(states, actions, targets, *parameters)

Episodes of one exploring user have a twin as well. A policy, and each part of it, may define
``compiled``, which returns a named tuple of arrays; ``episodes.play_episode`` finds the compiled
code for the type of that tuple. A policy without ``compiled`` is played by its ``act``, and so is
one of whose parts one has none, as a ranker of a user's own.

Twins agree with the plain code up to rounding. They import nothing from the packages that use them.
``GEMS_KERNELS=off`` in the environment switches them off, and so does the absence of numba.
"""

import os
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SWITCH = "GEMS_KERNELS"


class NotCompiledError(Exception):
    """A part of a policy has no compiled twin."""


def available() -> bool:
    """Whether there are twins: numba is installed, and they have not been switched off."""
    return os.environ.get(SWITCH) != "off" and _has_numba()


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


def use(tensor: "Tensor") -> bool:
    """Whether to compute with twins where ``tensor`` is: they take float32 on the CPU."""
    float32 = tensor.is_floating_point() and tensor.itemsize == 4
    return tensor.is_cpu and float32 and available()


def arrays_of(part: object) -> Any:
    """What ``compiled`` of a policy, or of a part of one, returns.

    A method that is inherited does not count: a subclass may do something else. A subclass that
    does not may say so: ``compiled = TopK.compiled``.

    Raises:
        NotCompiledError: its class defines no ``compiled``.
    """
    method = vars(type(part)).get("compiled")
    if method is None:
        raise NotCompiledError(type(part).__name__)
    return method(part)


def twin_of(part: object) -> Any | None:
    """``arrays_of`` a policy or a click model; None if only plain code is available."""
    try:
        return arrays_of(part) if available() else None
    except NotCompiledError:
        return None
