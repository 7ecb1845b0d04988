"""The configuration: defaults, presets, mistakes, and the files generated from it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from options import presets, sections

from gems.config import build, load, paper, reference
from gems.config.variants import with_options
from gems.errors import GemsError
from gems.methods import METHODS, method

ROOT = Path(__file__).parents[2]
PAPER = str(ROOT / "config/paper.yaml")
FIDELITIES = ("released", "paper")
PRESETS = presets()


def refusal(values) -> str:
    """The sentence with which ``values`` are refused."""
    with pytest.raises(GemsError) as raised:
        build(values)
    message = str(raised.value)
    assert message.startswith("In the configuration")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def value(config, section, option):
    return getattr(getattr(config, section), option)


def test_an_empty_configuration_is_the_papers_set_at_a_laptops_scale():
    config = build({})
    assert config.fidelity == "released"
    assert config.methods == list(paper.METHODS)
    assert config.environments == list(paper.ENVIRONMENTS)
    assert set(config.seeds) < set(paper.SEEDS)
    assert config.training.episodes < load([PAPER]).training.episodes


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(("section", "option"), PRESETS)
def test_a_preset_sets_the_option(section, option, fidelity):
    config = build({"fidelity": fidelity})
    assert value(config, section, option) == PRESETS[section, option][fidelity]


@pytest.mark.parametrize(("fidelity", "other"), [FIDELITIES, FIDELITIES[::-1]])
@pytest.mark.parametrize(("section", "option"), PRESETS)
def test_an_option_that_is_set_overrides_its_preset_and_no_other(section, option, fidelity, other):
    chosen = PRESETS[section, option][other]
    config = build({"fidelity": fidelity, section: {option: chosen}})
    for key, values in PRESETS.items():
        expected = chosen if key == (section, option) else values[fidelity]
        assert value(config, *key) == expected


def test_every_option_that_defaults_by_fidelity_is_resolved():
    for fidelity in FIDELITIES:
        config = build({"fidelity": fidelity})
        assert all(value(config, *key) is not None for key in PRESETS)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_resolved_configuration_builds_itself_again(fidelity):
    config = build({"fidelity": fidelity, "vae": {"beta": 0.5}})
    assert build(config.model_dump(mode="json")) == config


def test_sections_are_plain_values_of_those_sections_only():
    config = build({"fidelity": "paper"})
    values = config.sections("wknn", "sac")
    assert list(values) == ["wknn", "sac"]
    assert json.loads(json.dumps(values)) == values
    assert values["wknn"]["item_table"] == "mf"


def test_wknn_needs_matrix_factorisation_only_where_its_item_table_comes_from_it():
    def needs(name, fidelity):
        return method(name).prerequisites(build({"fidelity": fidelity}))

    assert needs("SAC+WkNN", "released") == ()
    assert needs("SAC+WkNN", "paper") == ("mf",)
    assert needs("SAC+GeMS", "paper") == ("vae",)
    assert needs("SAC+TopK-MF", "released") == ("mf",)


def test_options_are_changed_by_their_full_names():
    config = with_options(build({"fidelity": "paper"}), {"vae.beta": "0.5", "vae.epochs": 3})
    assert (config.vae.beta, config.vae.epochs, config.vae.noise) == (0.5, 3, "std")
    assert with_options(config, {}) == config
    with pytest.raises(GemsError, match=r"did you mean 'vae\.beta'"):
        with_options(config, {"vae.betta": 0.5})


@pytest.mark.parametrize(
    ("values", "typed", "nearest"),
    [
        ({"fidelty": "paper"}, "fidelty", "fidelity"),
        ({"enviroments": ["focused_mix"]}, "enviroments", "environments"),
        ({"training": {"episode": 10}}, "training.episode", "training.episodes"),
        ({"vae": {"lamda_click": 0.2}}, "vae.lamda_click", "vae.lambda_click"),
        ({"simulator": {"turn": 5}}, "simulator.turn", "simulator.turns"),
    ],
)
def test_a_mistyped_option_is_told_with_the_nearest_valid_one(values, typed, nearest):
    message = refusal(values)
    assert f"'{typed}' is not a known option, did you mean '{nearest}'?" in message


@pytest.mark.parametrize(
    ("values", "typed", "nearest"),
    [
        ({"methods": ["SAC+GEMS"]}, "SAC+GEMS", "SAC+GeMS"),
        ({"methods": ["Random", "SlateQQ"]}, "SlateQQ", "SlateQ"),
        ({"environments": ["focused-topdown"]}, "focused-topdown", "focused_topdown"),
        ({"environments": ["diffuse_mixed"]}, "diffuse_mixed", "diffuse_mix"),
        ({"items": {"files": {"focussed": "a.npy"}}}, "focussed", "focused"),
        ({"mf": {"files": {"focused_mixed": "a.npy"}}}, "focused_mixed", "focused_mix"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_valid_one(values, typed, nearest):
    message = refusal(values)
    assert f"{typed!r} is not a known" in message
    assert f"did you mean {nearest!r}?" in message


def test_a_name_like_no_other_is_told_with_all_that_are_allowed():
    message = refusal({"methods": ["xyz"]})
    assert "did you mean" not in message
    assert all(name in message for name in METHODS)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("items.count", 9),
        ("items.count", 1_000_001),
        ("items.focused_peakedness", 0),
        ("simulator.turns", 0),
        ("simulator.examination_decay", 1.5),
        ("simulator.diversity_penalty", 0.5),
        ("simulator.relevance_threshold", float("nan")),
        ("simulator.user_norm", "l1"),
        ("logging.users", 0),
        ("logging.users", "many"),
        ("logging.epsilon", 1.1),
        ("logging.epsilon", -0.1),
        ("logging.seed", -1),
        ("vae.beta", -1),
        ("vae.beta", float("inf")),
        ("vae.noise", "sigma"),
        ("vae.validation_fraction", 1),
        ("mf.learning_rate", 0),
        ("agent.gamma", 1.01),
        ("sac.tau", 2),
        ("training.episodes", 10.5),
        ("training.test_users", 0),
        ("tracking.mode", "online"),
        ("device", "gpu"),
        ("fidelity", "exact"),
        ("results", ""),
        ("methods", []),
        ("methods", "SAC+GeMS"),
        ("environments", []),
        ("seeds", []),
        ("training", None),
        ("training", [1]),
    ],
)
def test_a_value_that_is_not_allowed_is_told_with_its_option(option, wrong):
    section, _, name = option.rpartition(".")
    assert f"{option}: " in refusal({section: {name: wrong}} if section else {name: wrong})


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "one", None])
def test_a_wrong_seed_is_told(seed):
    assert "seeds.1" in refusal({"seeds": [1, seed]})


@pytest.mark.parametrize(
    ("field", "name"),
    [("seeds", 1), ("methods", "Random"), ("environments", "focused_mix")],
)
def test_what_is_named_twice_is_told(field, name):
    assert f"{field} must not contain duplicates" in refusal({field: [name, name]})


def test_options_that_contradict_each_other_are_told():
    training = {"episodes": 100, "random_episodes": 101, "validate_every": 50}
    assert "random_episodes must not exceed episodes" in refusal({"training": training})
    training = {"episodes": 100, "random_episodes": 0, "validate_every": 30}
    assert "episodes must be a multiple of validate_every" in refusal({"training": training})


names = st.sampled_from([*build({}).model_dump(), "fidelty", "x"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | names, inner),
    max_leaves=6,
)


@given(st.dictionaries(names, anything, max_size=3))
def test_whatever_the_values_a_configuration_is_built_or_refused_in_one_sentence(values):
    message = ""
    try:
        build(values)
    except GemsError as error:
        message = str(error)
    assert re.fullmatch(r"(In the configuration.*\.)?", message)


def test_sources_are_merged_section_by_section_and_the_last_one_wins(tmp_path):
    (tmp_path / "a.yaml").write_text("seeds: [1, 2]\nvae: {beta: 0.1, epochs: 3}\n")
    (tmp_path / "b.json").write_text('{"vae": {"beta": 0.2}, "fidelity": "paper"}')
    text = '{"vae": {"lambda_click": 0.0}, "seeds": [3]}'
    config = load([str(tmp_path / "a.yaml"), str(tmp_path / "b.json"), text])
    assert (config.vae.beta, config.vae.epochs, config.vae.lambda_click) == (0.2, 3, 0.0)
    assert config.seeds == [3]
    assert config.fidelity == "paper"
    assert config.vae.noise == "std"


def test_no_source_and_an_empty_file_give_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load([]) == load([str(tmp_path / "empty.yaml")]) == build({})


@pytest.mark.parametrize(
    "content",
    [b"vae: [1", b"a: b: c", b"\tvae: 1", b"\xff\xfe\x00", b"- 1\n- 2\n", b"words", b"1", b"a\0b"],
)
def test_a_file_that_is_no_mapping_in_yaml_is_told_in_one_sentence(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(GemsError, match=r"The configuration .*config\.yaml ") as raised:
        load([str(tmp_path / "config.yaml")])
    assert re.fullmatch(
        r"The configuration \S+ (is not valid YAML|must be .*)\.", str(raised.value)
    )


def test_options_that_are_no_words_are_told(tmp_path):
    (tmp_path / "config.yaml").write_text("1: 2\n")
    with pytest.raises(GemsError, match="In the configuration"):
        load([str(tmp_path / "config.yaml")])


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(GemsError, match=r"Cannot read .*none\.yaml: No such file"):
        load([str(tmp_path / "none.yaml")])
    with pytest.raises(GemsError, match=r"Cannot read .*: Is a directory"):
        load([str(tmp_path)])


@pytest.mark.parametrize("text", ['{"vae": ', '{"vae":\n  [1}'])
def test_a_broken_json_text_is_told_in_one_line(text):
    with pytest.raises(GemsError, match="is not valid YAML") as raised:
        load([text])
    assert "\n" not in str(raised.value)


def test_the_page_of_options_is_generated_from_the_code():
    assert (ROOT / "config/README.md").read_text() == reference.markdown()


def test_every_option_has_a_sentence_of_its_own():
    page = reference.markdown()
    for name, field in type(build({})).model_fields.items():
        assert f"## {name}" in page or field.description in page
    for section in sections().values():
        for option, field in type(section).model_fields.items():
            assert re.search(rf"\| `{option}` \| .+ \| .+\. \|", page), field


def test_the_default_configuration_is_what_is_shipped_as_config_yaml():
    assert load([str(ROOT / "config/config.yaml")]) == build({})


def test_the_configuration_of_the_paper_has_480_runs_of_100000_episodes():
    for config in (load([PAPER]), load([str(ROOT / "config/config.yaml"), PAPER])):
        assert config.methods == list(paper.METHODS)
        assert config.environments == list(paper.ENVIRONMENTS)
        assert config.seeds == list(paper.SEEDS)
        assert len(config.methods) * len(config.environments) * len(config.seeds) == 480
        training = config.training
        assert (training.episodes, training.random_episodes) == (100_000, 2000)
        assert (training.validate_every, training.validation_users) == (1000, 200)
        assert training.test_users == 500
        assert (config.logging.users, config.vae.epochs) == (100_000, 10)


def test_models_and_agents_of_the_papers_configuration_are_those_of_the_paper():
    config = load([PAPER])
    vae, sac, simulator = config.vae, config.sac, config.simulator
    assert (vae.latent_dim, vae.beta, vae.lambda_click, vae.batch_slates) == (32, 1.0, 0.5, 256)
    assert (sac.q_lr, sac.policy_lr, sac.tau, sac.initial_alpha) == (1e-3, 3e-3, 0.002, 0.2)
    assert (config.agent.gamma, config.agent.hidden_dim, config.agent.state_dim) == (0.8, 256, 20)
    assert (simulator.turns, simulator.relevance_threshold, simulator.sharpness) == (100, 0.28, 100)
    assert (config.items.count, config.logging.epsilon) == (1000, 0.5)
    assert (config.mf.dim, config.mf.learning_rate, config.mf.patience) == (20, 1e-4, 3)
    assert (config.training.batch_episodes, config.training.replay_episodes) == (20, 10_000)
