"""The plain simulator and its compiled twin agree, in any environment, with any click model."""

import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gems import kernels
from gems.config import build
from gems.config.paper import ENVIRONMENTS
from gems.data.replay import Batch
from gems.envs import items
from gems.envs.click_models import LogisticClickModel
from gems.envs.simulator import Simulator
from gems.envs.users import SeededUsers, SharedUsers
from gems.methods import METHODS, Context
from gems.training.rollout import rollout

# Sizes of the paper, a small environment, and dimensions that are no multiple of 4.
SIZES = [(10, 10, 2), (5, 8, 3), (7, 5, 3)]
CASCADE = dedent(
    '''
    """Users look from the top, and stop after a click with some probability."""

    from pydantic import Field

    from gems.sections import Fraction, Section
    from gems.envs.click_models import ClickModel, logistic


    class CascadeOptions(Section):
        stops: Fraction = Field(0.5, description="Probability to stop after a click.")


    class Cascade(ClickModel):
        name = "cascade"
        Options = CascadeOptions

        def __init__(self, options, simulator, topics):
            self.stops, self.simulator = options.stops, simulator

        def relevance(self, scores):
            simulator = self.simulator
            return logistic(simulator.sharpness * (scores - simulator.relevance_threshold))

        def click_probabilities(self, scores, main_topics):
            relevance = self.relevance(scores)
            goes_on = 1 - self.stops * relevance
            return relevance * goes_on.cumprod(-1) / goes_on
    '''
)


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    """A file with a click model of one's own."""
    path = tmp_path_factory.mktemp("extension") / "cascade_clicks.py"
    path.write_text(CASCADE)
    return str(path)


