"""GeMS, the slate VAE: its networks, its loss, and acting with it (Section 3)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from gems.compiled import LANES, affine, jit_fused, padded
from gems.errors import GemsError
from gems.rankers.cross_entropy import item_cross_entropy
from gems.sections import VAEConfig
from gems.selection import largest_of_rows
from gems.simulator.kernels import SLATE_SIZE
from gems.weights import load_config, load_weights

HIDDEN = (512, 256)
# Items that are compared with all slots of a slate before the next ones: their table stays in the
# cache.
BLOCK_ITEMS = 32 * LANES


def in_blocks(table: Tensor) -> NDArray[np.float32]:
    """A table (items, dim) as (blocks, dim, items of a block), zeros filling up the last block."""
    by_dim = padded(table.t(), rows=1, columns=BLOCK_ITEMS)
    return by_dim.unflatten(1, (-1, BLOCK_ITEMS)).transpose(0, 1).contiguous().numpy()


@jit_fused
def find_best(slots: Any, blocks: Any, n_items: Any, found: Any) -> None:
    """The item with the largest product with each of ``slots`` (m, dim), into ``found`` (m,).

    ``blocks`` are those of ``in_blocks``, of ``n_items`` items.
    """
    size = blocks.shape[2]
    logits, zero = np.empty((SLATE_SIZE, size), np.float32), np.zeros(size, np.float32)
    at = np.empty(SLATE_SIZE, dtype=np.int64)
    best = np.full(slots.shape[0], -np.inf, dtype=np.float32)
    found[:] = 0
    for number in range(blocks.shape[0]):
        start = number * size
        held = min(size, n_items - start)
        for first in range(0, slots.shape[0], SLATE_SIZE):
            slate = slots[first : first + SLATE_SIZE]
            affine(logits[: slate.shape[0]], zero, slate, blocks[number])
            largest_of_rows(logits[: slate.shape[0]], held, at)
            for slot in range(slate.shape[0]):
                if logits[slot, at[slot]] > best[first + slot]:
                    best[first + slot] = logits[slot, at[slot]]
                    found[first + slot] = start + at[slot]


def best_items(slots: Tensor, table: Tensor) -> Tensor:
    """Item (m,) of ``table`` (items, dim) with the largest product with each of ``slots``.

    Both lie on the CPU, where all acting is done.
    """
    found = torch.empty(len(slots), dtype=torch.int64)
    find_best(slots.contiguous().numpy(), in_blocks(table), len(table), found.numpy())
    return found


class Latent(NamedTuple):
    """Mean and log-variance of q(z | slate, clicks), both (m, latent dim)."""

    mean: Tensor
    log_var: Tensor


class Losses(NamedTuple):
    """The loss of a batch and its three terms before they are weighted."""

    total: Tensor
    slate: Tensor
    click: Tensor
    kl: Tensor


class SlateVAE(nn.Module):
    """Encoder and decoder of slates with their clicks."""

    def __init__(self, n_items: int, config: VAEConfig) -> None:
        """Standard normal item table; PyTorch's initialisation elsewhere."""
        super().__init__()
        wide, narrow = HIDDEN
        dim, latent = config.embedding_dim, config.latent_dim
        self.config = config
        self.items = nn.Embedding(n_items, dim)
        self.encoder = nn.Sequential(
            nn.Linear(SLATE_SIZE * (dim + 1), wide),
            nn.ReLU(),
            nn.Linear(wide, narrow),
            nn.ReLU(),
            nn.Linear(narrow, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, narrow), nn.ReLU(), nn.Linear(narrow, wide), nn.ReLU()
        )
        self.slate_head = nn.Linear(wide, SLATE_SIZE * dim)
        self.click_head = nn.Linear(wide, SLATE_SIZE)

    def encode(self, slates: Tensor, clicks: Tensor) -> Latent:
        """Posterior of slates (m, slate size) with clicks (m, slate size)."""
        inputs = torch.cat([self.items(slates).flatten(1), clicks], dim=1)
        return Latent(*self.encoder(inputs).chunk(2, dim=1))

    def slots(self, hidden: Tensor) -> Tensor:
        """Vectors (m, slate size, dim) to be compared with items, from hidden units (m, 512)."""
        return self.slate_head(hidden).unflatten(1, (SLATE_SIZE, -1))

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Most likely slates (m, slate size); an item may appear twice."""
        slots = self.slots(self.decoder(latent))
        return best_items(slots.flatten(0, 1), self.items.weight).view(slots.shape[:2])

    def losses(self, slates: Tensor, clicks: Tensor, noise: Tensor | None) -> Losses:
        """Loss of a batch; ``noise`` (m, latent dim) is standard normal, None decodes the mean."""
        config = self.config
        mean, log_var = self.encode(slates, clicks)
        latent = mean
        if noise is not None:
            spread = log_var.exp() if config.noise == "variance" else (0.5 * log_var).exp()
            latent = mean + spread * noise
        hidden = self.decoder(latent)
        # The item table learns from the encoder only.
        slots = self.slots(hidden).flatten(0, 1)
        slate = item_cross_entropy(slots, self.items.weight, slates.flatten())
        click = functional.binary_cross_entropy_with_logits(self.click_head(hidden), clicks)
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).mean()
        total = slate + config.lambda_click * click + config.beta * kl
        return Losses(total, slate, click, kl)


class GeMSRanker(nn.Module):
    """A frozen slate VAE and the bounds of the actions it was trained to decode."""

    center: Tensor
    scale: Tensor

    def __init__(self, vae: SlateVAE, low: Tensor, high: Tensor) -> None:
        """Bounds of each latent dimension, (latent dim,)."""
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.register_buffer("center", (high + low) / 2)
        self.register_buffer("scale", (high - low) / 2)

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) decoded from actions (n, latent dim)."""
        return self.vae.decode(actions)


def load_ranker(path: Path, n_items: int, latent_dim: int) -> GeMSRanker:
    """Load what ``vae_training.pretrain`` saved.

    Raises:
        GemsError: the file is missing, damaged, or of another number of items or dimensions.
    """
    weights, saved = load_weights(path), load_config(path)
    try:
        config = VAEConfig.model_validate(saved.get("vae"))
    except ValidationError as error:
        raise GemsError(f"The VAE {path} was trained by another version of this code.") from error
    if (saved.get("items"), config.latent_dim) != (n_items, latent_dim):
        raise GemsError(
            f"The VAE {path} was trained with {saved.get('items')} items and latent_dim "
            f"{config.latent_dim}; {n_items} and {latent_dim} are needed."
        )
    vae = SlateVAE(n_items, config)
    low, high = weights.pop("bounds.low", None), weights.pop("bounds.high", None)
    try:
        vae.load_state_dict(weights)
    except RuntimeError as error:
        raise GemsError(f"The weights {path} are not those of a slate VAE.") from error
    if low is None or high is None:
        raise GemsError(f"The VAE {path} lacks the bounds of its actions.")
    return GeMSRanker(vae, low, high)
