"""How a configuration defines an environment, and the six of the paper in the same form."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gems.sections import Positive, Rate, Section, Seed

Embedding = Literal["focused", "diffuse"]
EMBEDDINGS: tuple[Embedding, ...] = ("focused", "diffuse")


class EnvironmentItems(Section):
    """Items of an environment: generated ones, or those of a file."""

    generate: Embedding | None = Field(
        None, description="Which items are generated. Default: `focused`, unless there is a file."
    )
    file: str | None = Field(
        None,
        description="File (.npy, or .pt or .safetensors holding one tensor; items x (`topics` x "
        "`topic_dim`)) to take the embeddings from.",
        min_length=1,
    )
    count: Annotated[int, Field(gt=0, le=1_000_000)] | None = Field(
        None, description="Number of items. Default: those in the file, or `items.count`."
    )
    topics: Positive | None = Field(None, description="Number of topics. Default: `items.topics`.")
    topic_dim: Positive | None = Field(
        None, description="Dimensions for each topic. Default: `items.topic_dim`."
    )
    seed: Seed | None = Field(
        None, description="Seed of generated embeddings. Default: `items.seed`."
    )
    peakedness: Rate | None = Field(
        None,
        description="Power to which components of generated embeddings are raised. Default: "
        "`items.focused_peakedness` for `focused`, 1 for `diffuse`.",
    )

    @model_validator(mode="after")
    def _from_one_source(self) -> Self:
        for name in ("generate", "seed", "peakedness"):
            if self.file and getattr(self, name) is not None:
                raise ValueError(f"items of a file are not generated; remove {name} or file")
        return self


class EnvironmentConfig(Section):
    """An environment: its items, its click model, and options of the simulator that differ."""

    items: EnvironmentItems = Field(
        default_factory=lambda: EnvironmentItems.model_validate({}),
        description="Items; by default the focused ones.",
    )
    click_model: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the click model, and its `kind` if that is not `logistic`.",
    )
    simulator: dict[str, Any] = Field(
        default_factory=dict, description="Options that differ from the section `simulator`."
    )


_CLICK_MODELS: dict[str, dict[str, Any]] = {
    "topdown": {"top_down": 1.0},
    "mix": {"top_down": 0.5},
    "divpen": {"top_down": 0.5, "diversity_penalty": None},  # that of the section `simulator`
}

BUILT_IN = {
    f"{embedding}_{name}": EnvironmentConfig.model_validate(
        {"items": {"generate": embedding}, "click_model": options}
    )
    for embedding in EMBEDDINGS
    for name, options in _CLICK_MODELS.items()
}


def check_names(names: Iterable[str]) -> None:
    """Refuse names of environments that are taken, or ambiguous in names of files and runs.

    Raises:
        ValueError: one sentence without a full stop.
    """
    for name in names:
        where = f"custom_environments: the name {name!r}"
        if name in BUILT_IN or name in EMBEDDINGS:
            raise ValueError(f"{where} is that of a built-in environment or of its items")
        check_part_of_file_names(name, where, "_(seed|KL|file$|held_out$)")


def check_part_of_file_names(name: str, where: str, reserved: str) -> None:
    """Refuse a name that files cannot have, or in which a part matches the pattern ``reserved``.

    Raises:
        ValueError: one sentence without a full stop, which begins with ``where``.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(f"{where} may hold letters, digits, '_', '.' and '-' only")
    if found := re.search(reserved, name):
        raise ValueError(f"{where} must not hold {found[0]!r}, which names of files use")
