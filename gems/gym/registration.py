"""Registration of the environments with Gymnasium. Loads neither the simulator nor torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from gems.config import Config

# Those of ``gems.envs.definitions``, which takes longer to import.
BUILT_IN = [
    f"{embedding}_{clicks}"
    for embedding in ("focused", "diffuse")
    for clicks in ("topdown", "mix", "divpen")
]


def register_environments(config: "Config | Mapping[str, Any] | str | Path") -> list[str]:
    """Register the custom environments of a configuration with Gymnasium.

    Each entry NAME of the section ``custom_environments`` becomes ``gems/NAME-v0``, with the items
    and the options of the simulator that it has under this configuration. An environment that is
    already registered under this name is replaced.

    Args:
        config: file (YAML or JSON), mapping of options, or ``gems.config.Config``.

    Returns:
        The identifiers for ``gymnasium.make`` and ``gymnasium.make_vec``.

    Raises:
        GemsError: the configuration is missing or not valid.

    Example:
        >>> import gymnasium, gems
        >>> own = {"small": {"items": {"count": 50}, "simulator": {"slate_size": 3}}}
        >>> gems.register_environments({"custom_environments": own})
        ['gems/small-v0']
        >>> env = gymnasium.make("gems/small-v0")
    """
    from gems.gym.options import environment_options

    values = environment_options(config)
    return [_register(name, config=values) for name in values["custom_environments"]]


def register_built_in() -> None:
    """Register the six environments of the paper."""
    for name in BUILT_IN:
        _register(name)


def _register(name: str, **options: Any) -> str:
    identifier = f"gems/{name}-v0"
    gymnasium.registry.pop(identifier, None)
    gymnasium.register(
        identifier,
        entry_point="gems.gym.env:SlateEnv",
        vector_entry_point="gems.gym.vector:SlateVectorEnv",
        kwargs={"name": name, **options},
    )
    return identifier
