"""Nothing is unpickled: data of that form are refused and never executed."""

import shutil
from pathlib import Path

import pytest
import torch
from faults import ENV, MF, SEED, TRAIN_GEMS, TRAIN_SLATEQ, VAE, Payload, write_pickle

from gems.errors import GemsError
from gems.training.checkpoint import TrainingState


@pytest.mark.parametrize("form", ["pickle", "torch"])
@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("vae", TRAIN_GEMS),
        ("mf", ("train", "--method", "SAC+TopK-MF", *ENV, *SEED)),
        ("out/items/focused.npy", TRAIN_SLATEQ),
        ("out/datasets/focused_mix/slates.npy", MF),
        ("items.pt", (*TRAIN_SLATEQ, "--items", "items.pt")),
    ],
    ids=["vae", "mf", "items", "dataset", "tensor of items"],
)
def test_a_pickle_where_data_is_expected_is_refused_and_never_executed(
    refused, folder, place, command, form
):
    place = next((folder / "out" / place).glob("*.safetensors"), Path(place))
    write_pickle(place, form)
    assert place.name in refused(*command)
    assert not Path("executed").exists()


def test_a_pickle_in_the_place_of_a_state_is_refused_and_never_executed(
    refused, folder, monkeypatch
):
    monkeypatch.setattr(TrainingState, "due", lambda self: True)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", lambda self, *_: torch.save(Payload(), self._file))
        patch.setattr("gems.training.run.test", lambda *_: (_ for _ in ()).throw(GemsError("No.")))
        refused(*TRAIN_SLATEQ)
    message = refused(*TRAIN_SLATEQ)
    assert ".pt is damaged; remove " in message
    assert not Path("executed").exists()


def test_a_damaged_checkpoint_of_a_pretraining_is_refused_and_never_executed(
    gems, refused, folder, monkeypatch
):
    def full(*_):
        raise GemsError("No.")

    with monkeypatch.context() as patch:
        patch.setattr("gems.pretraining.vae_training.save_weights", full)
        refused(*VAE)
    (last,) = (folder / "out" / ".state").rglob("last.ckpt")
    torch.save(Payload(), last)
    message = refused(*VAE)
    assert f"last.ckpt is damaged; remove {last.parent.relative_to(folder)} to start" in message
    assert not Path("executed").exists()
    shutil.rmtree(last.parent)
    assert gems(*VAE)[0] == 0
