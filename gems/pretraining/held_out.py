"""What a slate VAE does with the slates of held-out users, without a simulator.

The decoder gets the mean of the approximate posterior:

- accuracy: share of slots whose most likely item is the logged one, over all slots and per slot;
- click AUC: probability that a clicked slot has a larger click logit than another one, over all
  slots; ties count one half. Unknown without clicks, or if every slot is clicked;
- KL: mean divergence of the posterior from the prior, in nats, per dimension and summed;
- effective dimensions: the number of latent dimensions whose mean KL exceeds 0.01 nats.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gems.data.dataset import Dataset
from gems.pretraining.vae import SlateVAE, best_items
from gems.runtime.files import written_whole
from gems.runtime.tracking import Tracker

READ_SLATES = 5_120
ACTIVE_NATS = 0.01

logger = logging.getLogger("gems")


class HeldOut(NamedTuple):
    """The report; see the module.

    Attributes:
        slates: number of held-out slates.
        accuracy: per slot.
        click_auc: None if it is unknown.
        kl: per latent dimension.
    """

    slates: int
    accuracy: list[float]
    click_auc: float | None
    kl: list[float]

    @property
    def summary(self) -> dict[str, float | None]:
        return {
            "slates": self.slates,
            "accuracy": float(np.mean(self.accuracy)),
            "click_auc": self.click_auc,
            "kl": sum(self.kl),
            "effective_dimensions": sum(nats > ACTIVE_NATS for nats in self.kl),
        }

    def described(self) -> dict[str, Any]:
        """The report for the JSON file of the weights."""
        detailed = {"accuracy_by_slot": self.accuracy, "kl_by_dimension": self.kl}
        return {"held_out": self.summary | detailed}

    def rows(self) -> Iterator[tuple[str, str, float | None]]:
        """Rows of the table: measure, slot or dimension from 1 ("" for all), value."""
        for name, value in self.summary.items():
            yield name, "", value
        for name, values in (("accuracy", self.accuracy), ("kl", self.kl)):
            yield from ((name, str(i), value) for i, value in enumerate(values, 1))


@torch.no_grad()
def evaluate(vae: SlateVAE, data: Dataset, slates: int) -> HeldOut:
    """Evaluate a VAE on the CPU on the first ``slates`` of a dataset, those of held-out users.

    Memory grows by about 20 bytes a slot, for the AUC.
    """
    right = np.zeros(data.slate_size, dtype=np.int64)
    kl = np.zeros(vae.config.latent_dim)
    logits = np.empty((slates, data.slate_size), dtype=np.float32)
    clicked = np.empty(logits.shape, dtype=np.bool_)
    for start in range(0, slates, READ_SLATES):
        part = slice(start, min(start + READ_SLATES, slates))
        items, clicks = (torch.from_numpy(values) for values in data.read(part))
        mean, log_var = vae.encode(items, clicks)
        divergence = 0.5 * (mean.square() + log_var.exp() - log_var - 1)
        kl += divergence.sum(0, dtype=torch.float64).numpy()
        hidden = vae.decoder(mean)
        best = best_items(vae.slots(hidden), vae.items.weight)
        right += (best == items).sum(0).numpy()
        logits[part] = vae.click_head(hidden).numpy()
        clicked[part] = clicks.numpy()
    auc = click_auc(logits[clicked], logits[~clicked])
    return HeldOut(slates, (right / slates).tolist(), auc, (kl / slates).tolist())


def click_auc(clicked: NDArray[np.float32], others: NDArray[np.float32]) -> float | None:
    """Area under the ROC curve of scores; None if either is empty."""
    if not len(clicked) or not len(others):
        return None
    clicked, others = np.sort(clicked), np.sort(others)
    below = (np.searchsorted(others, clicked, side).sum() for side in ("left", "right"))
    return float(sum(map(int, below)) / (2 * len(clicked) * len(others)))


def write(path: Path, report: HeldOut) -> None:
    """Write the table, with the columns ``measure``, ``index`` and ``value``.

    Raises:
        GemsError: the file cannot be written.
    """
    lines = ["measure,index,value"]
    for measure, index, value in report.rows():
        lines.append(f"{measure},{index},{'' if value is None else f'{value:.6g}'}")
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def track(tracker: Tracker, report: HeldOut, step: int) -> None:
    """Track the summary at ``step``, and values by slot and by dimension as curves over these."""
    known = {f"held_out_{k}": float(v) for k, v in report.summary.items() if v is not None}
    tracker.log(known, step)
    curves = {"accuracy_by_slot": report.accuracy, "kl_by_dimension": report.kl}
    for name, values in curves.items():
        for place, value in enumerate(values, 1):
            tracker.log({f"held_out_{name}": value}, place)


def log(name: str, report: HeldOut) -> None:
    found = ", ".join(
        f"{key.replace('_', ' ')} {'unknown' if value is None else f'{value:.4g}'}"
        for key, value in report.summary.items()
    )
    logger.info("%s: held-out users: %s", name, found)
