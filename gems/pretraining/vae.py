"""GeMS, the slate VAE: its networks, its loss, and its use as a ranker (Section 3)."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from gems import kernels
from gems.errors import GemsError
from gems.runtime.weights import load_config, load_weights
from gems.sections import VAEConfig

HIDDEN = (512, 256)


def item_cross_entropy(slots: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of items under the logits ``slots`` times ``table``.

    Args:
        slots: (m, dim).
        table: (items, dim); it gets no gradient.
        targets: (m,) int64, the items.
    """
    if kernels.use(slots):
        from gems.kernels.cross_entropy import item_cross_entropy as compiled

        return compiled(slots, table, targets)
    return functional.cross_entropy(slots @ table.detach().t(), targets)


def best_items(slots: Tensor, table: Tensor) -> Tensor:
    """Items (m, slots) with the largest logits, of ``slots`` (m, slots, dim) and ``table``."""
    if kernels.use(slots):
        from gems.kernels.vae import best_items as compiled

        return compiled(slots, table)
    return (slots @ table.t()).argmax(-1)


class Latent(NamedTuple):
    """Mean and log-variance of q(z | slate, clicks), both (m, latent dim)."""

    mean: Tensor
    log_var: Tensor


class Losses(NamedTuple):
    """The loss of a batch and its three unweighted terms."""

    total: Tensor
    slate: Tensor
    click: Tensor
    kl: Tensor


class SlateVAE(nn.Module):
    """Variational autoencoder of slates and their clicks; the item table starts standard normal."""

    def __init__(self, n_items: int, slate_size: int, config: VAEConfig) -> None:
        super().__init__()
        wide, narrow = HIDDEN
        dim, latent = config.embedding_dim, config.latent_dim
        self.config, self.slate_size = config, slate_size
        self.items = nn.Embedding(n_items, dim)
        self.encoder = nn.Sequential(
            nn.Linear(slate_size * (dim + 1), wide),
            nn.ReLU(),
            nn.Linear(wide, narrow),
            nn.ReLU(),
            nn.Linear(narrow, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, narrow), nn.ReLU(), nn.Linear(narrow, wide), nn.ReLU()
        )
        self.slate_head = nn.Linear(wide, slate_size * dim)
        self.click_head = nn.Linear(wide, slate_size)

    def encode(self, slates: Tensor, clicks: Tensor) -> Latent:
        """Approximate posterior of slates and clicks, both (m, slate size)."""
        inputs = torch.cat([self.items(slates).flatten(1), clicks], dim=1)
        return Latent(*self.encoder(inputs).chunk(2, dim=1))

    def slots(self, hidden: Tensor) -> Tensor:
        """Slot vectors (m, slate size, dim) of the decoder's hidden units (m, 512)."""
        return self.slate_head(hidden).unflatten(1, (self.slate_size, -1))

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Most likely slates (m, slate size); an item may appear twice."""
        return best_items(self.slots(self.decoder(latent)), self.items.weight)

    def losses(self, slates: Tensor, clicks: Tensor, noise: Tensor | None) -> Losses:
        """Losses of a batch; ``noise`` is standard normal (m, latent dim), or None for z = mean."""
        config = self.config
        mean, log_var = self.encode(slates, clicks)
        latent = mean
        if noise is not None:
            factor = log_var.exp() if config.noise == "variance" else (0.5 * log_var).exp()
            latent = mean + factor * noise
        hidden = self.decoder(latent)
        slots = self.slots(hidden).flatten(0, 1)
        slate = item_cross_entropy(slots, self.items.weight, slates.flatten())
        click = functional.binary_cross_entropy_with_logits(self.click_head(hidden), clicks)
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).mean()
        total = slate + config.lambda_click * click + config.beta * kl
        return Losses(total, slate, click, kl)


class GeMSRanker(nn.Module):
    """A frozen slate VAE whose latent vectors are the actions, with bounds (latent dim,)."""

    center: Tensor
    scale: Tensor

    def __init__(self, vae: SlateVAE, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.register_buffer("center", (high + low) / 2)
        self.register_buffer("scale", (high - low) / 2)

    def rank(self, actions: Tensor) -> Tensor:
        """Slates (n, slate size) decoded from actions (n, latent dim)."""
        return self.vae.decode(actions)

    def compiled(self) -> Any:
        """Arrays for compiled episodes, which stay valid as the VAE is frozen."""
        return self._arrays

    @cached_property
    def _arrays(self) -> Any:
        from gems.kernels.vae import decoder_arrays

        return decoder_arrays(self.vae.decoder, self.vae.slate_head, self.vae.items.weight)


def load_ranker(path: Path, n_items: int, slate_size: int, latent_dim: int) -> GeMSRanker:
    """Load the slate VAE that ``vae_training.pretrain`` saved, to decode actions.

    Raises:
        GemsError: the file is missing or damaged, or the VAE has other sizes than those given.
    """
    weights, saved = load_weights(path), load_config(path)
    try:
        config = VAEConfig.model_validate(saved.get("vae"))
    except ValidationError as error:
        raise GemsError(
            f"The VAE {path} was trained by another version of this code; train it again."
        ) from error
    if (saved.get("items"), config.latent_dim) != (n_items, latent_dim):
        raise GemsError(
            f"The VAE {path} was trained with {saved.get('items')} items and latent_dim "
            f"{config.latent_dim}; {n_items} and {latent_dim} are needed."
        )
    slots = len(weights.get("click_head.bias", ()))
    if slots not in (0, slate_size):
        raise GemsError(
            f"The VAE {path} was trained with slates of {slots} items; {slate_size} are needed."
        )
    vae = SlateVAE(n_items, slate_size, config)
    low, high = weights.pop("bounds.low", None), weights.pop("bounds.high", None)
    try:
        vae.load_state_dict(weights)
    except RuntimeError as error:
        raise GemsError(
            f"The weights {path} are not those of a slate VAE; train it again."
        ) from error
    if low is None or high is None:
        raise GemsError(f"The VAE {path} lacks the bounds of its actions; train it again.")
    return GeMSRanker(vae, low, high)
