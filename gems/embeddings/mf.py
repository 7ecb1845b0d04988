"""Matrix factorisation by BPR on logged clicks, with pytorch-lightning (Section 4)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from gems.data.dataset import Dataset, validation_users
from gems.digest import code_digest, value_digest
from gems.embeddings.lazy_adam import LazyAdam
from gems.errors import GemsError
from gems.lightning import best_weights, fit
from gems.process import set_up_process
from gems.randomness import stream
from gems.sections import MFConfig
from gems.tracking import Tracker
from gems.weights import save_weights

VALIDATION_BATCH = 65_536
READ_USERS = 5_000

# Users (pairs,) and the items (pairs,) that they clicked.
Pairs = tuple[NDArray[np.int32], NDArray[np.signedinteger]]


class Triples(IterableDataset):
    """Batches of (user, clicked item, random item), all int64 tensors.

    Passes over the pairs are in random orders, one after the other, and batches are numbered
    through all passes. What they hold depends on their numbers and on ``first``, whose stream draws
    the negatives, so training can go on from each ``first`` of before.
    """

    def __init__(
        self, pairs: Pairs, n_items: int, size: int, seed: int, first: int, count: int
    ) -> None:
        """Batches ``first`` to ``first + count`` of ``size`` pairs; one negative for each."""
        self._pairs, self._n_items, self._size = pairs, n_items, size
        self._seed, self._first, self._count = seed, first, count

    def __len__(self) -> int:
        """Number of batches."""
        return self._count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:  # noqa: D105
        users, items = self._pairs
        a_pass = -(-len(users) // self._size)
        negatives = stream(self._seed, "mf negatives", self._first)
        order, ordered = np.empty(0, dtype=np.int64), -1
        for number in range(self._first, self._first + self._count):
            current, place = divmod(number, a_pass)
            if current != ordered:
                order, ordered = stream(self._seed, "mf", current).permutation(len(users)), current
            where = order[place * self._size : (place + 1) * self._size]
            drawn = negatives.integers(0, self._n_items, len(where))
            parts = (p.astype(np.int64) for p in (users[where], items[where], drawn))
            user, positive, negative = map(torch.from_numpy, parts)
            yield user, positive, negative


class _EachTime(IterableDataset):
    """Batches that are made anew each time they are iterated over."""

    def __init__(self, make: Callable[[], Triples]) -> None:
        self._make = make

    def __len__(self) -> int:
        return len(self._make())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return iter(self._make())


class BPR(pl.LightningModule):
    """User and item tables, their pairwise loss, batches and optimiser.

    An epoch of Lightning is the batches from one validation to the next.
    """

    def __init__(self, data: Dataset, config: MFConfig) -> None:
        """Xavier-uniform tables; the first users' clicks validate."""
        super().__init__()
        self.automatic_optimization = False
        self._config, self._n_items = config, data.meta["items"]
        if config.discarded_draw:
            nn.Embedding(self._n_items, config.dim)
        self.users = nn.Embedding(data.users, config.dim, sparse=True)
        self.items = nn.Embedding(self._n_items, config.dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)
        split = validation_users(data.users, config.validation_fraction)
        self._learns = config.validation == "learns"
        self._validation = _pairs(data, 0, split)
        users, clicked = _pairs(data, split, data.users)
        # As released, users are numbered from 0 in both parts.
        self._training = (users - split if self._learns else users), clicked
        for name, (users, _) in (("validate", self._validation), ("train", self._training)):
            if not len(users):
                raise GemsError(f"The dataset {data.folder} has no click to {name} with.")

    def loss(
        self, users: Tensor, positives: Tensor, negatives: Tensor, crossed: bool = False
    ) -> Tensor:
        """Mean of -log(sigmoid(s+ - s-) + 1e-7) over a batch; ``crossed``: of all users x items."""
        gap = self.items(positives) - self.items(negatives)
        rows = self.users(users)
        margin = rows @ gap.t() if crossed else (rows * gap).sum(-1)
        return -torch.log(torch.sigmoid(margin) + 1e-7).mean()

    def _batches(self, pairs: Pairs, size: int, first: int, count: int) -> Triples:
        seed = cast(int, self._config.seed)
        return Triples(pairs, self._n_items, size, seed, first, count)

    def train_dataloader(self) -> DataLoader:
        """The batches up to the next validation."""
        first = self._validated_at(self.current_epoch - 1) if self.current_epoch else 0
        count = self._validated_at(self.current_epoch) - first
        batches = self._batches(self._training, self._config.batch_pairs, first, count)
        return DataLoader(batches, batch_size=None)

    def _validated_at(self, epoch: int) -> int:
        """Number of training batches before the validation at the end of Lightning's ``epoch``.

        As released, the batches are counted anew in each pass over the pairs: no validation comes
        after the remainder of a pass. One comes at the end of a pass that is too short for any.
        """
        every = self._config.validate_every
        if not self._learns:
            return (epoch + 1) * every
        a_pass = -(-len(self._training[0]) // self._config.batch_pairs)
        passes, earlier = divmod(epoch, max(1, a_pass // every))
        return passes * a_pass + min((earlier + 1) * every, a_pass)

    def val_dataloader(self) -> DataLoader:
        """All validation pairs once; if nothing is learnt, with the same negatives every time."""
        return DataLoader(_EachTime(self._validation_pass), batch_size=None)

    def _validation_pass(self) -> Triples:
        number = self.current_epoch + (self.global_step > 0) if self._learns else 0
        size = self._config.batch_pairs if self._learns else VALIDATION_BATCH
        count = -(-len(self._validation[0]) // size)
        return self._batches(self._validation, size, number * count, count)

    def on_train_start(self) -> None:
        """As released, validate before all training too, if that is to learn."""
        if self._learns and self.global_step == 0:
            self.trainer.validating = True
            self.trainer.fit_loop.epoch_loop.val_loop.run()
            self.trainer.training = True

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """One step of both tables; that of the users costs by the users in the batch."""
        return {"loss": self._learn(batch, validating=False)}

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Validation loss; as released, with a step of both tables that it does not count."""
        if self._learns:
            with torch.enable_grad():
                loss = self._learn(batch, validating=True)
        else:
            loss = self.loss(*batch)
        self.log("val_loss", loss, batch_size=len(batch[0]))

    def _learn(self, batch: tuple[Tensor, Tensor, Tensor], validating: bool) -> Tensor:
        """The loss of a batch, and a step of both tables."""
        items, users = cast(list[LightningOptimizer], self.optimizers())
        cast(LazyAdam, users.optimizer).settle(batch[0])
        loss = self.loss(*batch, crossed=validating)
        self.manual_backward(loss)
        # Lightning counts each step that goes through it as a batch: one in training, none else.
        (items.optimizer if validating else items).step()
        users.optimizer.step()
        items.zero_grad()
        users.zero_grad()
        return loss.detach()

    def configure_optimizers(self) -> tuple[torch.optim.Adam, LazyAdam]:
        """Adam of both tables; that of the users makes up for batches without them later."""
        lr = self._config.learning_rate
        items = torch.optim.Adam(self.items.parameters(), lr=lr, fused=True)
        return items, LazyAdam(self.users.weight, lr)


def _pairs(data: Dataset, first: int, last: int) -> Pairs:
    chunks = [
        data.clicked_pairs(slice(start, min(start + READ_USERS, last)))
        for start in range(first, last, READ_USERS)
    ]
    users, items = zip(*chunks, strict=True)
    return np.concatenate(users), np.concatenate(items)


def factorise(
    data: Dataset, config: MFConfig, output: Path, state: Path, device: str, tracker: Tracker
) -> None:
    """Train the factorisation and save the item table with the lowest validation loss.

    Args:
        data: the logged dataset.
        config: options of the factorisation.
        output: .safetensors file to write, with its configuration beside it.
        state: folder of the training state, from which a killed job goes on.
        device: ``auto``, ``cpu`` or ``cuda``.
        tracker: where losses go.

    Raises:
        GemsError: the dataset has no click.
    """
    set_up_process()
    described = {
        "mf": config.model_dump(mode="json", exclude={"files"}),
        "items": data.meta["items"],
        "dataset": data.meta,
        "code": code_digest(__name__),
    }
    checkpoints = state / value_digest(described)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cast(int, config.seed))
        model = BPR(data, config)
    fit(
        model,
        stage=f"MF {output.stem}",
        monitor="val_loss",
        state=checkpoints,
        device=device,
        tracker=tracker,
        total_batches=None,
        callbacks=(
            EarlyStopping("val_loss", patience=config.patience, check_on_train_epoch_end=False),
        ),
        max_epochs=-1,
        reload_dataloaders_every_n_epochs=1,
        inference_mode=False,
    )
    weights, best = best_weights(checkpoints, "items.")
    save_weights(output, {"items": weights["weight"]}, described | best)
