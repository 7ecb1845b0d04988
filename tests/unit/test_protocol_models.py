"""What is logged, and how slate VAEs are trained on it (Sections 2 and 3)."""

import numpy as np
import pytest
import torch
from runtimes import runtime

from gems.config import build
from gems.data import dataset
from gems.data.logging_policy import log_users
from gems.envs.simulator import Simulator
from gems.pretraining import vae_training
from gems.pretraining.vae import GeMSRanker, Losses, SlateVAE
from gems.pretraining.vae_training import VAETraining, action_bounds, pretrain
from gems.runtime.weights import load_config, load_weights

USERS, TURNS, N_ITEMS = 40, 6, 60
CONFIG = build(
    {
        "simulator": {"turns": TURNS},
        "logging": {"users": USERS},
        "vae": {"batch_slates": 64, "validation_fraction": 0.1, "latent_dim": 4},
    }
)


class NotingSimulator(Simulator):
    """Notes what each turn was asked for, what the oracle would have shown, and what was seen."""

    def reset(self, n, rng):
        self.notes = []
        return super().reset(n, rng)

    def step(self, slates):
        oracle = self.oracle_slates()
        seen = super().step(slates)
        self.notes.append((slates, oracle, seen))
        return seen


@pytest.fixture(scope="module")
def simulator(small_items):
    return NotingSimulator(small_items, CONFIG.environment("focused_topdown"))


@pytest.fixture(scope="module")
def data(simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocol") / "dataset"
    log_users(simulator, CONFIG.logging, "focused_topdown", folder)
    return dataset.read(folder)


def tensors(read):
    return torch.from_numpy(read.items), torch.from_numpy(read.clicks)


def vae_of(**options):
    torch.manual_seed(0)
    return SlateVAE(N_ITEMS, 10, CONFIG.vae.model_copy(update=options))


# Logged data


def test_logged_slots_are_random_items_or_the_oracles_item_at_that_rank(data, simulator):
    assert len(simulator.notes) == TURNS
    read = data.read(slice(None))
    shape = USERS, TURNS, 10
    slates, clicks = read.items.reshape(shape), read.clicks.reshape(shape)
    for turn, (asked, oracle, seen) in enumerate(simulator.notes):
        np.testing.assert_array_equal(slates[:, turn], np.where(asked < 0, oracle, asked))
        np.testing.assert_array_equal(clicks[:, turn], seen.clicks)


def test_users_are_logged_with_the_epsilon_of_the_configuration(simulator, tmp_path):
    for epsilon in (0.0, 0.25, 1.0):
        config = CONFIG.logging.model_copy(update={"epsilon": epsilon})
        log_users(simulator, config, "focused_topdown", tmp_path)
        asked = np.stack([asked for asked, _, _ in simulator.notes]) >= 0
        error = (epsilon * (1 - epsilon) / asked.size) ** 0.5
        assert abs(asked.mean() - epsilon) <= 5 * error


def test_every_turn_draws_other_random_items(simulator, tmp_path):
    config = CONFIG.logging.model_copy(update={"epsilon": 1.0})
    log_users(simulator, config, "focused_topdown", tmp_path)
    asked = np.stack([asked for asked, _, _ in simulator.notes])
    assert (asked[1:] == asked[:-1]).mean() < 0.1


# The slate VAE


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 0.25])
def test_the_first_users_validate_and_all_others_train(data, fraction, shuffle):
    vae = vae_of(validation_fraction=fraction, shuffle=shuffle)
    training, split = VAETraining(vae, data, seed=7), round(fraction * USERS) * TURNS
    validated = torch.cat([slates for slates, _ in training.val_dataloader()])
    trained = torch.cat([slates for slates, _ in training.train_dataloader()])
    expected = torch.from_numpy(data.read(slice(None)).items)
    assert torch.equal(validated, expected[:split])
    if shuffle:
        assert not torch.equal(trained, expected[split:])
        trained, expected = (sorted(part.tolist()) for part in (trained, expected[split:]))
        assert trained == expected
    else:
        assert torch.equal(trained, expected[split:])


def test_every_parameter_learns_by_adam_from_batches_of_the_size_asked_for(data):
    training = VAETraining(vae_of(learning_rate=0.02, batch_slates=50), data, seed=7)
    optimiser = training.configure_optimizers()
    (group,) = optimiser.param_groups
    assert isinstance(optimiser, torch.optim.Adam)
    assert group["lr"] == 0.02
    assert {id(p) for p in group["params"]} == {id(p) for p in training.vae.parameters()}
    sizes = [len(slates) for slates, _ in training.train_dataloader()]
    assert sizes == [50] * (len(sizes) - 1) + [36 * TURNS % 50]
    assert len(sizes) == training.batches