def both(catalogue, environment):
    """The simulator, compiled and plain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMS_KERNELS", "off")
        plain = Simulator(catalogue, environment)
    compiled = Simulator(catalogue, environment)
    assert (plain.compiled, compiled.compiled) == (False, True)
    return plain, compiled


def config_of(sizes, fidelity="released", **options):
    slate_size, topics, topic_dim = sizes
    sized = {"slate_size": slate_size, "turns": 20, "boredom_threshold": 3}
    return build(
        {
            "fidelity": fidelity,
            "items": {"count": 60, "topics": topics, "topic_dim": topic_dim},
            "simulator": sized,
            **options,
        }
    )


@settings(max_examples=40)
@given(
    sizes=st.sampled_from(SIZES),
    env=st.sampled_from(ENVIRONMENTS),
    fidelity=st.sampled_from(["released", "paper"]),
    seed=st.integers(0, 2**32),
)
def test_the_plain_and_the_compiled_simulator_play_the_same_episodes(sizes, env, fidelity, seed):
    config = config_of(sizes, fidelity)
    environment = config.environment(env)
    simulators = both(items.make(environment.items.name, config), environment)
    seen = [sim.reset(4, np.random.default_rng(seed)) for sim in simulators]
    rng, slates, clicks = np.random.default_rng(seed), [seen[0].slates], [seen[0].clicks]
    for _ in range(20):
        for name in ("slates", "clicks", "bored", "was_bored"):
            np.testing.assert_array_equal(*(getattr(one, name) for one in seen))
        np.testing.assert_allclose(seen[0].users, seen[1].users, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(simulators[0].scores, simulators[1].scores, atol=1e-6)
        np.testing.assert_array_equal(*(sim.oracle_slates() for sim in simulators))
        asked = rng.integers(-1, 60, (4, sizes[0]))
        asked[rng.random(asked.shape) < 0.5] = -1
        uniforms = rng.random(asked.shape, dtype=np.float32)
        seen = [sim.advance(asked, uniforms) for sim in simulators]
        slates.append(seen[0].slates)
        clicks.append(seen[0].clicks)
    recorded = np.stack(slates, axis=1), np.stack(clicks, axis=1)
    np.testing.assert_array_equal(*(sim.boredom(*recorded) for sim in simulators))


def test_shared_users_are_the_same_whichever_simulator_meets_them(small_items):
    plain, compiled = both(small_items, build({}).environment("focused_mix"))
    for source in (SharedUsers, lambda: SeededUsers(np.random.default_rng(0))):
        for one, other in zip(plain.meet(9, source()), compiled.meet(9, source()), strict=True):
            np.testing.assert_array_equal(one, other)


def test_numba_is_imported_neither_by_environments_nor_by_data_nor_with_kernels_off():
    code = """
        import os, sys
        import numpy as np
        from gems.config import build
        from gems.data import dataset, logging_policy, replay
        from gems.envs import items, simulator
        config = build({"items": {"count": 40}})
        catalogue = items.make("focused", config)
        os.environ["GEMS_KERNELS"] = "off"
        made = simulator.Simulator(catalogue, config.environment("focused_mix"))
        made.reset(2, np.random.default_rng(0))
        made.step(made.oracle_slates())
        sys.exit("numba" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", dedent(code)], check=False).returncode == 0


def test_a_click_model_of_ones_own_is_played_by_the_plain_simulator(cascade, small_items):
    custom = {"cascade": {"click_model": {"kind": "cascade", "stops": 0.9}}}
    config = build({"extensions": [cascade], "custom_environments": custom})
    sim = Simulator(small_items, config.environment("cascade"))
    assert not sim.compiled
    sim.reset(500, np.random.default_rng(0))
    clicks = sim.step(sim.oracle_slates()).clicks
    relevance = 1 / (1 + np.exp(-100 * (sim.scores.astype(float) - 0.28)))
    reached = np.cumprod(np.c_[np.ones(500), 1 - 0.9 * relevance[:, :-1]], axis=1)
    expected = relevance * reached
    error = (expected * (1 - expected)).sum() ** 0.5
    assert abs(clicks.sum() - expected.sum()) < 4 * error


def test_a_click_model_computes_the_same_of_tensors_as_of_arrays(cascade):
    custom = {"c": {"click_model": {"kind": "cascade"}}}
    config = build({"extensions": [cascade], "custom_environments": custom})
    rng = np.random.default_rng(0)
    scores = rng.random((50, 10), dtype=np.float32)
    topics = rng.integers(0, 4, (50, 10))
    for name in ("c", "focused_divpen"):
        sim = Simulator(items.generate(1, "focused", 40, 1.0), config.environment(name))
        of_arrays = sim.click_model.click_probabilities(scores, topics)
        tensors = torch.from_numpy(scores), torch.from_numpy(topics)
        of_tensors = sim.click_model.click_probabilities(*tensors)
        assert of_arrays.dtype == np.float32
        np.testing.assert_allclose(of_arrays, of_tensors.numpy(), rtol=1e-5)


@pytest.mark.parametrize("fidelity", ["released", "paper"])
def test_slateq_is_told_a_click_model_of_ones_own(cascade, small_items, fidelity):
    custom = {"c": {"click_model": {"kind": "cascade"}, "simulator": {"turns": 5}}}
    values = {"extensions": [cascade], "custom_environments": custom, "fidelity": fidelity}
    config = build({**values, "slateq": {"epsilon_start": 0}})
    sim = Simulator(small_items, config.environment("c"))
    torch.manual_seed(0)
    learner = METHODS["SlateQ"].build(Context(config, sim, "c", {}))
    told, scores = learner.policy.clicks, torch.rand(30, 10)
    slates = torch.randint(60, (30, 10))
    expected = sim.click_model.click_probabilities(scores.numpy(), slates.numpy() % 10)
    found = told.click_probabilities(slates, scores)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    episodes = rollout(learner.policy, sim, 1, "explore", 1, "test")
    figures = learner.update(Batch.of(episodes, torch.device("cpu")), torch.Generator())
    assert np.isfinite(figures["loss"])


def test_a_subclass_that_computes_something_else_has_no_compiled_twin():
    class Sharper(LogisticClickModel):
        def relevance(self, scores):
            return super().relevance(scores) ** 2

    class Same(LogisticClickModel):
        compiled = LogisticClickModel.compiled

    environment = build({}).environment("focused_mix")
    made = [
        kind(environment.click_options, environment.simulator, 10)
        for kind in (LogisticClickModel, Same, Sharper)
    ]
    assert [kernels.twin_of(model) is not None for model in made] == [True, True, False]


@pytest.mark.parametrize("topics", [3, 8])
@pytest.mark.parametrize("size", [3, 8, 20])
def test_the_first_slate_goes_round_the_topics_with_the_next_best_item_of_each(size, topics):
    catalogue = items.generate(1, "focused", 60, 1.0, topics, 3)
    order = np.argsort(-catalogue.topic_norms, axis=0, kind="stable")
    expected = [order[slot // topics, slot % topics] for slot in range(size)]
    assert catalogue.first_slate(size).tolist() == expected
