"""A run that a scheduler ends saves its state first, and loses no episode."""

import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from test_training import TRAINED, execute_in, inputs, run_of  # noqa: F401
from torch.utils.data import DataLoader

from gems.lightning import best_weights, fit
from gems.tracking import Tracker
from gems.training import loop
from gems.training.state import Terminated


@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("when", [2, 6, 9], ids=["random phase", "training", "last interval"])
def test_a_run_that_is_told_to_end_loses_no_episode(
    method,
    when,
    inputs,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    undisturbed = execute_in(run_of(method, inputs), tmp_path / "undisturbed")
    learn, learnt = loop.Trainer._learn, []

    def told(self, episode):
        if self._episode == when and when not in learnt:
            os.kill(os.getpid(), signal.SIGTERM)
        learnt.append(self._episode)
        return learn(self, episode)

    monkeypatch.setattr(loop.Trainer, "_learn", told)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as end:
        execute_in(run_of(method, inputs), tmp_path / "told")
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = execute_in(run_of(method, inputs), tmp_path / "told")
    assert learnt == list(range(12))
    for name in ("result.json", "curve.csv", "policy.safetensors"):
        assert (resumed / name).read_bytes() == (undisturbed / name).read_bytes()


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


def test_a_model_is_trained_by_one_process_also_in_a_slurm_job_of_four_tasks(
    tmp_path, monkeypatch, config
):
    job = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    tracker = Tracker(config().tracking, "model", [], {})
    fit(
        Model(),
        stage="model",
        monitor="val_loss",
        state=tmp_path,
        device="cpu",
        tracker=tracker,
        total_batches=2,
        max_epochs=1,
    )
    _, figures = best_weights(tmp_path, "")
    assert figures["best_batch"] == 2
