"""Loading and validating the configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from gems import extensions
from gems.config.model import Config, model_of_config
from gems.errors import GemsError, unknown
from gems.sections import first_problem


def build(values: dict[str, Any]) -> Config:
    """Load the extensions that ``values`` names, validate the options and fill in the defaults.

    Raises:
        GemsError: an option is unknown, or a value is not allowed.
    """
    files = values.get("extensions") or []
    if isinstance(files, list):
        extensions.load(file for file in files if isinstance(file, str))
    model = model_of_config()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise GemsError(_message(error, model)) from None


def load(sources: Sequence[str]) -> Config:
    """Read YAML or JSON files, or JSON texts; later ones override options of earlier ones.

    Raises:
        GemsError: a file is missing, is not YAML, or holds an invalid option.
    """
    values: dict[str, Any] = {}
    for source in sources:
        for name, value in _read(source).items():
            both = isinstance(value, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **value} if both else value
    return build(values)


def _read(source: str) -> dict[str, Any]:
    inline = source.lstrip().startswith("{")
    name = "given as text" if inline else source
    try:
        values = yaml.safe_load(source if inline else Path(source).read_text()) or {}
    except OSError as error:
        raise GemsError(f"Cannot read the configuration {name}: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date in month 99
        raise GemsError(f"The configuration {name} is not valid YAML.") from None
    if not isinstance(values, dict):
        raise GemsError(f"The configuration {name} must be a mapping of options to values.")
    return values


def _message(error: ValidationError, model: Any) -> str:
    first, (where, message) = error.errors()[0], first_problem(error)
    if first["type"] == "extra_forbidden":
        parents = first["loc"][:-1]
        for parent in parents:
            fields = getattr(model, "model_fields", None)
            # A mapping of names to sections has the type dict[str, section].
            model = fields[parent].annotation if fields else get_args(model)[1]
        prefix = "".join(f"{parent}." for parent in parents)
        allowed = [prefix + option for option in model.model_fields]
        return "In the configuration, " + unknown("option", where, allowed)
    if not where:
        return f"In the configuration: {message}."
    value = f", not {first['input']!r}" if not isinstance(first["input"], dict | BaseModel) else ""
    return f"In the configuration, {where}: {message}{value}."


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by full name: ``{"sac.q_lr": 0.001}``."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict) and bool(value)
        named |= flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return named
