"""Agents and rankers: the fast forms equal the plain ones, updates learn from what they should."""

import copy

import numpy as np
import pytest
import torch
from numerics import assert_equal_up_to_rounding, differentiated
from torch import nn

from gems.agents import sac_wknn
from gems.agents.base import credited, first_clicked, polyak_update, top_items
from gems.agents.belief import Belief
from gems.agents.critics import Critics
from gems.agents.gaussian import squash
from gems.agents.networks import MLP
from gems.agents.reinforce import returns_to_go
from gems.agents.topk import TopK
from gems.config import build
from gems.data.replay import Batch, Episodes, Replay
from gems.envs import items
from gems.envs.simulator import Simulator, Sizes
from gems.kernels import vae as compiled_vae
from gems.kernels.compiled import affine
from gems.methods import METHODS, Context
from gems.pretraining.vae import best_items, item_cross_entropy
from gems.runtime.weights import save_weights
from gems.training.rollout import rollout

N_ITEMS = 80


@pytest.fixture(scope="module")
def catalogue():
    return items.generate(3, "focused", N_ITEMS, 1.0)


def simulator_of(catalogue, environment="focused_topdown", fidelity="released", turns=12):
    config = build({"fidelity": fidelity, "simulator": {"turns": turns}})
    return Simulator(catalogue, config.environment(environment))


def agent_of(method, simulator, fidelity="released", mf=None):
    config = build({"fidelity": fidelity, "agent": {"hidden_dim": 32}})
    torch.manual_seed(0)
    files = {} if mf is None else {"mf": mf}
    return METHODS[method].build(Context(config, simulator, "focused_topdown", files))


def batch_of(learner, simulator, n=4):
    episodes = rollout(learner.policy, simulator, n, "random", 5, "test batch")
    return Batch.of(episodes, torch.device("cpu"))


@pytest.mark.parametrize("width", [6, 20])
def test_the_compiled_belief_equals_pytorchs_gru_forward_and_backward(width):
    belief = Belief(30, 10, embedding_dim=7, state_dim=width)
    slates, clicks = torch.randint(30, (5, 9, 10)), (torch.rand(5, 9, 10) < 0.3).float()
    weights = [torch.randn(5, 9, width)]
    exact = copy.deepcopy(belief).double()
    parameters = [*exact.parameters()]

    def plain():
        return [exact(slates, clicks.double())]

    assert_equal_up_to_rounding(
        differentiated(lambda: [belief(slates, clicks)], [*belief.parameters()], weights),
        lambda: differentiated(plain, parameters, weights),
        parameters,
        terms=10 * 8 + width,
    )


def far_from_kinks(critics, states, actions):
    """Pairs for which rounding decides neither about a ReLU nor about the lesser value."""
    pairs = torch.cat([states, actions], dim=-1)
    sums = torch.cat([critic.first(pairs) for critic in critics], dim=-1)
    values = torch.cat([critic(pairs) for critic in critics], dim=-1)
    clear = (sums.abs() > 1e-4).all(-1) & (values.diff(dim=-1).abs() > 1e-4).all(-1)
    assert clear.float().mean() > 0.9
    return [part[clear].detach().requires_grad_() for part in (states, actions)]


def test_the_fused_critics_equal_autograd():
    critics = Critics(6, 9, 16)
    states, actions = far_from_kinks(critics, torch.randn(1000, 6), torch.randn(1000, 9))
    rows = len(states)
    targets, weights = torch.randn(rows), [torch.tensor(2.0), torch.tensor(0.0)]
    exact = copy.deepcopy(critics).double()
    pairs = [part.detach().double().requires_grad_() for part in (states, actions)]
    parameters = [*exact.parameters()]

    def ours():
        loss, mean = critics.loss(states, actions.detach(), targets)
        return [loss, mean]

    assert_equal_up_to_rounding(
        differentiated(ours, [states, *critics.parameters()], weights),
        lambda: differentiated(
            lambda: exact.loss(pairs[0], pairs[1].detach(), targets.double()),
            [pairs[0], *parameters],
            weights,
        ),
        [*pairs, *parameters],
        terms=rows,
    )
    weights = [torch.randn(rows)]
    assert_equal_up_to_rounding(
        differentiated(lambda: [critics.min_value(states, actions)], [actions], weights),
        lambda: differentiated(lambda: [exact.min_value(*pairs)], [pairs[1]], weights),
        [*pairs, *parameters],
        terms=32,
    )


