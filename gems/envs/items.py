"""Item embeddings: the generating process, files, and what the simulator derives from them."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gems.errors import GemsError, unknown
from gems.runtime.arrays import read_table
from gems.runtime.files import written_whole
from gems.runtime.randomness import stream

if TYPE_CHECKING:
    from gems.config import Config

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
    """The item embeddings of an environment.

    Attributes:
        embeddings: (items, topics x dimensions for each topic) float32.
        topics: number of topics.
    """

    embeddings: Floats
    topics: int = 10

    @cached_property
    def by_dim(self) -> Floats:
        """Embeddings with one row a dimension, for scoring all items at once.

        Rows of zeros are added to a multiple of 4.
        """
        rows = self.embeddings.T
        return np.ascontiguousarray(np.pad(rows, ((0, -len(rows) % 4), (0, 0))))

    @cached_property
    def topic_norms(self) -> Floats:
        """Norm of each item in each topic, (items, topics)."""
        parts = self.embeddings.reshape(len(self.embeddings), self.topics, -1)
        return np.linalg.norm(parts, axis=2)

    @cached_property
    def main_topics(self) -> Integers:
        """The topic with the largest norm of each item."""
        return self.topic_norms.argmax(axis=1)

    def first_slate(self, size: int) -> Integers:
        """What a new user is shown first: for each topic the item with the largest norm in it.

        With fewer topics than slots the next items of each topic follow, topic after topic; with
        more topics than slots only the first topics are shown.
        """
        norms, rounds = self.topic_norms.copy(), []
        for _ in range(0, size, self.topics):
            rounds.append(norms.argmax(axis=0))
            norms[rounds[-1], np.arange(self.topics)] = -1
        return np.concatenate(rounds)[:size]

    @cached_property
    def normaliser(self) -> float:
        """Largest norm of an item; scores are divided by it."""
        return float(np.linalg.norm(self.embeddings, axis=1).max())


def generate(
    seed: int, embedding: str, count: int, peakedness: float, topics: int = 10, topic_dim: int = 2
) -> Items:
    """Draw item embeddings by the process of Section 1 of the specification.

    Args:
        seed: seed of the process.
        embedding: ``focused`` or ``diffuse``; names the random stream.
        count: number of items.
        peakedness: power to which components are raised before the unit norm.
        topics: number of topics.
        topic_dim: dimensions for each topic.
    """
    rng = stream(seed, "items", embedding)
    weights = rng.random((count, topics), dtype=np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    normal = rng.standard_normal((count, topics, topic_dim), dtype=np.float32)
    values = (topic_components(normal) * weights[:, :, None]).reshape(count, -1) ** peakedness
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return Items((values / norms).astype(np.float32), topics)


def make(name: str, config: "Config") -> Items:
    """The embeddings ``name`` of the configuration: from a file, or generated.

    Raises:
        GemsError: the name is unknown, or the file is missing, damaged, or of another
            size.
    """
    sources = config.item_embeddings()
    if name not in sources:
        raise GemsError(unknown("item embedding", name, sources))
    source = sources[name]
    sizes = source.topics, source.topic_dim
    if source.file is None:
        count = source.count or config.items.count
        return generate(source.seed, source.embedding, count, source.peakedness, *sizes)
    items = load(Path(source.file), *sizes)
    if source.count not in (None, len(items.embeddings)):
        raise GemsError(
            f"{source.file} holds {len(items.embeddings)} items, but items.count is {source.count}."
        )
    return items


def save(path: Path, items: Items) -> None:
    """Write embeddings as .npy."""
    contents = io.BytesIO()
    np.save(contents, items.embeddings, allow_pickle=False)
    with written_whole(path) as temporary:
        temporary.write_bytes(contents.getvalue())


def load(path: Path, topics: int = 10, topic_dim: int = 2) -> Items:
    """Read embeddings from .npy, or from a .pt or .safetensors file that holds one tensor.

    Raises:
        GemsError: the file is missing, damaged, or not an (items, ``topics`` x ``topic_dim``) array
            of finite numbers.
    """
    values = read_table(path, "file of item embeddings")
    if values.shape[1] != topics * topic_dim:
        raise GemsError(
            f"The file of item embeddings {path} has shape {values.shape}; (items, "
            f"{topics * topic_dim}) is needed, for {topics} topics of {topic_dim} dimensions."
        )
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(values, axis=1)
    if not np.isfinite(norms).all() or not norms.all():
        raise GemsError(f"The item embeddings {path} hold an item that is all zero or too large.")
    return Items(values, topics)
