"""The one exception whose message is meant for the user."""

import difflib
from collections.abc import Iterable


class GemsError(Exception):
    """A user's mistake or a damaged input, told in one sentence."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """One sentence for an unknown name: what is wrong, the nearest valid name, what is allowed."""
    names = list(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return f"{name!r} is not a known {kind}{hint} Allowed: {', '.join(names)}."


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's or numpy's own error, or PyTorch's on a CPU or a GPU."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "allocate memory" in words