LOSSES = Losses(*torch.zeros(4))


def test_every_pass_shuffles_anew_and_every_part_draws_other_noise(data, monkeypatch):
    training, orders, noises = VAETraining(vae_of(shuffle=True), data, seed=7), [], []
    batch = tensors(data.read(slice(0, 8)))
    monkeypatch.setattr(training.vae, "losses", lambda *batch: noises.append(batch[2]) or LOSSES)
    for epoch in range(2):
        monkeypatch.setattr(VAETraining, "current_epoch", epoch)
        orders.append(torch.cat([slates for slates, _ in training.train_dataloader()]))
        training.on_train_epoch_start()
        for _ in range(2):
            training.training_step(batch)
    assert not torch.equal(*orders)
    assert noises[0].shape == (8, 4)
    drawn = torch.cat(noises)
    assert len(drawn.unique()) == drawn.numel()


def test_validation_decodes_the_mean(data, monkeypatch):
    training, logged = VAETraining(vae_of(), data, seed=7), {}
    monkeypatch.setattr(training, "log", lambda name, value, **_: logged.update({name: value}))
    batch = tensors(data.read(slice(0, 8)))
    training.validation_step(batch)
    mean, _ = training.vae.encode(*batch)
    slots = training.vae.slots(training.vae.decoder(mean))
    logits = slots @ training.vae.items.weight.t()
    slate = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch[0])
    torch.testing.assert_close(logged["val_slate"], slate)
    torch.testing.assert_close(logged["val_total"], training.vae.losses(*batch, None).total)


def trained(data, folder, epochs, seed=7):
    config = CONFIG.vae.model_copy(update={"epochs": epochs})
    pretrain(data, config, seed, folder / "vae.safetensors", runtime(folder / "state"))
    return folder / "vae.safetensors"


def test_the_epoch_with_the_lowest_validation_loss_is_kept(data, tmp_path, monkeypatch):
    losses = 3.0, 1.0, 2.0

    def validated(self, batch):
        loss = torch.tensor(losses[self.current_epoch])
        self.log("val_total", loss, batch_size=len(batch[0]))

    monkeypatch.setattr(VAETraining, "validation_step", validated)
    three, two = trained(data, tmp_path / "3", 3), trained(data, tmp_path / "2", 2)
    assert load_config(three)["validation_loss"] == min(losses)
    kept, last_of_two = load_weights(three), load_weights(two)
    assert all(torch.equal(kept[name], last_of_two[name]) for name in kept)


def test_the_seed_draws_the_weights_of_a_vae(data, tmp_path, monkeypatch):
    class BegunError(Exception):
        pass

    def begun(training, **_):
        raise BegunError(training)

    monkeypatch.setattr(vae_training, "fit", begun)
    drawn = []
    for seed in (7, 7, 8):
        with pytest.raises(BegunError) as raised:
            trained(data, tmp_path, 1, seed)
        training = raised.value.args[0]
        assert training._seed == seed
        drawn.append(training.vae.state_dict())
    first, again, other = drawn
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("read_slates", [7, 25_600])
def test_action_bounds_are_those_of_the_first_users_alone(data, monkeypatch, read_slates):
    monkeypatch.setattr(vae_training, "READ_SLATES", read_slates)
    vae = vae_of(bounds_users=3)
    low, high = action_bounds(vae, data)
    with torch.no_grad():
        mean, log_var = vae.encode(*tensors(data.read(slice(0, 3 * TURNS))))
    sigma = (log_var / 2).exp()
    torch.testing.assert_close(low, (mean - sigma).min(0).values)
    torch.testing.assert_close(high, (mean + sigma).max(0).values)


def test_a_slate_is_the_most_likely_item_of_every_slot():
    vae = vae_of()
    ranker = GeMSRanker(vae, torch.tensor([-1.0, -2, -3, 0]), torch.tensor([3.0, 2, 1, 8]))
    assert ranker.center.tolist() == [1, 0, -1, 4]
    assert ranker.scale.tolist() == [2, 2, 2, 4]
    actions = 3 * torch.randn(50, 4)
    with torch.no_grad():
        logits = vae.slots(vae.decoder(actions)) @ vae.items.weight.t()
    assert torch.equal(ranker.rank(actions), logits.argmax(-1))
    assert not any(parameter.requires_grad for parameter in ranker.parameters())
