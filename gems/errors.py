"""The exception for user errors, and helpers for messages."""

import difflib
from collections.abc import Iterable


class GemsError(Exception):
    """An error that the user can fix; the message is shown without a traceback."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Message for an unknown name, with the closest valid name and all allowed ones."""
    names = list(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return f"{name!r} is not a known {kind}{hint} Allowed: {', '.join(names)}."


def out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text
