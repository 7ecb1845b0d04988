"""Matrix factorisation by BPR on logged clicks, with pytorch-lightning (Section 4)."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from gems.config import MFConfig
from gems.data.dataset import Dataset
from gems.digest import code_digest, value_digest
from gems.errors import GemsError
from gems.lightning import best_weights, fit
from gems.randomness import stream
from gems.tracking import Tracker
from gems.weights import save_weights

VALIDATION_BATCH = 65_536
READ_USERS = 5_000


class Triples(IterableDataset):
    """Batches of (user, clicked item, random item), all int64 tensors, in a random order."""

    def __init__(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int16],
        n_items: int,
        batch: int,
        rng: np.random.Generator,
    ) -> None:
        """One negative is drawn for each positive pair."""
        self._users, self._items = users, items
        self._n_items, self._batch, self._rng = n_items, batch, rng

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._users) // self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:  # noqa: D105
        order = self._rng.permutation(len(self._users))
        for start in range(0, len(order), self._batch):
            where = order[start : start + self._batch]
            negatives = self._rng.integers(0, self._n_items, len(where))
            parts = self._users[where], self._items[where], negatives
            users, positives, others = (torch.from_numpy(p.astype(np.int64)) for p in parts)
            yield users, positives, others


class BPR(pl.LightningModule):
    """User and item tables, their pairwise loss, batches and optimiser."""

    def __init__(self, data: Dataset, config: MFConfig) -> None:
        """Xavier-uniform tables; the first users' clicks validate."""
        super().__init__()
        self._config, self._n_items = config, data.meta["items"]
        self.users = nn.Embedding(data.users, config.dim)
        self.items = nn.Embedding(self._n_items, config.dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)
        split = max(1, round(data.users * config.validation_fraction))
        self._validation = _pairs(data, 0, split)
        self._training = _pairs(data, split, data.users)
        for name, (users, _) in (("validate", self._validation), ("train", self._training)):
            if not len(users):
                raise GemsError(f"The dataset {data.folder} has no click to {name} with.")

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Mean of -log(sigmoid(s+ - s-) + 1e-7) over a batch."""
        gap = self.items(positives) - self.items(negatives)
        margin = (self.users(users) * gap).sum(-1)
        return -torch.log(torch.sigmoid(margin) + 1e-7).mean()

    def train_dataloader(self) -> DataLoader:
        """All training pairs in an order drawn for the epoch."""
        rng = stream(self._config.seed, "mf", self.current_epoch)
        batch = self._config.batch_pairs
        return DataLoader(Triples(*self._training, self._n_items, batch, rng), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """All validation pairs, with the same negatives every time."""
        rng = stream(self._config.seed, "mf validation")
        batches = Triples(*self._validation, self._n_items, VALIDATION_BATCH, rng)
        return DataLoader(cast(TorchDataset, list(batches)), batch_size=None)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Loss of one batch."""
        return self.loss(*batch)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Validation loss."""
        self.log("val_loss", self.loss(*batch), batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self._config.learning_rate, fused=True)


def _pairs(data: Dataset, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
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
        state: folder of the training state, from which a killed job goes on; removed at the end.
        device: ``auto``, ``cpu`` or ``cuda``.
        tracker: where losses go.

    Raises:
        GemsError: the dataset has no click.
    """
    torch.set_num_threads(1)
    described = {
        "mf": config.model_dump(mode="json"),
        "items": data.meta["items"],
        "dataset": data.meta,
        "code": code_digest(__name__),
    }
    checkpoints = state / value_digest(described)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = BPR(data, config)
    fit(
        model,
        stage=f"MF {output.stem}",
        monitor="val_loss",
        state=checkpoints,
        device=device,
        tracker=tracker,
        total_batches=None,
        callbacks=(EarlyStopping("val_loss", patience=config.patience),),
        max_epochs=-1,
        val_check_interval=config.validate_every,
        check_val_every_n_epoch=None,
        reload_dataloaders_every_n_epochs=1,
    )
    weights, validation = best_weights(checkpoints, "items.")
    described["validation_loss"] = validation
    save_weights(output, {"items": weights["weight"]}, described)
    shutil.rmtree(state)
