"""Repeat recorded training updates: ``python replay_updates.py FILE.npz``.

For each method the file holds a batch, the weights before, and, of one update made with every
Gaussian draw set to 0 (given for the VAE), the losses and per tensor the sum and the sum of
absolute values of the weights' change. Prints one line a method; exits 1 on any disagreement.
Takes a full recording, and one that ``pack_updates.py`` has made smaller.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gems.agents.sac import sac
from gems.config import build
from gems.data.replay import Batch
from gems.envs.items import Items
from gems.envs.simulator import Simulator
from gems.methods import METHODS, Context
from gems.pretraining.vae import SlateVAE
from gems.sections import AgentConfig, SACConfig

LOSS_TOLERANCE, CHANGE_TOLERANCE = 1e-4, 1e-3
SAME_AS = "same_as"  # rows (key, key of the equal array), written by pack_updates.py
# Relative error of one rounding to float32.
UNIT = 2.0**-24

SAC_NAMES = {
    "QNet": "critics.0",
    "QNet2": "critics.1",
    "target_QNet": "targets.0",
    "target_QNet2": "targets.1",
    "PolicyNet": "policy.head.net",
    "belief.item_embeddings.actor.embedd": "policy.belief.items",
    "belief.item_embeddings.critic.embedd": "belief.items",
    "belief.gru.actor": "policy.belief.gru",
    "belief.gru.critic": "belief.gru",
    "wknn_item_embeddings.embedd": "policy.ranker.table",
}
NAMES = {
    "GeMS": SAC_NAMES,
    "TopK": SAC_NAMES,
    "WkNN": SAC_NAMES,
    "SlateQ": {
        "QNet": "policy.net",
        "target_QNet": "target",
        "belief.item_embeddings.critic.embedd": "policy.belief.items",
        "belief.gru.critic": "policy.belief.gru",
    },
    "REINFORCE": {
        "PolicyNet": "policy.net",
        "belief.item_embeddings.actor.embedd": "policy.belief.items",
        "belief.gru.actor": "policy.belief.gru",
    },
    "VAE": {
        "vae.item_embeddings": "items",
        "vae.inference": "encoder",
        "vae.decoder": "decoder",
        "vae.slate_decoder": "slate_head",
        "vae.click_decoder": "click_head",
    },
}
LOSSES = {
    "q_loss": "q_loss",
    "pi_loss": "policy_loss",
    "alpha_loss": "alpha_loss",
    "alpha_after": "alpha",
    "loss": "loss",
    "train_loss": "total",
    "train_slateloss": "slate",
    "train_clickloss": "click",
    "train_KLloss": "kl",
}

Record = dict[str, np.ndarray]


class Deviation(NamedTuple):
    """Largest relative deviations of one method."""

    method: str
    losses: float
    changes: float
    compared: int

    @property
    def agrees(self) -> bool:
        return self.losses <= LOSS_TOLERANCE and self.changes <= CHANGE_TOLERANCE


class FixedBounds(nn.Module):
    """Bounds of an action without a ranker; updates never rank."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.center = torch.from_numpy(record["action_center"])
        self.scale = torch.from_numpy(record["action_scale"])


def load(path: str) -> Record:
    """All arrays of the recording at ``path``, full or packed."""
    with np.load(path, allow_pickle=False) as data:
        record = dict(data)
    for key, original in record.pop(SAME_AS, ()):
        record[key] = record[original].copy()
    return record