def test_critics_that_agree_share_the_gradient(monkeypatch):
    critics = Critics(6, 9, 16)
    for parameter in critics.parameters():
        parameter.data.zero_()
    for number, critic in enumerate(critics):  # each values one of two equal numbers
        critic.first.weight.data[0, 6 + number] = critic.last.weight.data[0, 0] = 1
    states, actions = torch.randn(50, 6), torch.rand(50, 1).repeat(1, 9).requires_grad_()
    weights = [torch.randn(50)]
    # No sum has more than one term other than 0, so there is nothing to round.
    ours = differentiated(lambda: [critics.min_value(states, actions)], [actions], weights)
    monkeypatch.setenv("GEMS_KERNELS", "off")
    plain = differentiated(lambda: [critics.min_value(states, actions)], [actions], weights)
    assert all(torch.equal(*parts) for parts in zip(ours, plain, strict=True))


def test_the_compiled_squashed_gaussian_equals_autograd():
    outputs = torch.randn(50, 8)
    outputs[:, 4:] = 3 * outputs[:, 4:]  # some beyond the largest standard deviation
    outputs[::5, 4:] -= 20  # and some below the least
    outputs.requires_grad_()
    noise = torch.randn(50, 4)
    exact = outputs.detach().double().requires_grad_(), noise.double()
    weights = [torch.randn(50, 4), torch.randn(50)]
    assert_equal_up_to_rounding(
        differentiated(lambda: squash(outputs, noise), [outputs], weights),
        lambda: differentiated(lambda: squash(*exact), [exact[0]], weights),
        exact,
        terms=16,
    )


def test_what_is_not_a_number_stays_so_in_compiled_losses():
    rows, targets = torch.randn(50, 15), torch.randint(80, (50,))
    for critic in range(2):
        critics = Critics(6, 9, 16)
        critics[critic].first.weight.data[3, 5] = torch.nan
        assert critics.loss(rows[:, :6], rows[:, 6:], torch.randn(50))[0].isnan()
        assert critics.min_value(rows[:, :6], rows[:, 6:]).isnan().all()
    for output in (1, 5):  # a mean and a standard deviation
        outputs = torch.randn(50, 8)
        outputs[3, output] = torch.nan
        assert squash(outputs, torch.randn(50, 4))[1][3].isnan()
    for damaged in range(2):
        slots_and_table = torch.randn(50, 7), torch.randn(80, 7)
        slots_and_table[damaged][3] = torch.nan
        assert item_cross_entropy(*slots_and_table, targets).isnan()


def test_observing_turn_by_turn_gives_the_states_of_the_whole_sequence(catalogue):
    simulator = simulator_of(catalogue)
    learner = agent_of("REINFORCE+SoftMax", simulator)
    episodes = rollout(learner.policy, simulator, 3, "random", 1, "states")
    belief: Belief = learner.policy.belief
    batch = Batch.of(episodes, torch.device("cpu"))
    exact = copy.deepcopy(belief).double()
    simulator.reset(3, np.random.default_rng(0))
    belief.begin(3)
    states = []
    for turn in range(episodes.slates.shape[1]):
        seen = simulator.step(episodes.slates[:, turn])._replace(
            slates=episodes.slates[:, turn].astype(np.int64), clicks=episodes.clicks[:, turn]
        )
        states.append(belief.observe(seen))

    def expected():
        found = exact(batch.slates, batch.clicks.double())
        return [found, found]

    ours = [torch.stack(states, dim=1), belief(batch.slates, batch.clicks)]
    assert_equal_up_to_rounding(ours, expected, [*exact.parameters()], terms=10 * 21)


def test_top_k_equals_pytorchs():
    values = torch.randn(50, 200)
    assert torch.equal(top_items(values, 10), values.topk(10).indices)


def test_top_k_ranker_bounds_its_action_by_the_columns_of_its_table():
    table = torch.randn(30, 4)
    ranker = TopK(table, 10)
    torch.testing.assert_close(ranker.center + ranker.scale, table.max(0).values)
    torch.testing.assert_close(ranker.center - ranker.scale, table.min(0).values)


