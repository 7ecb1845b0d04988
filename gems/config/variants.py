"""Variants of runs by name: options that differ from those of the main runs.

The figures use ``BUILT_IN`` and the audit ``BASELINES``; a configuration adds others with
``variants``. The name of a run ends in its variant, after the seed.
"""

from typing import Any

import yaml

from gems.config.loading import build
from gems.config.model import Config, Overrides
from gems.errors import GemsError, unknown
from gems.methods import METHODS, Method, method
from gems.sections import Fidelity, presets_of

LATENT_DIMS = (16, 32)
MYOPIC = "gamma0.0"
BUILT_IN: dict[str, Overrides] = {
    MYOPIC: {"agent": {"gamma": 0.0}},
    **{f"latentdim{dim}": {"vae": {"latent_dim": dim}} for dim in LATENT_DIMS},
}
# Variants of the audited methods, and the presets of ``fidelity`` that they apply.
BASELINES: dict[str, Fidelity] = {"releasedbaseline": "released", "paperbaseline": "paper"}


def audited() -> dict[str, Method]:
    """The methods that the audit of the baselines compares under both presets."""
    return {name: entry for name, entry in METHODS.items() if entry.audited}


def preset_of_baseline(entry: Method, fidelity: Fidelity) -> Overrides:
    """Options of an audited method under a preset; the simulator stays as it is."""
    if entry.audited is None:
        return {}
    section = entry.audited.section
    options = {name: values[fidelity] for name, values in presets_of(entry.audited).items()}
    if section == "mf":
        # The seed of the factorisation and the discarded draw before its tables are not faults.
        options = {"validation": options["validation"]}
        if fidelity == "paper":
            options["files"] = {}  # an imported table counts as the released one
    return {section: options}


def names(config: Config) -> list[str]:
    return [*BUILT_IN, *BASELINES, *config.variants]


def overrides_of(config: Config, variant: str) -> Overrides:
    """Options by section that ``variant`` sets.

    Raises:
        GemsError: the variant is unknown.
    """
    if variant in BASELINES:
        # Of all audited methods: one may act with a model whose options another one's audit sets.
        sides = [preset_of_baseline(entry, BASELINES[variant]) for entry in audited().values()]
        return {section: options for side in sides for section, options in side.items()}
    known = BUILT_IN | config.variants
    if variant not in known:
        raise GemsError(unknown("variant", variant, names(config)))
    return known[variant]


def apply_variant(config: Config, method_name: str, variant: str) -> Config:
    """``config`` with the options of ``variant``; "" is the main run.

    Raises:
        GemsError: the variant is unknown, or it changes no option that the method reads.
    """
    if not variant:
        return config
    read = _sections_read(method(method_name), config)
    overrides = overrides_of(config, variant)
    if not read & overrides.keys():
        applicable = [name for name in names(config) if read & overrides_of(config, name).keys()]
        raise GemsError(
            f"Variant {variant} changes nothing that {method_name} reads. Variants for it: "
            f"{', '.join(applicable) or 'none'}."
        )
    return with_overrides(config, overrides)


def _sections_read(entry: Method, config: Config) -> set[str]:
    trained = {"training"} if entry.trained else set()
    options = {kind.section for kind in entry.options}
    return options | trained | {"simulator", *entry.prerequisites(config)}


def with_overrides(config: Config, overrides: Overrides) -> Config:
    """``config`` with other values of some options, by section.

    Raises:
        GemsError: a section or option is unknown, or a value is not allowed.
    """
    return build(_overridden(config, overrides))


def _overridden(config: Config, overrides: Overrides) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    for section, options in overrides.items():
        before = values.get(section, {})
        if not isinstance(before, dict):
            raise GemsError(f"{section} is an option of the configuration, not a section.")
        values[section] = before | options
    return values


def with_options(config: Config, options: dict[str, Any]) -> Config:
    """``config`` with other values of some options, by full name.

    A name is ``SECTION.OPTION`` or, at the top level, ``OPTION``.
    """
    overrides: Overrides = {}
    top = {name: value for name, value in options.items() if "." not in name}
    for full_name, value in options.items():
        section, _, option = full_name.partition(".")
        if option:
            overrides.setdefault(section, {})[option] = value
    if not overrides and all(getattr(config, name, name) == top[name] for name in top):
        return config
    return build(_overridden(config, overrides) | top)


def parsed_options(settings: list[str]) -> dict[str, Any]:
    """Parse texts such as ``vae.beta=0.5``; values are YAML.

    Raises:
        GemsError: a text does not have this form.
    """
    options = {}
    for text in settings:
        name, equals, value = text.partition("=")
        # Other options at the top level determine defaults, which are filled in already.
        if not equals or (name != "dataset" and name.count(".") != 1):
            raise GemsError(f"{text!r} does not set an option; write SECTION.OPTION=VALUE.")
        try:
            options[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise GemsError(f"The value of {text!r} is not valid YAML.") from None
    return options


def fidelity_of_baseline(entry: Method, values: dict[str, Any]) -> Fidelity | None:
    """Preset of the options ``values`` of a run of an audited method; None if of neither."""
    if entry.audited is None:
        return None
    options = values.get(entry.audited.section, {})
    if options.get("files"):
        return "released"
    for fidelity in BASELINES.values():
        preset = dict(preset_of_baseline(entry, fidelity)[entry.audited.section])
        preset.pop("files", None)
        if all(options.get(name) == value for name, value in preset.items()):
            return fidelity
    return None
