"""Options of the configuration, as tests ask for them."""

from gems.config import Config, build
from gems.sections import Section, presets_of


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