def test_nearest_items_are_those_of_the_smallest_distance():
    table, queries = torch.randn(60, 7), torch.randn(300, 3, 7)
    exact = queries.double(), table.double()
    assert_equal_up_to_rounding(
        [sac_wknn.nearest(queries, table, 5)],
        lambda: [torch.cdist(*exact).topk(5, largest=False).indices],
        exact,
        terms=8,
    )


@pytest.mark.parametrize("n_items", [20, 64, 100])
def test_best_items_are_those_of_the_largest_product_whatever_the_block(monkeypatch, n_items):
    monkeypatch.setattr(compiled_vae, "BLOCK_ITEMS", 32)
    table, slots = torch.randn(n_items, 7), torch.randn(19, 3, 7)

    def assert_best(slots, table):
        exact = slots.double(), table.double()
        assert_equal_up_to_rounding(
            [best_items(slots, table)],
            lambda: [best_items(*exact)],
            exact,
            terms=7,
        )

    assert_best(slots, table)
    assert_best(slots.abs(), -table.abs())  # items that fill up a block would give 0


@pytest.mark.parametrize("rows", [1, 5, 13])
def test_products_start_from_one_row_or_from_a_matrix(rows):
    vectors, matrix, start = torch.randn(rows, 9), torch.randn(7, 64), torch.randn(rows, 64)
    exact = [part.double() for part in (vectors, matrix, start)]
    out, onto = torch.empty(rows, 64), start.clone()
    affine(out.numpy(), start[0].numpy(), vectors.numpy(), matrix.numpy())
    affine(onto.numpy(), onto.numpy(), vectors.numpy(), matrix.numpy())

    def expected():
        products = exact[0][:, :7] @ exact[1]
        return [exact[2][0] + products, exact[2] + products]

    assert_equal_up_to_rounding([out, onto], expected, exact, terms=8)


def test_the_compiled_greedy_choice_equals_the_plain_one():
    table, states = torch.randn(60, 4), torch.randn(40, 6)
    critic = MLP(6 + 10 * 4, 16, 1)
    candidates = torch.randint(60, (40, 10, 5))
    fast = sac_wknn.slate_chooser(critic, table, slots=10)(states, candidates)
    exact, exact_table = copy.deepcopy(critic).double(), table.double()
    assert_equal_up_to_rounding(
        [fast],
        lambda: [sac_wknn.greedy_slates(exact, exact_table, states.double(), candidates)],
        [exact_table, *exact.parameters()],
        terms=46,
    )


@pytest.mark.parametrize("layout", ["dim_slot", "slot_dim"])
def test_wolpertinger_reads_its_action_in_the_layout_asked_for(catalogue, layout):
    simulator = simulator_of(catalogue)
    learner = agent_of("SAC+WkNN", simulator)
    policy = learner.policy
    policy.query_layout, policy.neighbours = layout, 1
    wanted = torch.arange(10).flip(0)
    by_slot = policy.ranker.table[wanted]
    action = by_slot if layout == "slot_dim" else by_slot.t()
    assert torch.equal(policy.candidates(action.reshape(1, -1)).flatten(), wanted)


# SAC+GeMS needs a pretrained VAE: it updates in the tests of training.
TRAINED = [name for name, entry in METHODS.items() if entry.trained]
WITHOUT_VAE = [name for name in TRAINED if METHODS[name].needs != ("vae",)]


@pytest.mark.parametrize("method", WITHOUT_VAE)
@pytest.mark.parametrize("fidelity", ["released", "paper"])
def test_every_agent_updates_and_changes_its_policy(catalogue, tmp_path, method, fidelity):
    save_weights(tmp_path / "mf.safetensors", {"items": torch.randn(N_ITEMS, 20)}, {})
    simulator = simulator_of(catalogue, "focused_divpen", fidelity)
    learner = agent_of(method, simulator, fidelity, tmp_path / "mf.safetensors")
    before = {k: v.clone() for k, v in learner.policy.state_dict().items()}
    batch = batch_of(learner, simulator)
    figures = learner.update(batch, torch.Generator().manual_seed(0))
    assert all(np.isfinite(value) for value in figures.values())
    after = learner.policy.state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)
    greedy = rollout(learner.policy, simulator, 3, "greedy", 1, "greedy")
    assert greedy.slates.min() >= 0
    assert greedy.slates.max() < N_ITEMS


