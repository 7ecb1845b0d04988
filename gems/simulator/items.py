"""Item embeddings: the generating process, files, and what the simulator derives from them."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gems.arrays import read_table
from gems.errors import GemsError
from gems.files import written_whole
from gems.randomness import stream
from gems.sections import ItemsConfig
from gems.simulator.kernels import DIM, SLATE_SIZE, TOPIC_DIM, TOPICS

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def topic_components(normal: Floats) -> Floats:
    """Components of embeddings before they are weighted, of standard normal numbers."""
    return np.abs(np.clip(np.float32(0.4) * normal, -1, 1))


def item_dtype(n_items: int) -> np.dtype[np.signedinteger[Any]]:
    """The smallest type, of those in use, that holds the number of every item."""
    return np.dtype(np.int16 if n_items <= 2**15 else np.int32)


@dataclass(frozen=True)
class Items:
    """The item embeddings of an environment, (items, 20) float32."""

    embeddings: Floats

    @cached_property
    def by_dim(self) -> Floats:
        """Embeddings with one row a dimension, for scoring all items at once."""
        return np.ascontiguousarray(self.embeddings.T)

    @cached_property
    def topic_norms(self) -> Floats:
        """Norm of each item in each topic, (items, topics)."""
        return np.linalg.norm(self.embeddings.reshape(-1, TOPICS, TOPIC_DIM), axis=2)

    @cached_property
    def main_topics(self) -> Integers:
        """The topic with the largest norm of each item."""
        return self.topic_norms.argmax(axis=1)

    @cached_property
    def first_slate(self) -> Integers:
        """For each topic the item with the largest norm in it: what a new user is shown first."""
        return self.topic_norms.argmax(axis=0)

    @cached_property
    def normaliser(self) -> float:
        """Largest norm of an item; scores are divided by it."""
        return float(np.linalg.norm(self.embeddings, axis=1).max())


def generate(seed: int, embedding: str, count: int, peakedness: float) -> Items:
    """Draw item embeddings by the process of Section 1 of the specification.

    Args:
        seed: seed of the process.
        embedding: ``focused`` or ``diffuse``; names the random stream.
        count: number of items.
        peakedness: power to which components are raised before the unit norm.
    """
    rng = stream(seed, "items", embedding)
    weights = rng.random((count, TOPICS), dtype=np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    normal = rng.standard_normal((count, TOPICS, TOPIC_DIM), dtype=np.float32)
    values = (topic_components(normal) * weights[:, :, None]).reshape(count, DIM) ** peakedness
    return Items((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32))


def make(embedding: str, config: ItemsConfig) -> Items:
    """The embeddings that the configuration asks for: from its file, or generated.

    Raises:
        GemsError: the file is missing, damaged, or of another number of items.
    """
    source = config.files.get(embedding)
    if source is None:
        peakedness = config.focused_peakedness if embedding == "focused" else 1.0
        return generate(config.seed, embedding, config.count, peakedness or 1.0)
    items = load(Path(source))
    if len(items.embeddings) != config.count:
        raise GemsError(
            f"{source} holds {len(items.embeddings)} items, but items.count is {config.count}."
        )
    return items


def save(path: Path, items: Items) -> None:
    """Write embeddings as .npy."""
    contents = io.BytesIO()
    np.save(contents, items.embeddings, allow_pickle=False)
    with written_whole(path) as temporary:
        temporary.write_bytes(contents.getvalue())


def load(path: Path) -> Items:
    """Read embeddings from .npy, or from a .pt or .safetensors file that holds one tensor.

    Raises:
        GemsError: the file is missing, damaged, or not an (items, 20) array of finite numbers.
    """
    values = read_table(path, "file of item embeddings")
    if values.shape[1] != DIM or len(values) < SLATE_SIZE:
        raise GemsError(
            f"The file of item embeddings {path} has shape {values.shape}; "
            f"({SLATE_SIZE} items or more, {DIM}) is needed."
        )
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(values, axis=1)
    if not np.isfinite(norms).all() or not norms.all():
        raise GemsError(f"The item embeddings {path} hold an item that is all zero or too large.")
    return Items(values)
