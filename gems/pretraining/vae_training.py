"""Pretraining of the slate VAE with pytorch-lightning (Section 3 of the specification)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gems.data.dataset import Dataset, validation_users
from gems.pretraining import held_out
from gems.pretraining.lightning import best_weights, fit
from gems.pretraining.vae import SlateVAE
from gems.runtime.job import JobRuntime
from gems.runtime.process import set_up_process
from gems.runtime.randomness import stream, torch_stream
from gems.runtime.weights import save_weights
from gems.sections import VAEConfig

READ_SLATES = 25_600
# Batches between saved states, about a minute of work.
PART_BATCHES = 4_000


class SlateBatches(IterableDataset):
    """Batches of slates and clicks, both (m, slate size).

    They come from slates ``first`` to ``last`` - 1, in order or in the ``order`` of indices into
    this range.
    """

    def __init__(
        self, data: Dataset, first: int, last: int, batch: int, order: NDArray[np.int64] | None
    ) -> None:
        self._data, self._first, self._last = data, first, last
        self._batch, self._order = batch, order

    def __len__(self) -> int:
        return -(-(self._last - self._first) // self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(self._first, self._last, self._batch):
            stop = min(start + self._batch, self._last)
            where = (
                slice(start, stop)
                if self._order is None
                else self._first + self._order[start - self._first : stop - self._first]
            )
            slates, clicks = self._data.read(where)
            yield torch.from_numpy(slates), torch.from_numpy(clicks)


class VAETraining(pl.LightningModule):
    """Losses, batches and optimiser of the slate VAE.

    Lightning saves its state after an epoch. A pass over the training slates is split into several
    of Lightning's epochs, so that a killed job repeats little work.

    Attributes:
        split: number of slates of the held-out users, who come first.
        batches: batches of a pass.
        parts: Lightning's epochs of a pass.
    """

    def __init__(self, vae: SlateVAE, data: Dataset, seed: int) -> None:
        super().__init__()
        self.vae, self._data, self._seed = vae, data, seed
        users = validation_users(data.users, vae.config.validation_fraction)
        self.split, self._end = data.slates_of_first(users), data.slates
        self.batches = -(-(self._end - self.split) // vae.config.batch_slates)
        self.parts = -(-self.batches // PART_BATCHES)

    def _loader(self, first: int, last: int, order: NDArray[np.int64] | None) -> DataLoader:
        batches = SlateBatches(self._data, first, last, self.vae.config.batch_slates, order)
        return DataLoader(batches, batch_size=None)

    def train_dataloader(self) -> DataLoader:
        """Batches of the training slates in the present part of a pass."""
        epoch, part = divmod(self.current_epoch, self.parts)
        size = PART_BATCHES * self.vae.config.batch_slates
        first = self.split + part * size
        last = min(first + size, self._end)
        order = None
        if self.vae.config.shuffle:
            rng = stream(self._seed, "vae order", epoch)
            permutation = rng.permutation(self._end - self.split)
            order = permutation[first - self.split : last - self.split] - part * size
        return self._loader(first, last, order)

    def val_dataloader(self) -> DataLoader:
        return self._loader(0, self.split, None)

    def on_train_epoch_start(self) -> None:
        """Seed the noise for each part of a pass, so that a resumed job draws the same."""
        part = self.current_epoch
        self._generator = torch_stream(self._seed, "vae noise", part, device=self.device)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Losses of one batch, returned for the tracker, as Lightning's ``log`` is slow."""
        shape = len(batch[0]), self.vae.config.latent_dim
        noise = torch.randn(shape, generator=self._generator, device=self.device)
        losses = self.vae.losses(*batch, noise)
        return {"loss": losses.total, **{k: v.detach() for k, v in losses._asdict().items()}}

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        for name, value in self.vae.losses(*batch, None)._asdict().items():
            self.log(f"val_{name}", value, batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.vae.parameters(), lr=self.vae.config.learning_rate, fused=True)


def pretrain(
    data: Dataset, config: VAEConfig, seed: int, output: Path, runtime: JobRuntime
) -> None:
    """Train a slate VAE and save the weights of the epoch with the lowest validation loss.

    A report on held-out users (``held_out``) goes beside the weights, as ``STEM.held_out.csv``.

    Args:
        data: the logged dataset.
        config: options of the VAE.
        seed: seed of weights, noise and order of the slates.
        output: .safetensors file to write, with its configuration as JSON beside it.
        runtime: folder of the training state, device and tracker.
    """
    set_up_process()
    description = {
        "vae": config.model_dump(mode="json"),
        "items": data.meta["items"],
        "seed": seed,
        "dataset": data.meta,
    }
    checkpoints = runtime.state / runtime.fingerprint
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = SlateVAE(data.meta["items"], data.slate_size, config)
    training = VAETraining(vae, data, seed)
    fit(
        training,
        stage=f"VAE {output.stem}",
        monitor="val_total",
        state=checkpoints,
        device=runtime.device,
        tracker=runtime.tracker,
        total_batches=config.epochs * training.batches,
        max_epochs=config.epochs * training.parts,
        check_val_every_n_epoch=training.parts,
        reload_dataloaders_every_n_epochs=1,
    )
    weights, best = best_weights(checkpoints, "vae.")
    vae.load_state_dict(weights)
    low, high = action_bounds(vae.cpu().eval(), data)
    report = held_out.evaluate(vae, data, training.split)
    held_out.log(f"VAE {output.stem}", report)
    held_out.track(runtime.tracker, report, config.epochs * training.batches)
    held_out.write(output.with_suffix(".held_out.csv"), report)
    description |= best | report.described()
    save_weights(output, {**weights, "bounds.low": low, "bounds.high": high}, description)


@torch.no_grad()
def action_bounds(vae: SlateVAE, data: Dataset) -> tuple[Tensor, Tensor]:
    """Bounds of the actions, both (latent dim,), from the slates of the first logged users."""
    slates = data.slates_of_first(min(vae.config.bounds_users, data.users))
    lows, highs = [], []
    for start in range(0, slates, READ_SLATES):
        items, clicks = data.read(slice(start, min(start + READ_SLATES, slates)))
        mean, log_var = vae.encode(torch.from_numpy(items), torch.from_numpy(clicks))
        sigma = (0.5 * log_var).exp()
        lows.append((mean - sigma).min(0).values)
        highs.append((mean + sigma).max(0).values)
    return torch.stack(lows).min(0).values, torch.stack(highs).max(0).values