@pytest.mark.parametrize("method", ["SlateQ", "REINFORCE+SoftMax", "SAC+TopK-ideal"])
def test_an_episode_without_a_click_is_survived(catalogue, method):
    simulator = simulator_of(catalogue)
    learner = agent_of(method, simulator)
    batch = batch_of(learner, simulator)
    silent = batch._replace(clicks=torch.zeros_like(batch.clicks))
    figures = learner.update(silent, torch.Generator())
    assert all(np.isfinite(value) for value in figures.values())


def test_the_first_critics_target_is_part_of_a_wolpertinger_policy(catalogue):
    learner = agent_of("SAC+WkNN", simulator_of(catalogue))
    policy = learner.policy.state_dict()
    torch.testing.assert_close(policy["critic.0.weight"], learner.targets[0][0].weight)


def test_random_phase_of_sac_stays_in_the_middle_half(catalogue):
    learner = agent_of("SAC+TopK-ideal", simulator_of(catalogue))
    head = learner.policy.head
    actions = head.middle_half(torch.rand(2000, 20))
    share = (actions - head.center) / head.scale
    assert share.abs().max() <= 0.5
    assert share.abs().max() > 0.49


def test_sac_log_probability_is_that_of_the_squashed_gaussian(catalogue):
    head = agent_of("SAC+TopK-ideal", simulator_of(catalogue)).policy.head
    states = torch.randn(6, 20)
    noise = head.noise(6, torch.Generator().manual_seed(0))
    sampled = head.sample(head.net(states), noise)
    exact, noise = copy.deepcopy(head).double(), noise.double()

    def expected():
        mean, log_std = exact.net(states.double()).chunk(2, -1)
        normal = torch.distributions.Normal(mean, log_std.exp())
        drawn = mean + normal.stddev * noise
        squashed = torch.tanh(drawn)
        log_prob = normal.log_prob(drawn) - torch.log(1 - squashed**2 + 1e-6)
        return [exact.center + exact.scale * squashed, log_prob.sum(-1)]

    inputs = [*exact.parameters(), *exact.buffers()]
    assert_equal_up_to_rounding(sampled, expected, inputs, terms=32)


def test_polyak_averaging():
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = 0.9 * target.weight.detach() + 0.1 * source.weight.detach()
    polyak_update(target, source, 0.1)
    torch.testing.assert_close(target.weight.detach(), expected)


def test_returns_to_go():
    rewards = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    expected = torch.tensor([[2.28, 1.6, 2.0], [0.64, 0.8, 1.0]])
    torch.testing.assert_close(returns_to_go(rewards, 0.8), expected)


def test_credit_by_preset_is_off_by_one_turn(catalogue):
    simulator = simulator_of(catalogue)
    batch = batch_of(agent_of("SlateQ", simulator), simulator)
    observed, chosen = credited(batch, "observed"), credited(batch, "chosen")
    assert torch.equal(observed[0][:, 1:], chosen[0][:, :-1])
    assert torch.equal(chosen[1].sum(-1), batch.rewards)


def test_first_clicked_item():
    slates = torch.tensor([[5, 6, 7], [1, 2, 3]])
    clicks = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    clicked, item = first_clicked(slates, clicks)
    assert clicked.tolist() == [True, False]
    assert item[0] == 6


def test_replay_keeps_the_last_episodes_and_restores_its_state():
    replay = Replay(capacity=5, turns=2, action_dim=1, disclosed=False, sizes=Sizes(9, 10, 10, 20))
    for number in range(8):
        episode = Episodes.empty(1, 2, 1, disclosed=False, sizes=Sizes(9, 10, 10, 20))
        episode.slates[:] = number
        replay.add(episode)
    seen = replay.sample(200, np.random.default_rng(0), distinct=False).slates
    assert set(seen.flatten().tolist()) == {3, 4, 5, 6, 7}
    other = Replay(capacity=5, turns=2, action_dim=1, disclosed=False, sizes=Sizes(9, 10, 10, 20))
    other.restore(replay.part(replay.oldest, replay.added))
    again = other.sample(200, np.random.default_rng(0), distinct=False).slates
    np.testing.assert_array_equal(seen, again)
    for size, drawn in ((3, 3), (5, 5), (200, 5)):
        different = other.sample(size, np.random.default_rng(0), distinct=True).slates
        assert len(np.unique(different[:, 0, 0])) == len(different) == drawn
