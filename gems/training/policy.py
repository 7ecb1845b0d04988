"""Trained policies without a simulator: slates and clicks in, slates out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gems.agents.base import Policy
from gems.envs.simulator import Observation
from gems.errors import GemsError
from gems.runtime.randomness import torch_stream
from gems.training.run import Run
from gems.training.saved import saved_run


class SlatePolicy:
    """The policy of a finished run; ``load_policy`` reads it.

    It acts without exploring, as in the test of the run. Its attributes are for reading only.

    Example::

        policy = gems.load_policy("results/runs/RUN")
        policy.reset(2)
        slates = policy.act(slates, clicks)  # both (2, slate size): those of the last turn

    Attributes:
        method: name of the method.
        environment: name of the environment that the policy was trained in.
        n_items: number of items; they are numbered from 0.
        slate_size: items of a slate.
    """

    def __init__(self, run: Run, policy: Policy) -> None:
        simulator = run.simulator()
        self.method, self.environment = run.method, run.environment
        self.n_items, self.slate_size = simulator.n_items, simulator.slate_size
        self._policy, self._seed, self._block = policy, run.seed, simulator.config.turns
        self._shape: tuple[int, ...] | None = None

    def reset(self, n: int | None = None, *, seed: int | None = None) -> None:
        """Start new sessions.

        Args:
            n: number of users. By default one user, whose slates and clicks have no batch axis.
            seed: seed of the random numbers of a policy that draws some, as Random does. By default
                they are those of the run's own test, the same after each ``reset``.

        Raises:
            GemsError: ``n`` is not a positive number of users.
        """
        if n is not None and not _is_count(n, 1):
            raise GemsError(f"reset takes a positive number of users, or None for one; not {n!r}.")
        if seed is not None and not _is_count(seed, 0):
            raise GemsError(f"The seed must be a whole number from 0, not {seed!r}.")
        self._shape = (self.slate_size,) if n is None else (n, self.slate_size)
        self._n = n or 1
        purpose = (self._seed, "policy", "test") if seed is None else (seed, "policy", "sessions")
        self._generator, self._turn = torch_stream(*purpose), 0
        none = np.empty((self._n, 0))
        self._undisclosed = none.astype(np.float32), none.astype(np.bool_), none.astype(np.bool_)
        with _acting():
            self._policy.begin(self._n)

    def act(self, slates: ArrayLike, clicks: ArrayLike) -> NDArray[np.int64]:
        """Choose the next slates.

        Args:
            slates: (n, slate size), the items shown in the last turn; (slate size,) for one user.
            clicks: the same shape, 1 or True where an item was clicked, else 0 or False.

        Returns:
            The items to show next, in the same shape, int64.

        Raises:
            GemsError: there was no ``reset``, or the slates or clicks are not as described.
        """
        if self._shape is None:
            raise GemsError("Call reset before act, with the number of users.")
        shown, clicked = checked(slates, clicks, self._shape, self.n_items)
        batch = self._n, self.slate_size
        observation = Observation(shown.reshape(batch), clicked.reshape(batch), *self._undisclosed)
        with _acting():
            chosen = self._policy.act(observation, "greedy", self._draw()).slates.numpy()
        return np.array(chosen, dtype=np.int64).reshape(self._shape)

    def _draw(self) -> torch.Tensor:
        """The random numbers of this turn; as in ``rollout``, those of an episode at once."""
        turn = self._turn % self._block
        if turn == 0:
            self._draws = self._policy.draws("greedy", self._block, self._n, self._generator)
        self._turn += 1
        return self._draws[turn]


def load_policy(folder: str | Path, episode: int | None = None) -> SlatePolicy:
    """Read the policy of a finished run.

    Args:
        folder: folder of the run, such as ``results/runs/RUN``. The items and pretrained models
            that it was made from must be where they were, relative to it.
        episode: read the policy that ``training.keep`` kept after this episode; by default the
            one that the run tested.

    Raises:
        GemsError: the folder is not that of a finished run, a file is missing or damaged, or the
            policy acts in a simulator only.
    """
    run, policy = saved_run(Path(folder), episode)
    if policy.disclosed:
        raise GemsError(
            f"The policy of {run.method} reads the tastes and boredom of simulated users, so it "
            "acts in a simulator only; use gems evaluate or gems collect."
        )
    return SlatePolicy(run, policy)


def checked(
    slates: ArrayLike, clicks: ArrayLike, shape: tuple[int, ...], n_items: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """``slates`` and ``clicks`` as contiguous arrays.

    Raises:
        GemsError: they do not have this shape, or hold anything but items and 0 or 1.
    """
    shown, clicked = _array(slates, "slates", shape), _array(clicks, "clicks", shape)
    for name, array in (("slates", shown), ("clicks", clicked)):
        if array.shape != shape:
            raise GemsError(f"The {name} must have the shape {shape}, not {array.shape}.")
    if shown.dtype.kind not in "iu" or shown.min() < 0 or shown.max() >= n_items:
        raise GemsError(f"The slates must hold items, whole numbers from 0 to {n_items - 1}.")
    if clicked.dtype.kind not in "biuf" or not ((clicked == 0) | (clicked == 1)).all():
        raise GemsError("The clicks must be 0 or 1.")
    return np.ascontiguousarray(shown, np.int64), np.ascontiguousarray(clicked, np.bool_)


def _is_count(value: object, least: int) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and int(value) >= least  # type: ignore[call-overload]


def _array(values: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray:
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:  # rows of different lengths
        raise GemsError(f"The {name} must be an array of the shape {shape}.") from error


@contextmanager
def _acting() -> Iterator[None]:
    """Compute as the test of a run does: without gradients, and in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
