"""What SlateQ is told of the simulator: as it is, and as the released code has it (Section 9)."""

import numpy as np
import torch
from numerics import assert_equal_up_to_rounding

from gems.agents.disclosed_clicks import DisclosedClicks
from gems.agents.slateq import best_slates
from gems.config import build
from gems.envs import items
from gems.envs.simulator import Observation, Simulator

N_ITEMS = 80
CATALOGUE = items.generate(3, "focused", N_ITEMS, 1.0)


def simulator_of(environment="focused_topdown"):
    return Simulator(CATALOGUE, build({}).environment(environment))


def disclosed_clicks(simulator, fidelity):
    relevance = "faulty" if fidelity == "released" else "true"
    return DisclosedClicks(simulator, acting_relevance=relevance, target_relevance=relevance)


def test_slateq_is_told_the_simulators_relevances():
    simulator = simulator_of()
    seen = simulator.reset(20, np.random.default_rng(0))
    for _ in range(10):
        seen = simulator.step(simulator.oracle_slates())
    assert seen.bored.any()
    clicks = disclosed_clicks(simulator, "paper")
    scores = clicks.acting_scores(seen)
    in_targets = clicks.target_scores(torch.from_numpy(seen.users), torch.from_numpy(seen.bored))
    assert torch.equal(scores, in_targets)
    values = torch.randn(20, N_ITEMS)
    effective = torch.from_numpy(np.where(np.repeat(seen.bored, 2, axis=1), 0, seen.users)).double()
    table = torch.from_numpy(CATALOGUE.embeddings / np.float64(CATALOGUE.normaliser))
    exact = effective, table, values.double()

    def expected():
        relevances = torch.sigmoid(100 * (exact[0] @ exact[1].t() - 0.28))
        return [relevances, (relevances * exact[2]).topk(10).indices]

    ours = [clicks.relevances(scores), best_slates(clicks, scores, values, 10)]
    assert_equal_up_to_rounding(ours, expected, exact, terms=20)


def test_released_slateq_acts_on_the_topics_bored_in_the_turn_just_played():
    clicks = disclosed_clicks(simulator_of(), "released")
    users = np.random.default_rng(0).random((1, 20), dtype=np.float32)
    for topic, zeroed in ((0, []), (1, [2]), (3, [6, 7, 8]), (7, list(range(14, 20)))):
        then = np.zeros((1, 10), dtype=np.bool_)
        then[0, topic] = True
        effective = users.copy()
        effective[0, zeroed] = 0
        seen = Observation(np.zeros((1, 10)), np.zeros((1, 10)), users, ~then, then)
        expected = torch.from_numpy(effective) @ clicks.items.t()
        torch.testing.assert_close(clicks.acting_scores(seen), expected)


def test_released_slateq_ignores_boredom_in_its_targets():
    clicks = disclosed_clicks(simulator_of(), "released")
    users = torch.rand(3, 20)
    all_bored, none_bored = torch.ones(3, 10, dtype=torch.bool), torch.zeros(3, 10).bool()
    assert torch.equal(clicks.target_scores(users, all_bored), users @ clicks.items.t())
    paper = disclosed_clicks(simulator_of(), "paper")
    assert not paper.target_scores(users, all_bored).any()
    # A batch in which nobody is bored, as the recorded one, cannot tell the two apart.
    scores = (c.target_scores(users, none_bored) for c in (clicks, paper))
    assert torch.equal(*scores)


def test_the_diversity_penalty_of_slateq_is_slate_by_slate_unless_faulty():
    simulator = simulator_of("focused_divpen")
    topics = CATALOGUE.main_topics
    common = np.flatnonzero(topics == np.bincount(topics).argmax())[:4]
    mixed = [int(np.flatnonzero(topics == t)[0]) for t in np.unique(topics)][:7]
    uniform = torch.tensor([*common, *mixed][:10])
    diverse = torch.tensor((mixed * 2)[:10])
    slates = torch.stack([uniform, diverse])
    relevances = torch.ones(2, 10)
    true = disclosed_clicks(simulator, "paper").click_probabilities(slates, relevances)
    faulty = disclosed_clicks(simulator, "released").click_probabilities(slates, relevances)
    torch.testing.assert_close(true[0] * 3, true[1])
    torch.testing.assert_close(faulty[0], faulty[1])
    torch.testing.assert_close(faulty[0], true[0])
