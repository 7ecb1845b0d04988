"""Where users come from: CUDA's generator, the users of the released test, streams by seed."""

import numpy as np
import oracle_returns
import pytest
import torch

from gems.config import build
from gems.envs import philox, users
from gems.envs.simulator import Simulator
from gems.envs.users import SHARED_SEED, SeededUsers, SharedUsers

WORD = 0xFFFFFFFF
# Salmon et al., Random123, file kat_vectors: counter, key, words of philox4x32-10.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((WORD,) * 4, (WORD,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_published_known_answers(counter, key, words):
    assert tuple(map(int, philox.block(*map(np.uint64, (*counter, *key))))) == words


def test_words_are_those_of_the_offset_and_the_thread():
    seed, offset, thread = (5 << 32) + 7, 4 * ((3 << 32) + 9), 2
    expected = philox.block(*map(np.uint64, (9, 3, thread, 0, 7, 5)))
    found = philox.words(seed, np.array([[offset]]), np.array([[thread]]))
    assert found.tolist() == [[list(map(int, expected[:2]))]]


def test_uniform_numbers_are_above_0_and_at_most_1():
    ends = philox.uniform(np.array([0, WORD], dtype=np.uint32))
    assert ends[0] > 0
    assert ends[1] == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_numbers_are_those_of_a_generator_on_a_cuda_device():
    """Normal, uniform and Bernoulli draws, in the order in which a new user draws them."""
    generator = torch.Generator("cuda").manual_seed(SHARED_SEED)
    threads = np.arange(20)
    words = [philox.words(SHARED_SEED, np.full(20, offset), threads) for offset in (0, 4)]
    normal = torch.randn(10, 2, generator=generator, device="cuda").cpu().numpy().ravel()
    np.testing.assert_allclose(philox.normal(words[0]), normal, rtol=1e-5, atol=1e-6)
    drawn = torch.rand(10, generator=generator, device="cuda").cpu().numpy()
    np.testing.assert_array_equal(philox.uniform(words[1][:10, 0]) % 1, drawn)
    probability = torch.full((), 0.3, device="cuda")
    clicks = [bool(torch.bernoulli(probability, generator=generator)) for _ in range(50)]
    offsets = 8 + 12 * np.arange(50)
    ours = philox.uniform(philox.words(SHARED_SEED, offsets, np.zeros_like(offsets))[:, 0])
    assert clicks == (ours <= np.float32(0.3)).tolist()


def simulator_of(catalogue, environment="focused_topdown", **options):
    return Simulator(catalogue, build({"simulator": options}).environment(environment))


def episodes_of_the_oracle(simulator, n, source):
    """Clicks (n, turns + 1) of the short-term oracle's slates."""
    first = simulator.meet(n, source).clicks.sum(1)
    turns = range(simulator.config.turns)
    later = [simulator.step(np.full((n, 10), -1)).clicks.sum(1) for _ in turns]
    return np.stack([first, *later], axis=1)


def test_the_oracle_earns_what_the_paper_says_on_the_users_of_its_test(shared):
    path = shared / "official" / "item_embeddings_focused.pt"
    if not path.is_file():
        pytest.skip("the authors' item embeddings are not beside the repository")
    earned = dict(oracle_returns.returns({"focused": path}))
    # Published: 107.7.
    assert earned["focused_topdown"].mean() == pytest.approx(107.742, abs=5e-4)


def test_fewer_users_are_the_first_of_more(small_items):
    simulator = simulator_of(small_items, turns=9)
    few, many = (episodes_of_the_oracle(simulator, n, SharedUsers()) for n in (3, 8))
    np.testing.assert_array_equal(few, many[:3])


def test_users_met_one_by_one_are_those_met_together(small_items):
    simulator = simulator_of(small_items, turns=9)
    together = episodes_of_the_oracle(simulator, 6, SharedUsers())
    assert (together[:, 0] == 0).any()  # then the generator makes a call more
    assert (together[:, 0] > 0).any()
    one_by_one = SharedUsers()
    alone = [episodes_of_the_oracle(simulator, 1, one_by_one) for _ in range(6)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    resumed = SharedUsers(offset=0)
    resumed.begin(4, simulator)
    last = episodes_of_the_oracle(simulator, 2, SharedUsers(offset=resumed.offset))
    np.testing.assert_array_equal(together[4:], last)


@pytest.mark.parametrize("source", [SharedUsers, lambda: SeededUsers(np.random.default_rng(3))])
def test_draws_of_many_turns_are_those_turn_by_turn(small_items, source):
    simulator = simulator_of(small_items)
    at_once, by_turn = source(), source()
    for drawn in (at_once, by_turn):
        drawn.begin(3, simulator)
    expected = np.concatenate([by_turn.draw(1), by_turn.draw(2)])
    np.testing.assert_array_equal(at_once.draw(3), expected)


def test_a_draw_equal_to_the_probability_is_a_click_as_on_a_cuda_device():
    words = philox.words(SHARED_SEED, 12 * np.arange(10), np.zeros(10, dtype=np.int64))
    draws, on_device = users._clicks(words), philox.uniform(words[:, 0])
    assert (draws < on_device).all()
    assert (np.nextafter(draws, np.float32(2)) == on_device).all()


def test_shared_users_are_distributed_as_seeded_ones(small_items):
    """Each mean within 5 standard errors."""
    simulator = simulator_of(small_items)
    shared, shared_draws = SharedUsers().begin(4000, simulator)
    seeded, _ = SeededUsers(np.random.default_rng(0)).begin(4000, simulator)
    error = np.sqrt(shared.var(axis=0) / 4000 + seeded.var(axis=0) / 4000)
    assert (abs(shared.mean(axis=0) - seeded.mean(axis=0)) < 5 * error).all()
    assert abs(shared_draws.mean() - 0.5) < 5 / np.sqrt(12 * shared_draws.size)
