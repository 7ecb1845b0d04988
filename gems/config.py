"""The whole configuration: the options of ``gems.sections`` and of the top level, and reading them.

Nothing but these two modules defines defaults. ``gems options`` generates ``config/README.md`` and
``workflow/schemas/config.schema.yaml`` from them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from gems import registry
from gems.errors import GemsError, unknown
from gems.sections import (
    PRESETS,
    AgentConfig,
    AnalysisConfig,
    Fidelity,
    ItemsConfig,
    LoggingConfig,
    MFConfig,
    RandomConfig,
    ReinforceConfig,
    SACConfig,
    Section,
    Seed,
    SimulatorConfig,
    SlateQConfig,
    TrackingConfig,
    TrainingConfig,
    VAEConfig,
    WkNNConfig,
)


def _section(kind: type[Section]) -> Any:
    """A section that is left out has its defaults."""
    return Field(default_factory=lambda: kind())


class Config(Section):
    """The whole configuration."""

    results: str = Field(
        "results", description="Folder that everything is written to.", min_length=1
    )
    logs: str | None = Field(
        None,
        description="Folder of the logs of jobs. Default: `logs`, and `logs` in the results folder "
        "if that is not `results`, so that experiments do not mix.",
        min_length=1,
    )
    fidelity: Fidelity = Field(
        "released",
        description="Preset of the options in which the paper's text and its released code "
        "differ; an option that is set overrides it.",
    )
    methods: list[str] = Field(
        default_factory=lambda: list(registry.METHODS),
        description="Methods of Table 2: " + ", ".join(f"`{m}`" for m in registry.METHODS) + ".",
        min_length=1,
    )
    environments: list[str] = Field(
        default_factory=lambda: list(registry.ENVIRONMENTS),
        description="Environments: " + ", ".join(f"`{e}`" for e in registry.ENVIRONMENTS) + ".",
        min_length=1,
    )
    seeds: list[Seed] = Field(
        default_factory=lambda: [58407201, 496912423],
        description="Seeds; a run's seed also seeds its VAE.",
        min_length=1,
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where networks are trained; `auto` takes a GPU where there is one."
    )
    items: ItemsConfig = _section(ItemsConfig)
    simulator: SimulatorConfig = _section(SimulatorConfig)
    logging: LoggingConfig = _section(LoggingConfig)
    vae: VAEConfig = _section(VAEConfig)
    mf: MFConfig = _section(MFConfig)
    agent: AgentConfig = _section(AgentConfig)
    sac: SACConfig = _section(SACConfig)
    wknn: WkNNConfig = _section(WkNNConfig)
    slateq: SlateQConfig = _section(SlateQConfig)
    reinforce: ReinforceConfig = _section(ReinforceConfig)
    random: RandomConfig = _section(RandomConfig)
    training: TrainingConfig = _section(TrainingConfig)
    tracking: TrackingConfig = _section(TrackingConfig)
    analysis: AnalysisConfig = _section(AnalysisConfig)

    @model_validator(mode="after")
    def _names_and_preset(self) -> Self:
        analysis = self.analysis
        analysis.seeds = analysis.seeds or self.seeds
        analysis.audit_environments = analysis.audit_environments or self.environments
        drawn = [analysis.figure2_environment, *analysis.figure3_environments]
        for kind, names, allowed in (
            ("method", self.methods, registry.METHODS),
            ("environment", self.environments, registry.ENVIRONMENTS),
            ("environment", [*drawn, *analysis.audit_environments], registry.ENVIRONMENTS),
        ):
            for name in names:
                if name not in allowed:
                    raise ValueError(unknown(kind, name, allowed))
        if self.wknn.neighbours > self.items.count:
            raise ValueError("wknn.neighbours must not exceed items.count")
        for name in self.items.files:
            if name not in registry.EMBEDDINGS:
                raise ValueError(unknown("embedding in items.files", name, registry.EMBEDDINGS))
        for name in self.mf.files:
            if name not in registry.ENVIRONMENTS:
                raise ValueError(unknown("environment in mf.files", name, registry.ENVIRONMENTS))
        for field in ("methods", "environments", "seeds"):
            _distinct(field, getattr(self, field))
        for field in ("seeds", "figure3_environments", "betas", "lambdas", "audit_environments"):
            _distinct(f"analysis.{field}", getattr(analysis, field))
        if self.logs is None:
            results = Path(self.results)
            self.logs = str("logs" if results == Path("results") else results / "logs")
        for (section, option), values in PRESETS.items():
            if getattr(getattr(self, section), option) is None:
                setattr(getattr(self, section), option, values[self.fidelity])
        return self

    def sections(self, *names: str) -> dict[str, Any]:
        """The named sections, every option resolved, as plain values: what a stage depends on."""
        return {name: self.model_dump(mode="json")[name] for name in names}


def _distinct(field: str, values: list[Any]) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"{field} must not name anything twice")


def needs(method: str, config: Config) -> tuple[registry.Prerequisite, ...]:
    """Pretrained models that a method acts with under ``config``, by their sections of it."""
    entry = registry.method(method)
    if "wknn" in entry.sections and config.wknn.item_table == "mf":
        return (*entry.needs, "mf")
    return entry.needs


def items_values(embedding: str, config: Config) -> dict[str, Any]:
    """What one embedding reads of the configuration: not what is said of the other."""
    values = config.sections("items")["items"]
    values["files"] = {name: file for name, file in values["files"].items() if name == embedding}
    if embedding != "focused":
        del values["focused_peakedness"]
    return {"items": values}


def imported_values(env: str, config: Config) -> dict[str, Any]:
    """What the import of an item table reads of the configuration: its file, the items."""
    files = {name: file for name, file in config.mf.files.items() if name == env}
    return {"mf": {"files": files}, "items": {"count": config.items.count}}


def factorised_values(config: Config) -> dict[str, Any]:
    """What a factorisation reads of the configuration: nothing of imported item tables."""
    return {"mf": config.sections("mf")["mf"] | {"files": {}}}


def run_values(method: str, config: Config, env: str = "") -> dict[str, Any]:
    """What a run of a method reads of the configuration, every option resolved.

    With ``env`` only what concerns a run in that environment: of the item tables its own, and
    where that is imported nothing of the factorisation.
    """
    entry = registry.method(method)
    if not entry.trained:
        tested = {"test_users": config.training.test_users, "users": config.training.users}
        return config.sections("simulator", *entry.sections) | {"training": tested}
    values = config.sections("simulator", "training", *entry.sections, *needs(method, config))
    if env and "mf" in values:
        imported = imported_values(env, config)["mf"]
        values["mf"] = imported if imported["files"] else factorised_values(config)["mf"]
    return values


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their full names: ``{"sac.q_lr": 0.001}``."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict)
        named |= flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return named


def build(values: dict[str, Any]) -> Config:
    """Check plain values and fill in the defaults.

    Raises:
        GemsError: one sentence on the first unknown option or value out of range.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise GemsError(_sentence(error)) from None


def load(sources: Sequence[str]) -> Config:
    """Read the configuration: YAML or JSON files, or JSON texts; later ones override earlier ones.

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
    except (yaml.YAMLError, ValueError, RecursionError):  # as of a date in month 99
        raise GemsError(f"The configuration {name} is not valid YAML.") from None
    if not isinstance(values, dict):
        raise GemsError(f"The configuration {name} must be a mapping of options to values.")
    return values


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        parents = first["loc"][:-1]
        model: type[BaseModel] = Config
        for parent in parents:
            model = model.model_fields[str(parent)].annotation  # type: ignore[assignment]
        prefix = "".join(f"{parent}." for parent in parents)
        return "In the configuration, " + unknown(
            "option", where, [prefix + option for option in model.model_fields]
        )
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not where:
        return f"In the configuration: {message}."
    value = f", not {first['input']!r}" if not isinstance(first["input"], dict | BaseModel) else ""
    return f"In the configuration, {where}: {message}{value}."
