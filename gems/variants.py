"""Variants of a run by name: the overrides of the configuration that figures and the audit need.

A variant is part of the name of its runs, after the seed, so that it lies beside the main run.
"""

from typing import Any

from gems.config import Config, build, run_values
from gems.errors import GemsError, unknown
from gems.sections import PRESETS, Fidelity

AUDITED = {
    "SlateQ": "slateq",
    "REINFORCE+SoftMax": "reinforce",
    "SAC+WkNN": "wknn",
    "SAC+TopK-MF": "mf",
}
LATENT_DIMS = (16, 32)

Overrides = dict[str, dict[str, Any]]


def preset_of_baselines(fidelity: Fidelity) -> Overrides:
    """Options of the audited baselines under a preset.

    The simulator stays as it is, and so do options that SAC+GeMS reads too.
    """
    overrides: Overrides = {section: {} for section in AUDITED.values()}
    for (section, option), values in PRESETS.items():
        # The seed of the factorisation, and what is drawn before its tables, are no faults.
        if section in overrides and (section != "mf" or option == "validation"):
            overrides[section][option] = values[fidelity]
    if fidelity == "paper":
        overrides["mf"]["files"] = {}  # an imported item table stands for the released one
    return overrides


VARIANTS: dict[str, Overrides] = {
    "gamma0.0": {"agent": {"gamma": 0.0}},
    **{f"latentdim{dim}": {"vae": {"latent_dim": dim}} for dim in LATENT_DIMS},
    "releasedbaseline": preset_of_baselines("released"),
    "paperbaseline": preset_of_baselines("paper"),
}


def apply(config: Config, method: str, variant: str) -> Config:
    """``config`` with the overrides of ``variant``; "" is the main run.

    Raises:
        GemsError: there is no such variant, or it changes nothing that the method reads.
    """
    if not variant:
        return config
    if variant not in VARIANTS:
        raise GemsError(unknown("variant", variant, VARIANTS))
    overrides = VARIANTS[variant]
    read = run_values(method, config)
    if not any(section in read for section in overrides):
        reads = [name for name in VARIANTS if any(section in read for section in VARIANTS[name])]
        allowed = ", ".join(reads) or "none"
        raise GemsError(
            f"Variant {variant} changes nothing that {method} reads; its variants: {allowed}."
        )
    values = config.model_dump(mode="json")
    for section, options in overrides.items():
        values[section] |= options
    return build(values)


def needed(config: Config, method: str, variant: str, env: str = "") -> str:
    """``variant``, or "" if the main run of ``config`` (in ``env``) is that already."""
    changed = run_values(method, apply(config, method, variant), env)
    return "" if changed == run_values(method, config, env) else variant


def baseline_fidelity(method: str, values: dict[str, Any]) -> Fidelity | None:
    """Preset that the configuration ``values`` of a run of an audited method follow, if one."""
    section = AUDITED[method]
    if values.get(section, {}).get("files"):
        return "released"
    for fidelity in ("released", "paper"):
        options = preset_of_baselines(fidelity)[section]
        options.pop("files", None)
        if all(values.get(section, {}).get(name) == value for name, value in options.items()):
            return fidelity
    return None
