"""The slate VAE: it learns, validates, keeps the best, and resumes."""

import copy

import numpy as np
import pytest
import torch
from numerics import assert_equal_up_to_rounding, differentiated
from runtimes import runtime
from torch.nn import functional

from gems.config import build
from gems.errors import GemsError
from gems.kernels.cross_entropy import item_cross_entropy
from gems.pretraining import vae_training
from gems.pretraining.lightning import best_weights
from gems.pretraining.vae import SlateVAE, load_ranker
from gems.pretraining.vae_training import SlateBatches, action_bounds, pretrain
from gems.runtime.weights import load_config, load_weights

CONFIG = build({"vae": {"epochs": 3, "batch_slates": 32}})


def train_vae(data, folder, config=CONFIG.vae):
    output = folder / "vae.safetensors"
    pretrain(data, config, 7, output, runtime(folder / "state"))
    return output


def test_the_vae_learns_and_keeps_the_epoch_of_the_lowest_validation_loss(data, tmp_path):
    one = train_vae(data, tmp_path / "one", CONFIG.vae.model_copy(update={"epochs": 1}))
    three = train_vae(data, tmp_path / "three")
    losses = [load_config(path)["validation_loss"] for path in (one, three)]
    assert losses[1] < losses[0]
    ranker = load_ranker(three, 40, 10, 32)
    with torch.no_grad():
        read = data.read(slice(0, 5 * 20))
        loss = ranker.vae.losses(torch.from_numpy(read.items), torch.from_numpy(read.clicks), None)
    assert float(loss.total) == pytest.approx(losses[1], rel=1e-4)


def test_the_same_seed_gives_the_same_vae(data, tmp_path):
    paths = [train_vae(data, tmp_path / name) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_killed_pretraining_resumes_bit_for_bit(data, tmp_path, monkeypatch, shuffle):
    config = CONFIG.vae.model_copy(update={"shuffle": shuffle})
    undisturbed = train_vae(data, tmp_path / "undisturbed", config)
    step = vae_training.VAETraining.training_step

    def killed(self, batch):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(vae_training.VAETraining, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train_vae(data, tmp_path / "killed", config)
    assert not (tmp_path / "killed" / "vae.safetensors").exists()
    epochs = []

    def counted(self, batch):
        epochs.append(self.current_epoch)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(vae_training.VAETraining, "training_step", counted)
        resumed = train_vae(data, tmp_path / "killed", config)
    assert min(epochs) == 1
    assert load_weights(resumed).keys() == load_weights(undisturbed).keys()
    assert resumed.read_bytes() == undisturbed.read_bytes()


def test_batches_come_in_order_or_by_a_permutation_of_the_training_slates(data):
    read = data.read(slice(10, 50)).items
    in_order = torch.cat([slates for slates, _ in SlateBatches(data, 10, 50, 16, None)])
    np.testing.assert_array_equal(in_order.numpy(), read)
    order = np.random.default_rng(0).permutation(40)
    shuffled = torch.cat([slates for slates, _ in SlateBatches(data, 10, 50, 16, order)])
    np.testing.assert_array_equal(shuffled.numpy(), read[order])


def test_the_item_table_gets_no_gradient_from_the_decoder():
    vae = SlateVAE(40, 10, CONFIG.vae)
    slates, clicks = torch.randint(40, (3, 10)), torch.ones(3, 10)
    vae.encoder.requires_grad_(False)
    for layer in vae.encoder:
        if isinstance(layer, torch.nn.Linear):
            layer.weight.zero_()
    vae.losses(slates, clicks, None).slate.backward()
    assert vae.items.weight.grad is None or not vae.items.weight.grad.any()
    assert vae.slate_head.weight.grad.any()


# Of 1,000 items, 150 slots make two blocks.
@pytest.mark.parametrize(
    ("items", "size", "rows"), [(7, 1, 30), (1000, 1, 150), (1000, 300, 150), (200_000, 1, 10)]
)
def test_the_fused_cross_entropy_equals_pytorchs(items, size, rows):
    slots, table = (size * torch.randn(rows, 5)).requires_grad_(), torch.randn(items, 5)
    targets, weights = torch.randint(items, (rows,)), [torch.tensor(3.0)]
    exact = slots.detach().double().requires_grad_(), table.double()
    assert_equal_up_to_rounding(
        differentiated(lambda: [item_cross_entropy(slots, table, targets)], [slots], weights),
        lambda: differentiated(
            lambda: [functional.cross_entropy(exact[0] @ exact[1].t(), targets)],
            [exact[0]],
            weights,
        ),
        exact,
        terms=items,
    )


@pytest.mark.parametrize("noise", ["variance", "std"])
def test_noise_is_scaled_as_asked(noise):
    vae = SlateVAE(40, 10, CONFIG.vae.model_copy(update={"noise": noise, "beta": 0.0}))
    slates, clicks = torch.randint(40, (4, 10)), torch.rand(4, 10).round()
    draws = torch.randn(4, 32)
    exact = copy.deepcopy(vae).double()

    def slate_loss():
        mean, log_var = exact.encode(slates, clicks.double())
        scale = log_var.exp() if noise == "variance" else (log_var / 2).exp()
        logits = exact.slots(exact.decoder(mean + scale * draws)) @ exact.items.weight.t()
        return [functional.cross_entropy(logits.transpose(1, 2), slates)]

    found = vae.losses(slates, clicks, draws).slate
    assert_equal_up_to_rounding([found], slate_loss, [*exact.parameters()], terms=512)


def test_action_bounds_enclose_the_posteriors_of_the_logged_slates(data):
    vae = SlateVAE(40, 10, CONFIG.vae)
    read = data.read(slice(0, 50 * 20))
    exact = copy.deepcopy(vae).double()

    @torch.no_grad()
    def bounds():
        clicks = torch.from_numpy(read.clicks).double()
        mean, log_var = exact.encode(torch.from_numpy(read.items), clicks)
        sigma = (log_var / 2).exp()
        return [(mean - sigma).min(0).values, (mean + sigma).max(0).values]

    found = action_bounds(vae, data)
    assert_equal_up_to_rounding(found, bounds, [*exact.parameters()], terms=512)


def test_a_vae_of_another_configuration_is_refused(data, tmp_path):
    path = train_vae(data, tmp_path)
    with pytest.raises(GemsError, match="41 and 32 are needed"):
        load_ranker(path, 41, 10, 32)
    with pytest.raises(GemsError, match="40 and 16 are needed"):
        load_ranker(path, 40, 10, 16)


def test_best_weights_are_cut_to_their_prefix(tmp_path):
    state = {"vae.x": torch.ones(1), "other": torch.zeros(1)}
    callbacks = {"ModelCheckpoint{}": {"best_model_score": torch.tensor(1.5)}}
    checkpoint = {"state_dict": state, "callbacks": callbacks, "global_step": 7}
    torch.save(checkpoint, tmp_path / "best.ckpt")
    weights, best = best_weights(tmp_path, "vae.")
    assert set(weights) == {"x"}
    assert best == {"best_batch": 7, "validation_loss": 1.5}
