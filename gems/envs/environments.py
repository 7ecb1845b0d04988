"""The environments by name, with every option of the simulator resolved (Section 1)."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from gems.envs.click_models import CLICK_MODELS
from gems.envs.definitions import BUILT_IN, EMBEDDINGS, EnvironmentItems
from gems.errors import GemsError, unknown
from gems.sections import Section, SimulatorConfig, first_problem

if TYPE_CHECKING:
    from gems.config import Config

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class ItemSource:
    """Where item embeddings come from, and their sizes.

    Attributes:
        name: name of their file of results; environments with the same items share it.
        topics: number of topics.
        topic_dim: dimensions for each topic.
        count: number of items; None is any number, of a file.
        file: file that they are taken from; None if they are generated.
        embedding: ``focused`` or ``diffuse``, if they are generated; names the random stream.
        seed: seed of generated ones.
        peakedness: power to which components of generated ones are raised.
    """

    name: str
    topics: int
    topic_dim: int
    count: int | None
    file: str | None = None
    embedding: str = ""
    seed: int = 0
    peakedness: float = 1.0

    def values(self) -> dict[str, Any]:
        """Options that determine the embeddings."""
        return asdict(self)


@dataclass(frozen=True)
class Environment:
    """An environment with every option resolved.

    Attributes:
        name: its name in the configuration.
        items: where its items come from.
        kind: name of its click model.
        click_options: options of the click model.
        simulator: options of the simulator.
    """

    name: str
    items: ItemSource
    kind: str
    click_options: Section
    simulator: SimulatorConfig

    @property
    def module(self) -> str:
        """The module of its click model."""
        return CLICK_MODELS[self.kind].__module__

    def values(self) -> dict[str, Any]:
        """Options that determine a simulation, apart from the file of the items."""
        options = self.click_options.model_dump(mode="json")
        return {
            "topics": self.items.topics,
            "click_model": {"kind": self.kind, **options},
            "simulator": self.simulator.model_dump(mode="json"),
        }


def names(config: "Config") -> list[str]:
    """All environments that ``config`` may use: the built-in ones, then its own."""
    return [*BUILT_IN, *config.custom_environments]


def environment(name: str, config: "Config") -> Environment:
    """The environment ``name`` under ``config``.

    Raises:
        GemsError: the name is unknown, or the definition is not valid.
    """
    known = BUILT_IN | config.custom_environments
    if name not in known:
        raise GemsError(unknown("environment", name, known))
    definition, where = known[name], f"custom_environments.{name}"
    options = {"kind": "logistic"} | definition.click_model
    kind = str(options.pop("kind"))
    if kind not in CLICK_MODELS:
        reason = unknown("click model", kind, CLICK_MODELS)
        raise GemsError(f"In the configuration, {where}.click_model: {reason}")
    clicks = _section(CLICK_MODELS[kind].Options, options, f"{where}.click_model")
    changed = {k: v for k, v in definition.simulator.items() if v is not None}
    simulated = config.simulator.model_dump() | changed
    simulator = _section(SimulatorConfig, simulated, f"{where}.simulator")
    source, size = _items(name, definition.items, config), simulator.slate_size
    if source.count is not None and source.count < size:
        option = "items.count" if name in BUILT_IN else f"{where}.items.count"
        raise GemsError(
            f"In the configuration, {option}: slates of {size} items need at least {size} items, "
            f"not {source.count}."
        )
    return Environment(name, source, kind, clicks, simulator)


def item_sources(config: "Config") -> dict[str, ItemSource]:
    """The item embeddings by name: the built-in ones, and those of custom environments."""
    generated = [EnvironmentItems.model_validate({"generate": e}) for e in EMBEDDINGS]
    sources = [_items("", options, config) for options in generated]
    sources += [config.environment(name).items for name in config.custom_environments]
    return {source.name: source for source in sources}


def _items(name: str, options: EnvironmentItems, config: "Config") -> ItemSource:
    base, changed = config.items, options.model_dump(exclude_none=True)
    sizes = options.topics or base.topics, options.topic_dim or base.topic_dim
    if options.file:
        return ItemSource(name, *sizes, options.count, file=options.file)
    embedding = changed.pop("generate", "focused")
    count = options.count or base.count
    if not changed:
        name = embedding
        if embedding in base.files:
            return ItemSource(name, *sizes, count, file=base.files[embedding])
    peakedness = base.focused_peakedness if embedding == "focused" else 1.0
    return ItemSource(
        name,
        *sizes,
        count,
        embedding=embedding,
        seed=base.seed if options.seed is None else options.seed,
        peakedness=options.peakedness or peakedness or 1.0,
    )


def _section(kind: type[S], values: dict[str, Any], where: str) -> S:
    """A section of ``values``.

    Raises:
        GemsError: one sentence on the first option that is unknown or out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first, (option, message) = error.errors()[0], first_problem(error)
        if first["type"] == "extra_forbidden":
            reason = unknown("option", option, kind.model_fields)
            raise GemsError(f"In the configuration, {where}: {reason}") from None
        raise GemsError(
            f"In the configuration, {where}.{option}: {message}, not {first['input']!r}."
        ) from None
