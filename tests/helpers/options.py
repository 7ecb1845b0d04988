"""Options of the configuration, as tests ask for them."""

from gems.config import Config, build
from gems.sections import Section, presets_of

# The smallest experiment in which every stage has something to do.
TINY = {
    "results": "out",
    "items": {"count": 60},
    "simulator": {"turns": 6},
    "logging": {"users": 20},
    "vae": {"epochs": 1, "batch_slates": 32},
    "mf": {"validate_every": 5, "patience": 1},
    "training": {
        "episodes": 4,
        "random_episodes": 2,
        "validate_every": 2,
        "validation_users": 2,
        "test_users": 3,
        "batch_episodes": 2,
    },
    "device": "cpu",
    "tracking": {"mode": "disabled"},
}


def sections(config: Config | None = None) -> dict[str, Section]:
    """The sections of a configuration, by name, those of methods and models included."""
    config = config or build({})
    values = {name: getattr(config, name) for name in type(config).model_fields}
    return {name: value for name, value in values.items() if isinstance(value, Section)}


def presets() -> dict[tuple[str, str], dict[str, object]]:
    """Value under each preset of every option that has presets, by section and name."""
    return {
        (name, option): values
        for name, section in sections().items()
        for option, values in presets_of(type(section)).items()
    }
