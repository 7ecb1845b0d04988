"""The simulator that the keywords of an environment describe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gems.config import Config, build, load
from gems.envs import items as embeddings
from gems.envs.definitions import BUILT_IN
from gems.envs.simulator import Simulator
from gems.errors import GemsError
from gems.runtime.arrays import read_table
from gems.sections import Section, presets_of

Source = Config | Mapping[str, Any] | str | Path | None


def make_simulator(
    name: str,
    config: Source = None,
    items: str | Path | None = None,
    fidelity: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Simulator:
    """The simulator of an environment.

    Args:
        name: a built-in environment, or one of the custom ones of ``config``.
        config: file, mapping or ``Config``; by default the defaults.
        items: file of item embeddings, instead of those that ``config`` names.
        fidelity: preset, instead of that of ``config``.
        options: options of the section ``simulator``, which take precedence over those of
            ``config`` and of the custom environment.

    Raises:
        GemsError: an option is not valid, the environment is unknown, or the items do not fit.
    """
    if not isinstance(items, str | Path | None):
        raise GemsError(f"items must name a file of item embeddings, not be {type(items)}.")
    values = environment_options(config)
    changes: dict[str, Any] = {"simulator": {**values["simulator"], **(options or {})}}
    if fidelity is not None:
        changes["fidelity"] = fidelity
    if own := values["custom_environments"].get(name):
        own["simulator"] = {**own["simulator"], **(options or {})}
    if items is not None:
        file = str(items)
        if own:
            sizes = {size: own["items"][size] for size in ("topics", "topic_dim")}
            own["items"] = {"file": file, **sizes}
        elif name in BUILT_IN:
            count = len(read_table(Path(file), "file of item embeddings"))
            files = {BUILT_IN[name].items.generate: file}
            changes["items"] = {**values["items"], "count": count, "files": files}
    resolved = build({**values, **changes})
    environment = resolved.environment(name)
    return Simulator(embeddings.make(environment.items.name, resolved), environment)


def environment_options(config: Source) -> dict[str, Any]:
    """The options of ``config`` that affect environments, as plain JSON values.

    Options with the value of the preset ``fidelity`` are left out, so that another preset may
    replace them.

    Raises:
        GemsError: the configuration is missing or not valid.
    """
    resolved = _resolve(config)
    names = ("fidelity", "extensions", "items", "simulator", "custom_environments")
    values: dict[str, Any] = json.loads(resolved.model_dump_json(include=set(names)))
    for name in ("items", "simulator"):
        section: Section = getattr(resolved, name)
        for option, presets in presets_of(type(section)).items():
            if values[name][option] == presets[resolved.fidelity]:
                del values[name][option]
    return values


def _resolve(config: Source) -> Config:
    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        return build(dict(config))
    return load([] if config is None else [str(config)])
