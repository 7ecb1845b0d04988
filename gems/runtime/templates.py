"""Formatting and parsing of file and run names by templates such as ``{env}_seed{seed}``."""

from decimal import Decimal
from string import Formatter
from typing import Any


def plain(value: Any) -> str:
    """A value as text: 1.0 or 0.00001, never 1e-05."""
    if not isinstance(value, float):
        return str(value)
    digits = format(Decimal(repr(value)), "f")
    return digits if "." in digits else f"{digits}.0"


def fields(template: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(template) if name]


def fill(template: str, values: dict[str, Any]) -> str:
    return template.format(**{name: plain(value) for name, value in values.items()})


def parse(template: str, text: str) -> dict[str, str] | None:
    """Values of the fields of ``template`` in ``text``; None if ``text`` does not match.

    A field ends at the first occurrence of the literal text that follows it in the template.
    """
    values: dict[str, str] = {}
    field = None
    for literal, name, _, _ in Formatter().parse(template):
        if field is None:
            if not text.startswith(literal):
                return None
            text = text[len(literal) :]
        else:
            values[field], separator, text = text.partition(literal) if literal else (text, "", "")
            if not separator and literal:
                return None
        field = name
    if field is not None:
        values[field], text = text, ""
    return values if not text and all(values.values()) else None