def replay(path: str) -> Iterator[Deviation]:
    """Repeat the update of every method of the file at ``path``."""
    torch.set_num_threads(1)
    data = load(path)
    for method in sorted({key.split("/")[0] for key in data}):
        prefix = method + "/"
        record = {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
        yield _replay_vae(record) if method == "VAE" else _replay_agent(method, record)


def _learner(method: str, record: Record) -> nn.Module:
    config = build({"fidelity": "released"})
    items = record.get("item_embeddings", np.full((1000, 20), 20**-0.5, dtype=np.float32))
    simulator = Simulator(Items(items), config.environment("focused_topdown"))
    context = Context(config, simulator, "focused_topdown", {})
    if method in ("REINFORCE", "SlateQ"):
        return METHODS[{"REINFORCE": "REINFORCE+SoftMax"}.get(method, method)].build(context)
    if method == "WkNN":
        learner = METHODS["SAC+WkNN"].build(context)
        parts = learner.policy.ranker, learner.policy.head
        for part, name in itertools.product(parts, ("center", "scale")):
            getattr(part, name).copy_(torch.from_numpy(record[f"action_{name}"]))
    else:
        agent, rates = (config.of(kind).model_dump() for kind in (AgentConfig, SACConfig))
        learner = sac(FixedBounds(record), context.n_items, context.slate_size, **agent, **rates)
    head = learner.policy.head
    head.noise = lambda n, generator: torch.zeros(n, len(head.center))
    return learner


def _batch(method: str, record: Record) -> Batch:
    """Episodes of the record; the last observation, which no update sees, repeats the one before.

    Its reward is set by clicks on the first ranks.
    """
    part = {k.removeprefix("batch/"): torch.from_numpy(v) for k, v in record.items()}
    slates, clicks = part["slate"].long(), part["clicks"].float()
    n, turns, size = slates.shape
    last = part["reward"].view(n, turns)[:, -1:]
    last_clicks = (torch.arange(size) < last).float().unsqueeze(1)
    actions = part["action"].view(n, turns, -1) if method in ("GeMS", "TopK") else slates[..., :0]
    if "user_state" in part:
        users = part["user_state"].view(n, turns, -1)
        users = torch.cat([users[:, :1], users], dim=1)
    else:
        users = torch.zeros(n, turns + 1, 0)
    batch = Batch(
        torch.cat([slates, slates[:, -1:]], dim=1),
        torch.cat([clicks, last_clicks], dim=1),
        actions,
        users,
        torch.zeros(n, turns + 1, 10, dtype=torch.bool),
    )
    assert torch.equal(batch.rewards.flatten(), part["reward"])
    return batch


def _ours(name: str, names: dict[str, str]) -> str:
    module = max((m for m in names if name.startswith(m + ".")), key=len)
    rest = name.removeprefix(module + ".")
    return names[module] if names[module].endswith("table") else f"{names[module]}.{rest}"


def _compare(
    method: str, record: Record, module: nn.Module, update: Callable[[], dict[str, float]]
) -> Deviation:
    tensors: dict[str, Tensor] = {k: v.detach() for k, v in module.state_dict().items()}
    pairs = {}
    for key, value in record.items():
        if key.startswith("before/"):
            name = key.removeprefix("before/")
            pairs[name] = tensors[_ours(name, NAMES[method])]
            pairs[name].copy_(torch.from_numpy(value))
    losses = update()
    worst = 0.0
    for theirs, ours in LOSSES.items():
        if theirs in record:
            expected = float(record[theirs].item())
            worst = np.maximum(worst, abs(losses[ours] - expected) / abs(expected))
    changes = 0.0
    for name, tensor in pairs.items():
        before = record[f"before/{name}"].astype(np.float64)
        change = tensor.double().numpy() - before
        expected = record[f"change/{name}"]
        # Maxima that keep NaN, which must never agree.
        off = np.maximum(abs(change.sum() - expected[0]), abs(np.abs(change).sum() - expected[1]))
        # Four standard deviations of a sum in which every weight is rounded once: a target network
        # that equals its source changes by nothing else.
        off = np.maximum(off - 4 * UNIT * np.linalg.norm(before), 0.0)
        changes = np.maximum(changes, off / expected[1] if off else 0.0)
    return Deviation(method, float(worst), float(changes), len(pairs))


def _replay_agent(method: str, record: Record) -> Deviation:
    learner = _learner(method, record)
    batch = _batch(method, record)
    return _compare(method, record, learner, lambda: learner.update(batch, torch.Generator()))


def _replay_vae(record: Record) -> Deviation:
    vae = SlateVAE(1000, 10, build({"fidelity": "released"}).vae)
    slates, clicks = (torch.from_numpy(record[k]) for k in ("slate", "clicks"))
    slates, clicks = slates.long(), clicks.float()

    def update() -> dict[str, float]:
        losses = vae.losses(slates, clicks, torch.from_numpy(record["noise"]))
        optimiser = torch.optim.Adam(vae.parameters(), lr=1e-3)
        losses.total.backward()
        optimiser.step()
        return {name: value.item() for name, value in losses._asdict().items()}

    found = _compare("VAE", record, vae, update)
    with torch.no_grad():
        latent = vae.encode(slates, clicks)
        decoded = vae.decode(torch.from_numpy(record["decode_actions"]))
    offs = [
        found.losses,
        float((latent.mean - torch.from_numpy(record["after_mu"])).abs().max()),
        float((latent.log_var - torch.from_numpy(record["after_log_var"])).abs().max()),
        float((decoded != torch.from_numpy(record["decoded_slates"])).sum()),
    ]
    return found._replace(losses=float(np.max(offs)))


def main(path: str) -> int:
    agree, methods = True, 0
    for d in replay(path):
        agree, methods = agree and d.agrees, methods + 1
        print(
            f"{d.method}: losses off by at most {d.losses:.1e} relative, "
            f"changes of {d.compared} tensors by {d.changes:.1e}: "
            + ("agrees" if d.agrees else "DISAGREES")
        )
    if not methods:
        print(f"{path} holds no recorded update")
    return 0 if agree and methods else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python replay_updates.py FILE.npz")
    sys.exit(main(sys.argv[1]))
