"""Matrix factorisation by BPR on logged clicks, with pytorch-lightning (Section 4).

Its report on held-out users is their validation loss: it has no embedding of a user without
training, and so no scores to compute a click AUC from.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from gems.data.dataset import Dataset, validation_users
from gems.errors import GemsError
from gems.pretraining.lightning import best_weights, fit
from gems.runtime.job import JobRuntime
from gems.runtime.process import set_up_process
from gems.runtime.randomness import stream
from gems.runtime.weights import save_weights
from gems.sections import MFConfig

VALIDATION_BATCH = 65_536
READ_USERS = 5_000

# Users (pairs,) and the items (pairs,) that they clicked.
Pairs = tuple[NDArray[np.int32], NDArray[np.signedinteger]]


class Triples(IterableDataset):
    """Batches of (user, clicked item, random item), all int64 tensors.

    Each pass over the pairs has its own random order, and batches are numbered across passes. Their
    contents depend only on their numbers and on ``first``, which seeds the negatives, so training
    can resume from any earlier ``first``.
    """

    def __init__(
        self, pairs: Pairs, n_items: int, size: int, seed: int, first: int, count: int
    ) -> None:
        """Batches ``first`` to ``first + count`` of ``size`` pairs, one negative per pair."""
        self._pairs, self._n_items, self._size = pairs, n_items, size
        self._seed, self._first, self._count = seed, first, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        users, items = self._pairs
        batches_per_pass = -(-len(users) // self._size)
        negatives = stream(self._seed, "mf negatives", self._first)
        order, ordered = np.empty(0, dtype=np.int64), -1
        for number in range(self._first, self._first + self._count):
            current, place = divmod(number, batches_per_pass)
            if current != ordered:
                order, ordered = stream(self._seed, "mf", current).permutation(len(users)), current
            chosen = order[place * self._size : (place + 1) * self._size]
            drawn = negatives.integers(0, self._n_items, len(chosen))
            parts = (p.astype(np.int64) for p in (users[chosen], items[chosen], drawn))
            user, positive, negative = map(torch.from_numpy, parts)
            yield user, positive, negative


class _Regenerated(IterableDataset):
    def __init__(self, make: Callable[[], Triples]) -> None:
        self._make = make

    def __len__(self) -> int:
        return len(self._make())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return iter(self._make())


class BPR(pl.LightningModule):
    """User and item tables, their pairwise loss, batches and optimiser.

    The first users are held out for validation. A Lightning epoch lasts from one validation to the
    next.
    """

    def __init__(self, data: Dataset, config: MFConfig) -> None:
        super().__init__()
        self._config, self._n_items = config, data.meta["items"]
        if config.discarded_draw:
            nn.Embedding(self._n_items, config.dim)
        self.users = nn.Embedding(data.users, config.dim)
        self.items = nn.Embedding(self._n_items, config.dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)
        split = validation_users(data.users, config.validation_fraction)
        self._learns = config.validation == "learns"
        self._validation = _pairs(data, 0, split)
        users, clicked = _pairs(data, split, data.users)
        # As in the released code, users are numbered from 0 in both parts.
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
        first = self._validated_at(self.current_epoch - 1) if self.current_epoch else 0
        count = self._validated_at(self.current_epoch) - first
        batches = self._batches(self._training, self._config.batch_pairs, first, count)
        return DataLoader(batches, batch_size=None)

    def _validated_at(self, epoch: int) -> int:
        """Number of training batches before the validation at the end of a Lightning epoch.

        As in the released code, each pass over the pairs counts its batches from 0: the remainder
        of a pass has no validation. A pass that is too short for any is validated at its end.
        """
        every = self._config.validate_every
        if not self._learns:
            return (epoch + 1) * every
        per_pass = -(-len(self._training[0]) // self._config.batch_pairs)
        passes, earlier = divmod(epoch, max(1, per_pass // every))
        return passes * per_pass + min((earlier + 1) * every, per_pass)

    def val_dataloader(self) -> DataLoader:
        """All validation pairs once; the negatives vary only if validation trains the tables."""
        return DataLoader(_Regenerated(self._validation_pass), batch_size=None)

    def _validation_pass(self) -> Triples:
        number = self.current_epoch + (self.global_step > 0) if self._learns else 0
        size = self._config.batch_pairs if self._learns else VALIDATION_BATCH
        count = -(-len(self._validation[0]) // size)
        return self._batches(self._validation, size, number * count, count)

    def on_train_start(self) -> None:
        """As in the released code, also validate before the first batch, if that trains."""
        if self._learns and self.global_step == 0:
            self.trainer.validating = True
            self.trainer.fit_loop.epoch_loop.val_loop.run()
            self.trainer.training = True

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return self.loss(*batch)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Compute the loss; as in the released code, also update both tables."""
        with torch.set_grad_enabled(self._learns):
            loss = self.loss(*batch, crossed=self._learns)
        if self._learns:
            # Lightning's optimiser would count these steps as training batches.
            optimiser = cast(torch.optim.Optimizer, self.optimizers(use_pl_optimizer=False))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.log("val_loss", loss.detach(), batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.parameters(), lr=self._config.learning_rate, fused=True)


def _pairs(data: Dataset, first: int, last: int) -> Pairs:
    chunks = [
        data.clicked_pairs(slice(start, min(start + READ_USERS, last)))
        for start in range(first, last, READ_USERS)
    ]
    users, items = zip(*chunks, strict=True)
    return np.concatenate(users), np.concatenate(items)


def factorise(
    data: Dataset, config: MFConfig, seed: int, output: Path, runtime: JobRuntime
) -> None:
    """Train the factorisation and save the item table with the lowest validation loss.

    ``output`` is the .safetensors file to write; its configuration goes beside it, as JSON.

    Raises:
        GemsError: the dataset has no click.
    """
    set_up_process()
    described = {
        "mf": config.model_dump(mode="json", exclude={"files"}),
        "items": data.meta["items"],
        "dataset": data.meta,
    }
    checkpoints = runtime.state / runtime.fingerprint
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BPR(data, config)
    fit(
        model,
        stage=f"MF {output.stem}",
        monitor="val_loss",
        state=checkpoints,
        device=runtime.device,
        tracker=runtime.tracker,
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
