"""The report on held-out users that the pretraining of a slate VAE ends with."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runtimes import runtime
from scipy import stats

from gems.config import build
from gems.data.dataset import Slates
from gems.pretraining import held_out
from gems.pretraining.held_out import HeldOut, click_auc
from gems.pretraining.models import PRETRAINED
from gems.pretraining.vae import Latent, SlateVAE
from gems.pretraining.vae_training import pretrain
from gems.runtime.tracking import Tracker
from gems.runtime.weights import load_config

CONFIG = build({"vae": {"epochs": 1, "batch_slates": 32, "latent_dim": 3}}).vae


@pytest.mark.parametrize(
    ("clicked", "others", "expected"),
    [
        ([2.0], [1.0], 1.0),
        ([1.0], [2.0], 0.0),
        ([1.0], [1.0], 0.5),
        ([3.0, 1.0], [2.0, 0.0], 3 / 4),
        ([3.0, 1.0, 1.0], [1.0, 0.0], (2 + 2 * 1.5) / 6),
        ([], [1.0], None),
        ([1.0], [], None),
    ],
)
def test_click_auc_counts_the_pairs_in_the_right_order_and_half_of_ties(clicked, others, expected):
    assert click_auc(np.array(clicked), np.array(others)) == expected


def test_click_auc_is_the_rank_statistic():
    rng = np.random.default_rng(0)
    clicked, others = rng.integers(2, 12, 300) / 10, rng.integers(0, 10, 700) / 10
    statistic = stats.mannwhitneyu(clicked, others).statistic
    assert click_auc(clicked, others) == pytest.approx(statistic / (300 * 700), abs=1e-12)


class Known(torch.nn.Module):
    """Stands for a VAE: the posterior is known, and its mean decodes to the item of each slot."""

    def __init__(self, best, click_logits, latent):
        super().__init__()
        self.config = SimpleNamespace(latent_dim=latent.mean.shape[1])
        self.items = torch.nn.Embedding.from_pretrained(torch.eye(5))
        self.best, self.click_logits, self.latent = best, click_logits, latent
        self.seen = 0

    def encode(self, items, clicks):
        now = slice(self.seen, self.seen + len(items))
        self.seen += len(items)
        return Latent(*(part[now] for part in self.latent))

    def decoder(self, mean):
        return slice(self.seen - len(mean), self.seen)

    def slots(self, hidden):
        return torch.eye(5)[self.best[hidden]]

    def click_head(self, hidden):
        return self.click_logits[hidden]


@pytest.mark.parametrize("read", [2, 100])
def test_a_report_is_that_of_a_count_by_hand(monkeypatch, read):
    monkeypatch.setattr(held_out, "READ_SLATES", read)
    items = np.array([[0, 1], [2, 3], [4, 4]])
    clicks = np.array([[1, 0], [0, 0], [1, 0]], dtype=np.float32)
    data = SimpleNamespace(slate_size=2, read=lambda part: Slates(items[part], clicks[part]))
    mean = torch.tensor([[0.0, 0.1], [2.0, 0.1], [0.0, 0.1]])
    vae = Known(
        best=torch.tensor([[0, 1], [2, 0], [3, 1]]),
        click_logits=torch.tensor([[3.0, 1.0], [2.0, 0.0], [1.0, -1.0]]),
        latent=Latent(mean, torch.zeros_like(mean)),
    )
    report = held_out.evaluate(vae, data, 3)
    assert report.accuracy == pytest.approx([2 / 3, 1 / 3])
    # Clicked: 3 and 1; the others: 1, 2, 0 and -1.
    assert report.click_auc == pytest.approx((4 + 2.5) / 8)
    assert report.kl == pytest.approx([2 / 3, 0.005])
    assert report.summary == pytest.approx(
        {
            "slates": 3,
            "accuracy": 0.5,
            "click_auc": 6.5 / 8,
            "kl": 2 / 3 + 0.005,
            "effective_dimensions": 1,
        }
    )


def test_the_kl_is_that_of_the_loss(data):
    vae = SlateVAE(40, 10, CONFIG)
    report = held_out.evaluate(vae, data, 100)
    read = data.read(slice(0, 100))
    with torch.no_grad():
        losses = vae.losses(torch.from_numpy(read.items), torch.from_numpy(read.clicks), None)
    assert np.mean(report.kl) == pytest.approx(float(losses.kl), rel=1e-5)


def rows(path):
    with path.open(newline="") as file:
        return {(row["measure"], row["index"]): row["value"] for row in csv.DictReader(file)}


def test_a_pretraining_writes_tracks_and_logs_the_report(data, tmp_path, monkeypatch, caplog):
    tracked, tracker = [], Tracker({"mode": "disabled"}, "test", [], {})
    monkeypatch.setattr(tracker, "log", lambda values, step: tracked.append((step, values)))
    output = tmp_path / "beta1.0.safetensors"
    caplog.set_level("INFO", "gems")
    pretrain(data, CONFIG, 7, output, runtime(tmp_path / "state", tracker=tracker))
    written = load_config(output)["held_out"]
    assert written["slates"] == 5 * 20
    assert len(written["accuracy_by_slot"]) == 10
    assert written["kl"] == pytest.approx(sum(written["kl_by_dimension"]))
    (suffix,) = PRETRAINED["vae"].reports
    table = rows(output.with_suffix(suffix))
    assert len(table) == 5 + 10 + 3
    assert float(table["accuracy", ""]) == pytest.approx(written["accuracy"], rel=1e-5)
    assert float(table["accuracy", "10"]) == pytest.approx(written["accuracy_by_slot"][9], rel=1e-5)
    assert float(table["kl", "3"]) == pytest.approx(written["kl_by_dimension"][2], rel=1e-5)
    found = {name: value for _, values in tracked for name, value in values.items()}
    assert found["held_out_click_auc"] == written["click_auc"]
    curve = [
        (step, v["held_out_kl_by_dimension"])
        for step, v in tracked
        if len(v) == 1 and "held_out_kl_by_dimension" in v
    ]
    assert curve == list(enumerate(written["kl_by_dimension"], 1))
    assert "VAE beta1.0: held-out users: slates 100, accuracy" in caplog.text


def test_a_log_without_clicks_has_no_auc(tmp_path):
    report = HeldOut(1, [1.0], None, [0.5])
    held_out.write(tmp_path / "table.csv", report)
    assert rows(tmp_path / "table.csv")["click_auc", ""] == ""
    assert report.described()["held_out"]["click_auc"] is None
