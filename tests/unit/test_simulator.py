"""Users click, drift and get bored as Section 1 of the specification says."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gems.config.paper import ENVIRONMENTS
from gems.envs.items import Items, load
from gems.envs.simulator import Simulator

SLATE_SIZE, TOPICS, TOPIC_DIM = 10, 10, 2
FIDELITIES = ("released", "paper")
ALWAYS = np.float32(0)
NEVER = np.float32(1)

seeds = st.integers(0, 2**32)
environments = st.sampled_from(ENVIRONMENTS)
fidelities = st.sampled_from(FIDELITIES)


@pytest.fixture(scope="session")
def simulator(small_items, config):
    def make(env="focused_topdown", fidelity="released", items=small_items):
        return Simulator(items, config(fidelity=fidelity).environment(env))

    return make


def uniforms(rng, n):
    return rng.random((n, SLATE_SIZE), dtype=np.float32)


def requests(rng, n, n_items):
    slates = rng.integers(0, n_items, (n, SLATE_SIZE))
    return np.where(rng.random((n, SLATE_SIZE)) < 0.6, -1, slates)


def topic_norms(users):
    return np.linalg.norm(users.reshape(len(users), TOPICS, TOPIC_DIM), axis=2)


def uneven(items: Items) -> Items:
    """Items of norms from 0.7 to 1.4."""
    norms = np.linspace(0.7, 1.4, len(items.embeddings), dtype=np.float32)
    return Items(items.embeddings * norms[:, None])


def item_of(items: Items, topic: int) -> int:
    """An item whose main topic is ``topic``."""
    return int(np.flatnonzero(items.main_topics == topic)[0])


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


class Expected(NamedTuple):
    """What a turn must give."""

    best_scores: list[float]
    scores: list[float]
    probabilities: list[float]


class PlainUser:
    """One user, written from Section 1 alone, in double precision and without arrays."""

    def __init__(self, items, env, fidelity, embedding):
        self.items = [[float(x) for x in item] for item in items.embeddings]
        self.norm = max(math.hypot(*item) for item in self.items)
        self.topics = [self._main_topic(item) for item in self.items]
        self.nu = 1.0 if env.endswith("topdown") else 0.5
        self.penalty = 3.0 if env.endswith("divpen") else 1.0
        self.paper = fidelity == "paper"
        self.user = [float(x) for x in embedding]
        self.timers: dict[int, int] = {}
        self.topic_log: list[int] = []
        self.turn_log: list[int] = []

    @staticmethod
    def _main_topic(item):
        norms = [math.hypot(*item[2 * t : 2 * t + 2]) for t in range(TOPICS)]
        return norms.index(max(norms))

    def begin_turn(self):
        """Steps 1 and 2."""
        self.timers = {topic: left - 1 for topic, left in self.timers.items() if left > 1}
        for topic in range(TOPICS):
            if self.topic_log.count(topic) >= 5:
                self.timers.setdefault(topic, 5)

    def expect(self, slate) -> Expected:
        """Steps 3 to 6."""
        effective = [0.0 if d // 2 in self.timers else x for d, x in enumerate(self.user)]
        scores = [dot(effective, item) / self.norm for item in self.items]
        counts = [sum(self.topics[item] == topic for item in slate) for topic in range(TOPICS)]
        penalty = self.penalty if max(counts) >= (5 if self.paper else 4) else 1.0
        probabilities = []
        for rank, item in enumerate(slate):
            examination = self.nu * 0.85 ** (rank + self.paper)
            examination += (1 - self.nu) * 0.85 ** (9 - rank + self.paper)
            relevance = 1 / (1 + math.exp(-100 * (scores[item] - 0.28)))
            probabilities.append(relevance / penalty * examination)
        best = sorted(scores, reverse=True)[:SLATE_SIZE]
        return Expected(best, [scores[item] for item in slate], probabilities)

    def react(self, slate, clicks, turn):
        """Steps 7 and 8; turn None is the first slate."""
        for item in (item for item, click in zip(slate, clicks, strict=True) if click):
            self.topic_log = [*self.topic_log, self.topics[item]][-10:]
            if turn is None:
                continue
            self.turn_log = [*self.turn_log, turn][-10:]
            mixed = [0.9 * a + 0.1 * b for a, b in zip(self.user, self.items[item], strict=True)]
            parts = [math.hypot(*mixed[2 * t : 2 * t + 2]) for t in range(TOPICS)]
            norm = math.hypot(*parts) if self.paper else sum(parts)
            self.user = [x / norm for x in mixed]
        while self.turn_log and turn - self.turn_log[0] > 5:
            del self.turn_log[0], self.topic_log[0]


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_turn_is_that_of_a_plain_implementation_of_the_specification(
    small_items, simulator, env, fidelity
):
    users, rng = 6, np.random.default_rng([1, ENVIRONMENTS.index(env)])
    # Scores are divided by the largest norm, which only items of other norms than 1 can show.
    items = uneven(small_items) if env.startswith("diffuse") else small_items
    sim = simulator(env, fidelity, items)
    seen = sim.reset(users, rng)
    plain = [PlainUser(items, env, fidelity, user) for user in sim.users.embedding]
    bored_turns = 0
    for u, user in enumerate(plain):
        assert sim.scores[u] == pytest.approx(user.expect(seen.slates[u]).scores, abs=1e-5)
        user.react(seen.slates[u], seen.clicks[u], None)
    for turn in range(100):
        asked, draws = requests(rng, users, 60), uniforms(rng, users)
        bored = sim.users.bored.copy()
        seen = sim.advance(asked, draws)
        for u, user in enumerate(plain):
            user.begin_turn()
            assert set(np.flatnonzero(bored[u])) == set(user.timers)
            bored_turns += bool(user.timers)
            slate, expected = seen.slates[u].tolist(), user.expect(seen.slates[u])
            assert sim.scores[u] == pytest.approx(expected.scores, abs=1e-5)
            for rank in range(SLATE_SIZE):
                if asked[u, rank] >= 0:
                    assert slate[rank] == asked[u, rank]
                else:
                    # By score, since equal scores may come in any order.
                    assert sim.scores[u, rank] == pytest.approx(
                        expected.best_scores[rank], abs=1e-5
                    )
                # Single precision may decide otherwise where the draw is next to the probability.
                if abs(draws[u, rank] - expected.probabilities[rank]) > 1e-4:
                    assert seen.clicks[u, rank] == (draws[u, rank] < expected.probabilities[rank])
            user.react(slate, seen.clicks[u], turn)
            assert seen.users[u] == pytest.approx(user.user, abs=1e-5)
    assert bored_turns > 0


@given(seed=seeds, env=environments, fidelity=fidelities)
def test_rewards_lie_between_0_and_10_and_slates_hold_items_only(simulator, seed, env, fidelity):
    rng = np.random.default_rng(seed)
    sim = simulator(env, fidelity)
    sim.reset(3, rng)
    for _ in range(10):
        seen = sim.step(requests(rng, 3, 60))
        rewards = seen.clicks.sum(axis=1)
        assert ((rewards >= 0) & (rewards <= 10)).all()
        assert ((seen.slates >= 0) & (seen.slates < 60)).all()


@given(seed=seeds, env=environments)
def test_no_user_clicks_when_no_draw_allows_it_and_every_user_when_all_do(simulator, seed, env):
    rng = np.random.default_rng(seed)
    sim = simulator(env)
    sim.reset(2, rng)
    shown = rng.integers(0, 60, (2, SLATE_SIZE))
    assert not sim.advance(shown, np.full((2, SLATE_SIZE), NEVER)).clicks.any()
    assert sim.advance(shown, np.full((2, SLATE_SIZE), ALWAYS)).clicks.all()


def test_no_item_of_probability_0_is_clicked_even_at_a_draw_of_0(small_items, config):
    steep = config(simulator={"sharpness": 1e6})
    sim = Simulator(small_items, steep.environment("focused_topdown"))
    sim.start(np.zeros((1, 20), dtype=np.float32), np.full((1, SLATE_SIZE), NEVER))
    assert not sim.advance(
        np.full((1, SLATE_SIZE), -1), np.full((1, SLATE_SIZE), ALWAYS)
    ).clicks.any()


@given(seed=seeds, env=environments)
def test_released_users_have_topic_norms_that_sum_to_1(simulator, seed, env):
    rng = np.random.default_rng(seed)
    sim = simulator(env, "released")
    users = [sim.reset(4, rng).users]
    users += [sim.step(requests(rng, 4, 60)).users for _ in range(10)]
    for user in users:
        np.testing.assert_allclose(topic_norms(user).sum(axis=1), 1, atol=1e-5)


@given(seed=seeds, env=environments)
def test_paper_users_have_euclidean_norm_1(simulator, seed, env):
    rng = np.random.default_rng(seed)
    sim = simulator(env, "paper")
    users = [sim.reset(4, rng).users]
    users += [sim.step(requests(rng, 4, 60)).users for _ in range(10)]
    for user in users:
        np.testing.assert_allclose(np.linalg.norm(user, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("fidelity", "power"), [("released", 3), ("paper", 1)])
def test_topic_weights_of_new_users_are_powers_of_uniforms(simulator, fidelity, power):
    weights = np.random.default_rng(0).random((20_000, TOPICS)) ** power
    parts = np.abs(np.clip(0.4 * np.random.default_rng(1).standard_normal((20_000, 10, 2)), -1, 1))
    norms = np.linalg.norm(parts, axis=2) * weights
    norms /= np.linalg.norm(norms, axis=1, keepdims=True)
    sim = simulator("focused_mix", fidelity)
    drawn = topic_norms(sim.reset(20_000, np.random.default_rng(2)).users)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    # The means of the largest, the middle and the smallest topic tell U from U^3.
    np.testing.assert_allclose(
        np.sort(drawn, axis=1).mean(axis=0), np.sort(norms, axis=1).mean(axis=0), atol=0.01
    )


@given(seed=seeds, env=environments, fidelity=fidelities, n=st.integers(2, 5))
def test_a_batch_of_n_users_gives_exactly_what_n_batches_of_one_give(
    simulator, seed, env, fidelity, n
):
    rng = np.random.default_rng(seed)
    batch, single = simulator(env, fidelity), [simulator(env, fidelity) for _ in range(n)]
    users, draws = batch.reset(n, rng).users, uniforms(rng, n)
    together = batch.start(users, draws)
    apart = [sim.start(users[i : i + 1], draws[i : i + 1]) for i, sim in enumerate(single)]
    for _ in range(12):
        for i, one in enumerate(apart):
            for a, b in zip(together, one, strict=True):
                np.testing.assert_array_equal(a[i], b[0])
        asked, draws = requests(rng, n, 60), uniforms(rng, n)
        together = batch.advance(asked, draws)
        apart = [sim.advance(asked[i : i + 1], draws[i : i + 1]) for i, sim in enumerate(single)]
        np.testing.assert_array_equal(batch.scores, np.concatenate([s.scores for s in single]))


@given(seed=seeds)
def test_the_same_generator_gives_the_same_episode(simulator, seed):
    def episode():
        sim = simulator("focused_divpen")
        sim.reset(2, np.random.default_rng(seed))
        asked = np.random.default_rng(seed + 1)
        return [sim.step(requests(asked, 2, 60)) for _ in range(5)]

    for a, b in zip(episode(), episode(), strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@given(seed=seeds, env=environments)
def test_a_slot_of_minus_1_shows_the_item_of_the_oracle_at_that_rank(simulator, seed, env):
    rng = np.random.default_rng(seed)
    sim = simulator(env)
    sim.reset(3, rng)
    for _ in range(10):
        asked, oracle = requests(rng, 3, 60), sim.oracle_slates()
        np.testing.assert_array_equal(sim.step(asked).slates, np.where(asked < 0, oracle, asked))


@given(seed=seeds, env=environments)
def test_a_slate_of_minus_1_is_the_slate_of_the_oracle(simulator, seed, env):
    rng = np.random.default_rng(seed)
    sim = simulator(env)
    sim.reset(3, rng)
    for _ in range(10):
        oracle = sim.oracle_slates()
        shown = sim.step(np.full((3, SLATE_SIZE), -1)).slates
        np.testing.assert_array_equal(shown, oracle)
        assert (np.diff(sim.scores, axis=1) <= 0).all()


def test_asking_for_the_slate_of_the_oracle_leaves_the_request_as_it_was(simulator):
    sim = simulator()
    sim.reset(1, np.random.default_rng(0))
    asked = np.full((1, SLATE_SIZE), -1)
    sim.step(asked)
    assert (asked == -1).all()


def test_what_was_observed_does_not_change_in_later_turns(simulator):
    sim = simulator()
    seen = sim.reset(2, np.random.default_rng(0))
    kept = [part.copy() for part in seen]
    for _ in range(20):
        sim.step(np.full((2, SLATE_SIZE), -1))
    for part, copy in zip(seen, kept, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_the_first_slate_holds_for_each_topic_the_item_with_the_largest_norm_in_it(
    small_items, simulator
):
    shown = simulator().reset(2, np.random.default_rng(0)).slates
    norms = topic_norms(small_items.embeddings)
    for topic in range(TOPICS):
        assert (norms[shown[:, topic], topic] == norms[:, topic].max()).all()


def test_clicks_on_the_first_slate_do_not_move_the_user(simulator):
    sim = simulator()
    users = sim.reset(2, np.random.default_rng(0)).users
    seen = sim.start(users, np.full((2, SLATE_SIZE), ALWAYS))
    assert seen.clicks.all()
    np.testing.assert_array_equal(seen.users, users)


def bored_turns(sim, episodes):
    """Turns in which each topic is bored, for one user who clicks all of the given slates."""
    user = sim.reset(1, np.random.default_rng(0)).users
    sim.start(user, np.full((1, SLATE_SIZE), NEVER))
    bored = [sim.users.bored[0].copy()]
    for slate in episodes:
        clicks = np.full(SLATE_SIZE, NEVER)
        clicks[: len(slate)] = ALWAYS
        shown = np.zeros(SLATE_SIZE, dtype=np.int64)
        shown[: len(slate)] = slate
        sim.advance(shown[None], clicks[None])
        bored.append(sim.users.bored[0].copy())
    return {
        topic: [turn for turn in range(len(bored)) if bored[turn][topic]]
        for topic in range(TOPICS)
        if np.any(bored, axis=0)[topic]
    }


def test_a_topic_with_5_recent_clicks_is_bored_for_5_turns(small_items, simulator):
    first, *others = [item_of(small_items, topic) for topic in range(TOPICS)]
    # Clicks on ten other items push those on the first topic out of the log.
    episode = [[first] * 5, others, others[:1], *[[]] * 12]
    assert bored_turns(simulator(), episode) == {0: [1, 2, 3, 4, 5]}


def test_a_topic_is_bored_again_at_once_while_its_clicks_are_remembered(small_items, simulator):
    # Clicks of turn 0 are forgotten at the end of turn 6, one turn after the topic recovers.
    episode = [[item_of(small_items, 0)] * 5, *[[]] * 15]
    assert bored_turns(simulator(), episode) == {0: list(range(1, 11))}


def test_a_topic_with_4_recent_clicks_is_not_bored(small_items, simulator):
    assert bored_turns(simulator(), [[item_of(small_items, 0)] * 4, *[[]] * 10]) == {}


def test_clicks_more_than_5_turns_old_do_not_bore(small_items, simulator):
    item = item_of(small_items, 0)
    assert bored_turns(simulator(), [[item] * 4, *[[]] * 4, [item]])
    assert not bored_turns(simulator(), [[item] * 4, *[[]] * 6, [item]])


@given(seed=seeds, env=environments)
def test_every_spell_of_boredom_lasts_a_multiple_of_5_turns(simulator, seed, env):
    rng = np.random.default_rng(seed)
    sim = simulator(env)
    bored = [sim.reset(3, rng).bored]
    bored += [sim.step(np.full((3, SLATE_SIZE), -1)).bored for _ in range(40)]
    # Boredom in the last turns may go on; a change from bored to not bored ends a spell.
    flags = np.concatenate([np.zeros((1, 3, TOPICS), dtype=bool), bored]).reshape(42, -1)
    for topic in flags.T:
        changes = np.flatnonzero(np.diff(topic))
        ended = changes[: len(changes) // 2 * 2].reshape(-1, 2)
        assert (np.diff(ended, axis=1) % 5 == 0).all()


@given(seed=seeds)
def test_bored_topics_add_nothing_to_scores(small_items, simulator, seed):
    rng = np.random.default_rng(seed)
    sim = simulator()
    sim.reset(3, rng)
    for _ in range(15):
        users = sim.users.embedding.copy()
        users.reshape(3, TOPICS, TOPIC_DIM)[sim.users.bored] = 0
        shown = sim.step(np.full((3, SLATE_SIZE), -1)).slates
        expected = np.einsum("ud,usd->us", users, small_items.embeddings[shown])
        np.testing.assert_allclose(sim.scores, expected / small_items.normaliser, atol=1e-5)


@pytest.mark.parametrize(("fidelity", "start"), [("released", 0), ("paper", 1)])
@pytest.mark.parametrize(("env", "nu"), [("focused_topdown", 1), ("diffuse_mix", 0.5)])
def test_examination_decays_from_the_first_exponent_of_the_preset(
    simulator, env, nu, fidelity, start
):
    expected = [nu * 0.85 ** (start + r) + (1 - nu) * 0.85 ** (start + 9 - r) for r in range(10)]
    examination = simulator(env, fidelity).click_model.examination
    np.testing.assert_allclose(examination, expected, rtol=1e-6)


@pytest.mark.parametrize("count", [3, 4, 5, 10])
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("env", ["focused_topdown", "focused_mix", "focused_divpen"])
def test_uniform_slates_are_penalised_in_divpen_only_and_from_the_threshold_of_the_preset(
    small_items, simulator, env, fidelity, count
):
    topics = [0] * count + list(range(1, SLATE_SIZE - count + 1))
    slate = np.array([[item_of(small_items, topic) for topic in topics]])
    sim = simulator(env, fidelity)
    seen = sim.reset(1, np.random.default_rng(0))
    # A draw that allows a click unless the probability is divided by 3.
    plain = PlainUser(small_items, "focused_topdown", fidelity, seen.users[0])
    plain.nu = 1.0 if env == "focused_topdown" else 0.5
    draws = np.float32(np.array([plain.expect(slate[0]).probabilities]) / 2)
    sim.start(seen.users, np.full((1, SLATE_SIZE), NEVER))
    clicks = sim.advance(slate, draws).clicks
    penalised = env == "focused_divpen" and count >= (4 if fidelity == "released" else 5)
    assert (clicks == (not penalised)).all()


@pytest.mark.parametrize(
    "slates",
    [
        np.zeros((2, 9), dtype=np.int64),
        np.zeros((1, 10), dtype=np.int64),
        np.zeros((3, 10), dtype=np.int64),
        np.zeros(10, dtype=np.int64),
        np.full((2, 10), 60),
        np.full((2, 10), -2),
    ],
    ids=["short slates", "fewer users", "more users", "one slate", "no such item", "below -1"],
)
def test_slates_of_wrong_shape_or_with_unknown_items_are_refused(simulator, slates):
    sim = simulator()
    sim.reset(2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="slates must"):
        sim.step(slates)
    assert sim.turn == 0


# Measured on the released simulator: mean return and its standard error.
MEASURED = {
    ("focused_topdown", "oracle"): (103.6, 2.5),
    ("focused_mix", "oracle"): (101.4, 2.5),
    ("focused_divpen", "oracle"): (76.2, 1.3),
    ("focused_topdown", "random"): (34.2, 0.5),
    ("focused_mix", "random"): (33.7, 0.5),
    ("focused_divpen", "random"): (32.0, 0.5),
}


@pytest.mark.parametrize(("env", "policy"), MEASURED)
def test_returns_on_the_released_embeddings_are_those_of_the_released_simulator(
    simulator, shared, env, policy
):
    path = shared / "official" / "item_embeddings_focused.pt"
    if not path.exists():
        pytest.skip("the item embeddings of the paper's authors are not here")
    n, rng = 2000, np.random.default_rng(7)
    sim = simulator(env, items=load(path))
    sim.reset(n, rng)
    returns = np.zeros(n)
    for _ in range(100):
        random = rng.integers(0, 1000, (n, SLATE_SIZE))
        asked = random if policy == "random" else np.full((n, SLATE_SIZE), -1)
        returns += sim.step(asked).clicks.sum(axis=1)
    mean, error = MEASURED[env, policy]
    joint = math.hypot(error, returns.std(ddof=1) / math.sqrt(n))
    assert returns.mean() == pytest.approx(mean, abs=3 * joint)


def test_an_observation_tells_the_boredom_of_its_own_turn_and_of_the_next(simulator):
    sim = simulator()
    first = sim.reset(20, np.random.default_rng(0))
    seen = [first, *(sim.step(sim.oracle_slates()) for _ in range(15))]
    assert not seen[0].was_bored.any()
    for before, after in pairwise(seen):
        np.testing.assert_array_equal(after.was_bored, before.bored)
    assert any((one.was_bored != one.bored).any() for one in seen)
