"""Untrained learners of every method, with pretrained models of random weights."""

import torch

from gems.config import build
from gems.envs import items
from gems.envs.simulator import Simulator
from gems.methods import METHODS, Context
from gems.runtime.weights import save_weights
from gems.sections import VAEConfig

N_ITEMS, TURNS = 77, 40
# Of item embeddings: the paper's, and one that is no multiple of 4, to which rows are padded.
DIMS = 20, 18
TRAINED = [name for name, entry in METHODS.items() if entry.trained]


def save_models(folder):
    """A slate VAE, and item tables of ``DIMS``."""
    from gems.pretraining.vae import SlateVAE

    torch.manual_seed(0)
    config = build({}).of(VAEConfig)
    bounds = {"bounds.low": -3 * torch.ones(32), "bounds.high": 3 * torch.ones(32)}
    described = {"items": N_ITEMS, "vae": config.model_dump(mode="json")}
    weights = SlateVAE(N_ITEMS, 10, config).state_dict()
    save_weights(folder / "vae.safetensors", {**weights, **bounds}, described)
    for dim in DIMS:
        save_weights(folder / f"mf{dim}.safetensors", {"items": torch.randn(N_ITEMS, dim)}, {})


def learner_of(
    method, models, fidelity="released", environment="focused_divpen", dim=20, **options
):
    """An untrained learner and its simulator; ``models`` is the folder of ``save_models``.

    Sections of the configuration may be given as ``options``.
    """
    changed = {"simulator": {"turns": TURNS}, "slateq": {"epsilon_start": 0}, **options}
    changed["agent"] = {"embedding_dim": dim, **options.get("agent", {})}
    config = build({"fidelity": fidelity, **changed})
    files = {"vae": models / "vae.safetensors", "mf": models / f"mf{dim}.safetensors"}
    catalogue = items.generate(5, "focused", N_ITEMS, 1.0)
    simulator = Simulator(catalogue, config.environment(environment))
    torch.manual_seed(1)
    return METHODS[method].build(Context(config, simulator, environment, files)), simulator
