"""Training of pretrained models with pytorch-lightning: fit, resume, keep the best weights."""

import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from gems.errors import GemsError
from gems.runtime.device import pick_device
from gems.runtime.progress import Progress
from gems.runtime.tracking import Tracker
from gems.runtime.weights import load_state, save_state

LOG_EVERY_BATCHES = 50


class _Report(Callback):
    """Shows progress, tracks losses, and raises an error if a loss is not finite.

    Its state is all that it has tracked, so that a resumed training tracks it again.
    """

    def __init__(self, progress: Progress, tracker: Tracker, monitor: str) -> None:
        self._progress, self._tracker, self._monitor = progress, tracker, monitor
        self._figures: dict[str, float] = {}
        self._rows: list[tuple[int, dict[str, float]]] = []
        self._tracked = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for step, values in state_dict["rows"]:
            self._track(values, step)

    def _track(self, values: dict[str, float], step: int) -> None:
        self._rows.append((step, values))
        self._tracker.log(values, step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if trainer.global_step % LOG_EVERY_BATCHES == 0:
            loss = float(outputs["loss"])
            if not math.isfinite(loss):
                raise GemsError(f"The loss is not a number at batch {trainer.global_step}.")
            self._figures["loss"] = loss
            now = time.monotonic()
            speed, self._tracked = LOG_EVERY_BATCHES / (now - self._tracked), now
            values = {f"train_{name}": float(value) for name, value in outputs.items()}
            epoch = trainer.current_epoch // (trainer.check_val_every_n_epoch or 1)
            values |= {"epoch": epoch, "batches_per_second": speed}
            self._track(values, trainer.global_step)
        self._progress.advance(1, **self._figures)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if "val_" in k}
        if not math.isfinite(values[self._monitor]):
            raise GemsError(f"The validation loss is not a number at batch {trainer.global_step}.")
        self._figures["validation loss"] = values[self._monitor]
        self._track(values, trainer.global_step)


class _AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically.

    Lightning writes them to the folder for temporary files and moves them, which is a copy if that
    folder is on another file system.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        save_state(Path(path), checkpoint)


class _Checkpoints(ModelCheckpoint):
    """Also saves at a validation before the first batch, which Lightning counts as saved."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._last_global_step_saved = -1


def fit(
    module: pl.LightningModule,
    *,
    stage: str,
    monitor: str,
    state: Path,
    device: str,
    tracker: Tracker,
    total_batches: int | None,
    callbacks: tuple[Callback, ...] = (),
    **options: Any,
) -> None:
    """Train ``module``, resuming from the last checkpoint in ``state`` if there is one.

    Args:
        module: the module to train.
        stage: name of the task in the progress bar.
        monitor: validation metric whose lowest value marks the best checkpoint.
        state: folder of checkpoints: ``last.ckpt``, from the end of the last Lightning epoch, and
            ``best.ckpt``, for ``best_weights``.
        device: ``auto``, ``cpu`` or ``cuda``.
        tracker: receives metrics.
        total_batches: expected number of batches, None if unknown.
        callbacks: further callbacks.
        options: passed to ``pytorch_lightning.Trainer``.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    # Advice that does not apply: loaders have no workers, because batches are made on the fly.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    last = state / "last.ckpt"
    earlier = load_state(last, state) if last.is_file() else None
    done = earlier["global_step"] if earlier else 0
    with Progress(stage, total_batches, "batches", done) as progress:
        report = _Report(progress, tracker, monitor)
        trainer = pl.Trainer(
            accelerator="gpu" if pick_device(device).type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[report, *callbacks, *_checkpoints(state, monitor)],
            # One process, even if the environment variables of a SLURM job suggest several.
            plugins=[LightningEnvironment(), _AtomicCheckpoints()],
            **options,
        )
        if earlier is None:
            trainer.fit(module)
        elif _stopped(earlier):
            report.load_state_dict(earlier["callbacks"][report.state_key])
        else:
            trainer.fit(module, ckpt_path=str(last), weights_only=True)


def _checkpoints(state: Path, monitor: str) -> list[ModelCheckpoint]:
    """Callbacks for best and last; `save_last` would save only when the best improves."""
    return [
        _Checkpoints(
            state,
            filename=name,
            monitor=figure,
            enable_version_counter=False,
            save_on_train_epoch_end=figure is None,
        )
        for name, figure in (("best", monitor), ("last", None))
    ]


def _stopped(checkpoint: dict[str, Any]) -> bool:
    """Whether a training had already stopped early when it was killed."""
    callbacks = checkpoint["callbacks"].items()
    early = [state for name, state in callbacks if name.startswith("EarlyStopping")]
    return any(state["wait_count"] >= state["patience"] for state in early)


def best_weights(state: Path, prefix: str) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights of the best checkpoint below ``prefix``, which is removed, and its metrics."""
    checkpoint = load_state(state / "best.ckpt", state)
    weights = {
        name.removeprefix(prefix): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }
    scores = [kept.get("best_model_score") for kept in checkpoint["callbacks"].values()]
    (best,) = (float(score) for score in scores if score is not None)
    return weights, {"best_batch": checkpoint["global_step"], "validation_loss": best}
