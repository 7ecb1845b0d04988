"""The whole configuration: the top level, the core sections, and those of methods and models."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import Field, PrivateAttr, create_model, model_validator

from gems.config import paper
from gems.config.file_names import check_dataset_name
from gems.envs.definitions import EMBEDDINGS, EnvironmentConfig, check_names
from gems.errors import GemsError, unknown
from gems.sections import (
    AnalysisConfig,
    CollectionConfig,
    Fidelity,
    ItemsConfig,
    LoggingConfig,
    Section,
    Seed,
    SimulatorConfig,
    TrackingConfig,
    TrainingConfig,
    presets_of,
)

if TYPE_CHECKING:
    from gems.envs.environments import Environment, ItemSource

S = TypeVar("S", bound=Section)
Overrides = dict[str, dict[str, Any]]

# Sections of every configuration; methods and pretrained models add their own.
CORE = (
    *(ItemsConfig, SimulatorConfig, LoggingConfig),
    *(TrainingConfig, TrackingConfig, AnalysisConfig),
)


def _section(kind: type[Section]) -> Any:
    return Field(default_factory=lambda: kind())


class Config(Section):
    """The whole configuration; ``model_of_config`` adds the sections of methods and models."""

    results: str = Field("results", description="Folder for all results.", min_length=1)
    logs: str | None = Field(
        None,
        description="Folder for the logs of jobs. Default: `logs`, or `logs` in the results folder "
        "if that is not `results`, so that experiments do not mix.",
        min_length=1,
    )
    fidelity: Fidelity = Field(
        "released",
        description="Preset for the options in which the paper and its released code differ; an "
        "option that is set explicitly overrides it.",
    )
    extensions: list[str] = Field(
        default_factory=list,
        description="Python files that define your own methods or pretrained models "
        "(docs/extending.md).",
    )
    methods: list[str] = Field(
        default_factory=lambda: list(paper.METHODS),
        description="Methods of Table 2: "
        + ", ".join(f"`{m}`" for m in paper.METHODS)
        + ", and those of extensions.",
        min_length=1,
    )
    environments: list[str] = Field(
        default_factory=lambda: list(paper.ENVIRONMENTS),
        description="Environments: "
        + ", ".join(f"`{e}`" for e in paper.ENVIRONMENTS)
        + ", and those of `custom_environments`.",
        min_length=1,
    )
    custom_environments: dict[str, EnvironmentConfig] = Field(
        default_factory=dict,
        description="Your own environments by name: `items`, `click_model` and options that differ "
        "from `simulator`.",
    )
    seeds: list[Seed] = Field(
        default_factory=lambda: list(paper.SEEDS[:2]),
        description="Seeds; a run's seed also seeds its VAE.",
        min_length=1,
    )
    dataset: str | None = Field(
        None,
        description="Dataset to pretrain models on: the name of an imported one (`gems import`), "
        "of one of `collections`, or of an environment. Default: the logged data of each "
        "environment.",
        min_length=1,
    )
    collections: dict[str, CollectionConfig] = Field(
        default_factory=dict,
        description="Datasets by name that are collected by playing trained policies: `method`, "
        "`environment`, `seed`, and optionally `variant`, `quality` (`random`, `medium`, "
        "`expert`), `episode`, `epsilon`, `users`, `users_seed`.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Device for training; `auto` uses a GPU if there is one."
    )
    variants: dict[str, Overrides] = Field(
        default_factory=dict,
        description="Variants of runs by name: options, by section, that differ from those of the "
        "main runs. The names of the runs end in the name of the variant.",
    )
    items: ItemsConfig = _section(ItemsConfig)
    simulator: SimulatorConfig = _section(SimulatorConfig)
    logging: LoggingConfig = _section(LoggingConfig)
    training: TrainingConfig = _section(TrainingConfig)
    tracking: TrackingConfig = _section(TrackingConfig)
    analysis: AnalysisConfig = _section(AnalysisConfig)

    _environments: "dict[str, Environment]" = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._fill_defaults()
        self._check_names()
        for section in self._sections():
            section.check(self)
        return self

    def _sections(self) -> list[Section]:
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value for value in values if isinstance(value, Section)]

    def _fill_defaults(self) -> None:
        self.analysis.seeds = self.analysis.seeds or self.seeds
        self.analysis.audit_environments = self.analysis.audit_environments or self.environments
        if self.logs is None:
            results = Path(self.results)
            self.logs = str("logs" if results == Path("results") else results / "logs")
        for section in self._sections():
            for option, values in presets_of(type(section)).items():
                if getattr(section, option) is None:
                    setattr(section, option, values[self.fidelity])

    def _check_names(self) -> None:
        from gems.methods import METHODS
        from gems.pretraining.models import PRETRAINED

        check_names(self.custom_environments)
        analysis, environments = self.analysis, self.known_environments()
        drawn = [analysis.figure2_environment, *analysis.figure3_environments]
        for kind, named, allowed in (
            ("method", self.methods, METHODS),
            ("environment", self.environments, environments),
            ("environment", [*drawn, *(analysis.audit_environments or [])], environments),
            ("embedding in items.files", self.items.files, EMBEDDINGS),
        ):
            for name in named:
                if name not in allowed:
                    raise ValueError(unknown(kind, name, allowed))
        for name in dict.fromkeys([*self.environments, *self.custom_environments]):
            self.environment(name)
        for name in self.methods:
            for need in METHODS[name].prerequisites(self):
                if need not in PRETRAINED:
                    raise ValueError(
                        unknown(f"pretrained model, which {name} needs", need, PRETRAINED)
                    )
        for name, collection in self.collections.items():
            _check_collection(name, collection, self, METHODS)
        for field in ("methods", "environments", "seeds"):
            _check_unique(field, getattr(self, field))
        for field in ("seeds", "figure3_environments", "betas", "lambdas", "audit_environments"):
            _check_unique(f"analysis.{field}", getattr(analysis, field))

    def of(self, kind: type[S]) -> S:
        section: S = getattr(self, kind.section)
        return section

    def environment(self, name: str) -> "Environment":
        """A built-in or custom environment, with every option resolved.

        Raises:
            GemsError: the name is unknown, or the definition is not valid.
        """
        from gems.envs.environments import environment

        if name not in self._environments:
            self._environments[name] = environment(name, self)
        return self._environments[name]

    def item_embeddings(self) -> "dict[str, ItemSource]":
        """The item embeddings that the items stage can make, by the name of their file."""
        from gems.envs.environments import item_sources

        return item_sources(self)

    def known_environments(self) -> list[str]:
        from gems.envs.environments import names

        return names(self)

    def sections(self, *names: str) -> dict[str, Any]:
        """The named sections as plain JSON values, every option resolved."""
        values = self.model_dump(mode="json", include=set(names))
        return {name: values[name] for name in names}


def _check_collection(
    name: str, collection: CollectionConfig, config: Config, methods: Collection[str]
) -> None:
    environments, where = config.known_environments(), f"collections.{name}"
    check_dataset_name(name, environments)
    for kind, named, allowed in (
        ("method", collection.method, methods),
        ("environment", collection.environment, environments),
    ):
        if named not in allowed:
            raise ValueError(unknown(f"{kind} in {where}", named, allowed))
    _check_variant(collection.variant, config, where)
    kept = config.training.keep
    if collection.quality == "medium" and not kept:
        raise ValueError(f"{where}: set training.keep to the episode of the policy to be kept")
    if collection.quality == "medium" and len(kept) > 1 and collection.episode is None:
        raise ValueError(
            f"{where}: set episode to one of training.keep: {', '.join(map(str, kept))}"
        )
    if collection.episode is not None and collection.episode not in kept:
        raise ValueError(f"{where}: training.keep does not keep episode {collection.episode}")


def _check_variant(name: str, config: Config, where: str) -> None:
    from gems.config.variants import names

    if name and name not in (known := names(config)):
        raise ValueError(unknown(f"variant in {where}", name, known))


def _check_unique(field: str, values: list[Any]) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"{field} must not contain duplicates")


def model_of_config() -> type[Config]:
    """``Config`` with the sections of all registered methods and pretrained models.

    Raises:
        GemsError: two sections have the same name.
    """
    from gems.methods import METHODS
    from gems.pretraining.models import PRETRAINED

    kinds = [model.options for model in PRETRAINED.values()]
    kinds += [kind for method in METHODS.values() for kind in method.options]
    added = tuple(dict.fromkeys(kind for kind in kinds if kind not in CORE))
    taken = [*Config.model_fields, *(kind.section for kind in added)]
    for kind in added:
        if taken.count(kind.section) > 1:
            where = f"{kind.__module__}.{kind.__name__}"
            raise GemsError(
                f"The section {kind.section!r} of {where} has the name of another option; "
                "rename it."
            )
    return _model_with(added)


@cache
def _model_with(kinds: tuple[type[Section], ...]) -> type[Config]:
    fields: Any = {kind.section: (kind, _section(kind)) for kind in kinds}
    model: type[Config] = create_model("Config", __base__=Config, **fields)
    return model
