"""Continuous actions for slate environments: latent vectors of a slate VAE, or item vectors.

Any library for continuous control then trains on the environments. The classes whose names begin
with ``Vector`` wrap vector environments and turn all actions into slates at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorActionWrapper, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from gems.errors import GemsError
from gems.runtime.arrays import read_table

if TYPE_CHECKING:
    from gems.agents.sac import Ranker

Vectors = NDArray[np.float32]
Slates = NDArray[np.int64]
Table = str | Path | ArrayLike | None
AnyEnv = gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]


class _Ranked(gymnasium.ActionWrapper[Any, Any, Slates]):
    """An environment of one user whose actions a ranker turns into slates."""

    def __init__(self, env: gymnasium.Env[Any, Slates], ranker: "Ranker") -> None:
        super().__init__(env)
        self._ranker = ranker
        self.action_space = _box(ranker)

    def action(self, action: Vectors) -> Slates:
        """The slate of a vector."""
        return _slates(self._ranker, np.asarray(action)[None])[0]


class _VectorRanked(VectorActionWrapper[Any, Any, Slates, NDArray[Any]]):
    """A vector environment whose actions a ranker turns into slates."""

    def __init__(self, env: VectorEnv[Any, Slates, NDArray[Any]], ranker: "Ranker") -> None:
        super().__init__(env)
        self._ranker = ranker
        self.single_action_space = _box(ranker)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: Vectors) -> Slates:
        """The slates (users, slate size) of vectors (users, dimensions)."""
        return _slates(self._ranker, actions)


class LatentActions(_Ranked, RecordConstructorArgs):
    """Actions are latent vectors, which a pretrained slate VAE decodes (Sections 3 and 6).

    The action space is a ``Box``: the range of the latent vectors of logged slates. Not all
    algorithms scale actions to [-1, 1]; for those that do not, such as PPO, add
    ``gymnasium.wrappers.RescaleAction``.

    Example:
        >>> env = gems.LatentActions(gymnasium.make("gems/focused_topdown-v0"), "vae.safetensors")
        >>> model = stable_baselines3.SAC("MultiInputPolicy", env)
    """

    def __init__(self, env: gymnasium.Env[Any, Slates], file: str | Path) -> None:
        """Load the VAE.

        Args:
            env: a slate environment.
            file: weights of the VAE, ``results/vae/....safetensors``, with their ``.json`` beside.

        Raises:
            GemsError: the file is missing or damaged, or the VAE has other sizes than ``env``.
        """
        RecordConstructorArgs.__init__(self, file=str(file))
        super().__init__(env, _latent_ranker(env, file))


class VectorLatentActions(_VectorRanked):
    """``LatentActions`` for vector environments."""

    def __init__(self, env: VectorEnv[Any, Slates, NDArray[Any]], file: str | Path) -> None:
        """Load the VAE, as ``LatentActions``."""
        super().__init__(env, _latent_ranker(env, file))


class TopKActions(_Ranked, RecordConstructorArgs):
    """Actions are vectors; the slate holds the items with the largest dot products (Section 6).

    The action space is a ``Box``: the range of each column of the item table. Not all algorithms
    scale actions to [-1, 1]; for those that do not, such as PPO, add
    ``gymnasium.wrappers.RescaleAction``.

    Example:
        >>> env = gems.TopKActions(gymnasium.make("gems/focused_topdown-v0"))
        >>> model = stable_baselines3.SAC("MultiInputPolicy", env)
    """

    def __init__(self, env: gymnasium.Env[Any, Slates], table: Table = None) -> None:
        """Load the table.

        Args:
            env: a slate environment.
            table: vectors of the items, (items, dimensions): an array, or a file (.npy, or .pt or
                .safetensors with one tensor) as that of matrix factorisation. Default: the
                embeddings of the simulator, which a real system does not know.

        Raises:
            GemsError: the table cannot be read, or has another number of items than ``env``.
        """
        RecordConstructorArgs.__init__(self, table=str(table) if _is_file(table) else table)
        super().__init__(env, _top_k_ranker(env, table))


class VectorTopKActions(_VectorRanked):
    """``TopKActions`` for vector environments."""

    def __init__(self, env: VectorEnv[Any, Slates, NDArray[Any]], table: Table = None) -> None:
        """Load the table, as ``TopKActions``."""
        super().__init__(env, _top_k_ranker(env, table))


def _box(ranker: "Ranker") -> spaces.Box:
    center, scale = ranker.center.numpy(), ranker.scale.numpy()
    return spaces.Box(center - scale, center + scale, dtype=np.float32)


def _slates(ranker: "Ranker", actions: Vectors) -> Slates:
    """Slates (n, slate size) of actions (n, dimensions)."""
    import torch

    values = np.ascontiguousarray(actions, dtype=np.float32)
    if values.shape[1:] != tuple(ranker.center.shape):
        raise GemsError(
            f"An action must have {len(ranker.center)} dimensions, not shape {values.shape[1:]}."
        )
    if not np.isfinite(values).all():
        raise GemsError("An action must hold finite numbers; this one holds NaN or infinity.")
    return ranker.rank(torch.from_numpy(values)).numpy()


def _latent_ranker(env: AnyEnv, file: str | Path) -> "Ranker":
    from gems.pretraining.vae import load_ranker
    from gems.runtime.weights import load_config

    path, sizes = Path(file), _sizes(env)
    if not path.is_file():
        raise GemsError(f"The slate VAE {path} does not exist; `gems pretrain` makes it.")
    options = load_config(path).get("vae")
    if not isinstance(options, dict):
        raise GemsError(f"{path} is not a slate VAE; `gems pretrain --model vae` makes one.")
    return load_ranker(path, *sizes, options.get("latent_dim") or 0)


def _top_k_ranker(env: AnyEnv, table: Table) -> "Ranker":
    import torch

    from gems.agents.topk import TopK

    n_items, slate_size = _sizes(env)
    if table is None:
        values = env.unwrapped.simulator.items.embeddings  # type: ignore[union-attr]
    elif _is_file(table):
        values = read_table(Path(str(table)), "item table")
    else:
        values = np.asarray(table, dtype=np.float32)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise GemsError("The item table must hold finite numbers of shape (items, dimensions).")
    if len(values) != n_items:
        source = f" {table!s}" if _is_file(table) else ""
        raise GemsError(
            f"The item table{source} has {len(values)} items; the environment has {n_items}."
        )
    return TopK(torch.tensor(values), slate_size)


def _is_file(table: Table) -> bool:
    return isinstance(table, str | Path)


def _sizes(env: AnyEnv) -> tuple[int, int]:
    """Number of items, and slate size."""
    space = env.single_action_space if isinstance(env, VectorEnv) else env.action_space
    if not isinstance(space, spaces.MultiDiscrete) or len(set(space.nvec)) != 1:
        raise GemsError("Only environments whose actions are slates can be wrapped.")
    return int(space.nvec[0]), len(space.nvec)
