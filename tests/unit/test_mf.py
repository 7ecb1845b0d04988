"""Matrix factorisation: it learns, validates as asked, keeps the best table, and resumes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runtimes import runtime
from torch import nn

from gems.config import build
from gems.config.paper import ENVIRONMENTS
from gems.data import dataset
from gems.errors import GemsError
from gems.pretraining.item_table import load_items
from gems.pretraining.mf import BPR, Triples, factorise
from gems.runtime.tracking import Tracker
from gems.runtime.weights import load_config

CONFIG = build(
    {
        "mf": {"validate_every": 20, "patience": 1, "batch_pairs": 16, "learning_rate": 1e-2},
        "tracking": {"mode": "disabled"},
    }
)
TRACKER = Tracker({"mode": "disabled"}, "test", [], {})


HELD_OUT = CONFIG.mf.model_copy(update={"validation": "held_out"})
MF_CONFIGS = pytest.mark.parametrize(
    "config", [CONFIG.mf, HELD_OUT], ids=lambda config: config.validation
)


def train_mf(data, folder, config=CONFIG.mf):
    job = runtime(folder / "state", tracker=TRACKER)
    factorise(data, config, config.seed, folder / "mf.safetensors", job)
    return folder / "mf.safetensors"


def between_validations(config, a_pass):
    """Numbers of training batches, one after the other; as released they restart in each pass."""
    waiting = 0
    while True:
        for number in range(1, a_pass + 1):
            waiting += 1
            if config.validation == "held_out":
                validates = waiting == config.validate_every
            elif a_pass < config.validate_every:
                validates = number == a_pass
            else:
                validates = number % config.validate_every == 0
            if validates:
                yield waiting
                waiting = 0


def plain_loops(data, config):
    """The best item table, and of each validation its loss and the training batches before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = BPR(data, config)
    users, items = (table.weight.detach().clone() for table in (model.users, model.items))
    adam = torch.optim.Adam([users.requires_grad_(), items.requires_grad_()], config.learning_rate)

    def loss_of(user, positive, negative, crossed, learns):
        score = (
            (lambda i: users[user] @ items[i].t())
            if crossed
            else (lambda i: (users[user] * items[i]).sum(1))
        )
        loss = -torch.log(torch.sigmoid(score(positive) - score(negative)) + 1e-7).mean()
        if learns:
            adam.zero_grad()
            loss.backward()
            adam.step()
        return loss.item()

    learns = config.validation == "learns"
    size = 16 if learns else 65_536
    a_pass, checks = (
        -(-len(pairs[0]) // n) for pairs, n in ((model._training, 16), (model._validation, size))
    )
    counts = between_validations(config, a_pass)
    losses, batches = [], [0]
    while len(losses) < 2 or losses[-1] == min(losses):
        if losses or not learns:
            count = next(counts)
            for batch in Triples(model._training, 40, 16, config.seed, batches[-1], count):
                loss_of(*batch, crossed=False, learns=True)
            batches.append(batches[-1] + count)
        first = checks * len(losses) if learns else 0
        checked = Triples(model._validation, 40, size, config.seed, first, checks)
        found = [
            (loss_of(*batch, crossed=learns, learns=learns), len(batch[0])) for batch in checked
        ]
        losses.append(sum(loss * n for loss, n in found) / sum(n for _, n in found))
        if losses[-1] == min(losses):
            best = items.detach().clone()
    return best, losses, batches if learns else batches[1:]


# A pass over the training pairs has 61 batches.
@pytest.mark.parametrize(
    ("config", "every"), [(CONFIG.mf, 20), (CONFIG.mf, 31), (CONFIG.mf, 10_000), (HELD_OUT, 45)]
)
def test_a_factorisation_is_that_of_plain_loops(data, tmp_path, monkeypatch, config, every):
    """The item table with the lowest validation loss; the batches alone are the same objects."""
    config = config.model_copy(update={"learning_rate": 2e-3, "validate_every": every})
    tracked = []
    monkeypatch.setattr(TRACKER, "log", lambda values, step: tracked.append((step, values)))
    path = train_mf(data, tmp_path, config)
    best, losses, batches = plain_loops(data, config)
    validated = [(step, values["val_loss"]) for step, values in tracked if "val_loss" in values]
    assert [step for step, _ in validated] == batches
    assert [loss for _, loss in validated] == pytest.approx(losses, abs=1e-6)
    assert load_config(path)["best_batch"] == batches[losses.index(min(losses))]
    torch.testing.assert_close(load_items(path, 40, config), best, rtol=0, atol=1e-6)


def test_the_validation_before_training_counts_for_patience_and_for_the_best_table(
    data, tmp_path, monkeypatch
):
    """Where training only makes the loss worse, as steps of that size do."""
    config = CONFIG.mf.model_copy(update={"learning_rate": 3.0, "patience": 2})
    tracked = []
    monkeypatch.setattr(TRACKER, "log", lambda values, step: tracked.append((step, values)))
    path = train_mf(data, tmp_path, config)
    validated = {step: values["val_loss"] for step, values in tracked if "val_loss" in values}
    assert list(validated) == [0, 20, 40]
    assert min(validated, key=validated.get) == load_config(path)["best_batch"] == 0
    assert load_config(path)["validation_loss"] == pytest.approx(validated[0])


@pytest.mark.parametrize(("killed_at", "again_from"), [(5, 0), (25, 20), (33, 20)])
@MF_CONFIGS
def test_a_killed_factorisation_resumes_bit_for_bit(
    data, tmp_path, monkeypatch, config, killed_at, again_from
):
    undisturbed = train_mf(data, tmp_path / "undisturbed", config)
    step = BPR.training_step

    def killed(self, batch):
        if self.global_step == killed_at:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(BPR, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train_mf(data, tmp_path / "killed", config)
    steps = []

    def counted(self, batch):
        steps.append(self.global_step)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(BPR, "training_step", counted)
        resumed = train_mf(data, tmp_path / "killed", config)
    assert steps[0] == again_from
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert load_config(resumed) == load_config(undisturbed)


def test_a_factorisation_killed_after_it_stopped_early_is_not_trained_further(
    data, tmp_path, monkeypatch
):
    undisturbed = train_mf(data, tmp_path / "undisturbed")
    tracked, again = [], []

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TRACKER, "log", lambda *row: tracked.append(row))
        patch.setattr("gems.pretraining.mf.save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train_mf(data, tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(TRACKER, "log", lambda *row: again.append(row))
        patch.setattr(BPR, "training_step", killed)
        resumed = train_mf(data, tmp_path / "killed")
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert again == tracked != []


def test_a_pass_over_the_pairs_draws_each_once(data):
    model = BPR(data, CONFIG.mf)
    pairs = model._training
    a_pass = -(-len(pairs[0]) // 16)
    batches = list(Triples(pairs, 40, 16, 0, a_pass, a_pass))
    seen = sorted(
        (int(u), int(i)) for users, items, _ in batches for u, i in zip(users, items, strict=True)
    )
    assert seen == sorted(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True))


def test_bpr_prefers_clicked_items_and_is_deterministic(data, tmp_path):
    first, output = (train_mf(data, tmp_path / name) for name in ("a", "b"))
    table = load_items(output, 40, CONFIG.mf)
    assert table.shape == (40, 20)
    assert first.read_bytes() == output.read_bytes()
    described = load_config(output)
    assert described["items"] == 40
    assert described["validation_loss"] < 2
    with pytest.raises(GemsError, match="41 are needed"):
        load_items(output, 41, CONFIG.mf)
    with pytest.raises(GemsError, match=r"made with mf\.validation learns; held_out is needed"):
        load_items(output, 40, HELD_OUT)


def test_bpr_trains_on_all_users_but_the_first(data):
    model = BPR(data, HELD_OUT)
    trained, validated = set(model._training[0].tolist()), set(model._validation[0].tolist())
    assert max(validated) < 5 <= min(trained)
    drawn = {int(user) for users, _, _ in model.train_dataloader() for user in users}
    assert drawn <= trained
    checked = [int(user) for users, _, _ in model.val_dataloader() for user in users]
    assert sorted(checked) == sorted(model._validation[0].tolist())


def test_as_released_training_users_take_the_rows_of_those_who_validate(data):
    released, held_out = BPR(data, CONFIG.mf), BPR(data, HELD_OUT)
    assert released._validation[0].tolist() == held_out._validation[0].tolist()
    assert released._training[0].tolist() == (held_out._training[0] - 5).tolist()
    assert released._training[0].min() == 0


def test_a_dataset_without_clicks_is_one_sentence(data, tmp_path):
    slates = np.zeros((5, 4, 10), dtype=np.int16)
    silent = np.zeros((5, 4, 10), dtype=np.bool_)
    dataset.write(tmp_path / "silent", (5, 4, 10), [(slates, silent)], {"items": 40})
    with pytest.raises(GemsError, match="has no click"):
        BPR(dataset.read(tmp_path / "silent"), CONFIG.mf)


def initial_table(users, n_items=1000, seed=2022):
    """The first item table of the released code (Section 10 of the specification)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nn.Embedding(n_items, 20)
        tables = nn.Embedding(users, 20), nn.Embedding(n_items, 20)
        for table in tables:
            nn.init.xavier_uniform_(table.weight)
    return tables[1].weight.detach()


def first_share(table):
    """Share of the variance (around 0) that lies in one direction."""
    spectrum = torch.linalg.svdvals(table.double()).square()
    return float(spectrum[0] / spectrum.sum())


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_authors_tables_are_the_released_first_draw_and_one_direction(shared, env):
    path = shared / "official" / "mf" / f"{env}.pt"
    if not path.is_file():
        pytest.skip(f"the authors' item tables are not here: {path}")
    table = torch.load(path, weights_only=True)
    assert first_share(table - initial_table(100_000)) > 0.999
    assert first_share(table) < 0.985
    for other in (initial_table(100_000, seed=2023), initial_table(99_999)):
        assert first_share(table - other) < 0.97


class Clicked(SimpleNamespace):
    """As many users as asked, of whom the first and the last one clicked one item each."""

    def clicked_pairs(self, users):
        where = [user for user in (0, self.users - 1) if users.start <= user < users.stop]
        return np.array(where, dtype=np.int32), np.zeros(len(where), dtype=np.int16)


def test_a_factorisation_as_released_starts_from_the_released_first_draw():
    data = Clicked(users=100_000, meta={"items": 1000}, folder="none")
    config = build({"fidelity": "released"}).mf

    def drawn(**options):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return BPR(data, config.model_copy(update=options)).items.weight.detach()

    expected = initial_table(100_000)
    torch.testing.assert_close(drawn(), expected, rtol=0, atol=1e-6)
    assert (drawn(discarded_draw=False) - expected).abs().max() > 0.01


def test_what_is_drawn_first_and_the_seed_follow_the_fidelity():
    assert [
        (build({"fidelity": fidelity}).mf.seed, build({"fidelity": fidelity}).mf.discarded_draw)
        for fidelity in ("released", "paper")
    ] == [(2022, True), (2023, False)]
