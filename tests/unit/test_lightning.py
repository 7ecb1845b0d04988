"""Pretraining with pytorch-lightning, whatever a scheduler says of tasks."""

import pytorch_lightning as pl
import torch
from runtimes import UNTRACKED
from torch.utils.data import DataLoader

from gems.pretraining.lightning import best_weights, fit


class Model(pl.LightningModule):
    """One weight, which falls."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, index):
        return {"loss": self.weight.sum()}

    def validation_step(self, batch, index):
        self.log("val_loss", self.weight.sum())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

    def train_dataloader(self):
        return DataLoader([torch.ones(1)] * 2)

    val_dataloader = train_dataloader


def test_a_model_is_trained_by_one_process_also_in_a_slurm_job_of_four_tasks(tmp_path, monkeypatch):
    job = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    fit(
        Model(),
        stage="model",
        monitor="val_loss",
        state=tmp_path,
        device="cpu",
        tracker=UNTRACKED,
        total_batches=2,
        max_epochs=1,
    )
    _, figures = best_weights(tmp_path, "")
    assert figures["best_batch"] == 2
