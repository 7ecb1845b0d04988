"""Variants: the named overrides of a run, by hand and in names."""

import json

import pytest
import yaml

from gems.cli import main
from gems.config import build, variants
from gems.errors import GemsError
from gems.methods import METHODS
from gems.pipeline import comparisons
from gems.pipeline.naming import run_named
from gems.pipeline.stages import run_job, run_values


def test_the_variant_is_the_last_part_of_the_name_of_a_run():
    name = "SAC_GeMS_focused_mix_KL1.0_click0.5_seed3"
    run = "SAC+GeMS", "focused_mix", 3
    assert run_job(build({}), *run).name == name
    assert run_job(build({}), *run, "gamma0.0").name == f"{name}_gamma0.0"
    assert run_named(build({}), f"{name}_gamma0.0") == run_job(build({}), *run, "gamma0.0")


OWN = {"mine": {"sac": {"q_lr": 0.01}, "agent": {"gamma": 0.5}}}


@pytest.mark.parametrize("variant", variants.names(build({"variants": OWN})))
@pytest.mark.parametrize("method", list(METHODS))
def test_a_variant_changes_its_own_options_and_no_other(method, variant):
    config, entry = build({"fidelity": "released", "variants": OWN}), METHODS[method]
    read = run_values(config, entry, "focused_mix")
    overrides = variants.overrides_of(config, variant)
    if not any(section in read for section in overrides):
        with pytest.raises(GemsError, match=f"Variant {variant} changes nothing that"):
            variants.apply_variant(config, method, variant)
        return
    changed = run_values(variants.apply_variant(config, method, variant), entry, "focused_mix")
    for section in changed.keys() & read.keys():
        options = overrides.get(section, {})
        expected = read[section] | {k: v for k, v in options.items() if k in read[section]}
        assert changed[section] == expected


def test_an_unknown_variant_is_told_with_those_that_exist():
    with pytest.raises(GemsError, match=r"did you mean 'gamma0\.0'"):
        variants.apply_variant(build({}), "SAC+GeMS", "gamma0")


def side(options, method):
    """The variants of the audit that are made for a method, "" for a main run."""
    config = build(options | {"environments": ["focused_mix"], "seeds": [3]})
    return [
        run.identity["variant"]
        for run in comparisons.audit(config)
        if run.identity["method"] == method
    ]


RELEASED, PAPER = "releasedbaseline", "paperbaseline"


@pytest.mark.parametrize(
    ("options", "method", "expected"),
    [
        ({}, "SlateQ", ["", PAPER]),
        ({"fidelity": "paper"}, "SlateQ", [RELEASED, ""]),
        ({"slateq": {"credit": "chosen"}}, "SlateQ", [RELEASED, PAPER]),
        ({"wknn": {"credit": "chosen"}}, "SlateQ", ["", PAPER]),
        ({}, "SAC+TopK-MF", ["", PAPER]),
        ({"mf": {"validation": "held_out"}}, "SAC+TopK-MF", [RELEASED, ""]),
    ],
)
def test_the_side_that_the_configuration_follows_is_the_main_run(options, method, expected):
    assert side(options, method) == expected


@pytest.mark.parametrize(
    ("options", "run_set", "expected"),
    [
        ({}, comparisons.figure3, {"", "latentdim16"}),
        ({"vae": {"latent_dim": 16}}, comparisons.figure3, {"", "latentdim32"}),
        ({}, comparisons.figure2, {"", "gamma0.0"}),
        ({"agent": {"gamma": 0}}, comparisons.figure2, {""}),
    ],
)
def test_a_variant_that_the_configuration_is_already_is_the_main_run(options, run_set, expected):
    assert {run.identity["variant"] for run in run_set(build(options))} == expected


def test_the_corrected_wolpertinger_baseline_needs_matrix_factorisation():
    config, wknn = build({}), METHODS["SAC+WkNN"]
    assert wknn.prerequisites(config) == ()
    corrected = variants.apply_variant(config, "SAC+WkNN", "paperbaseline")
    assert wknn.prerequisites(corrected) == ("mf",)
    run = run_job(config, "SAC+WkNN", "focused_mix", 1, "paperbaseline")
    assert run.inputs["mf"].stem == "focused_mix_held_out"


@pytest.fixture
def by_hand(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    values = {
        "results": str(tmp_path / "results"),
        "items": {"count": 60},
        "simulator": {"turns": 5},
        "training": {
            "episodes": 2,
            "random_episodes": 1,
            "validate_every": 1,
            "validation_users": 2,
            "test_users": 3,
            "batch_episodes": 1,
        },
        "tracking": {"mode": "disabled"},
    }
    config.write_text(yaml.safe_dump(values))

    def run(*arguments):
        status = main([*arguments, "--config", str(config)])
        return status, capsys.readouterr().err

    return run


def test_a_variant_is_trained_by_hand(by_hand, tmp_path):
    assert by_hand("items", "--embedding", "focused")[0] == 0
    where = ["--env", "focused_mix", "--seed", "3"]
    status, error = by_hand("train", "--method", "SlateQ", "--variant", "paperbaseline", *where)
    assert (status, error.count("gems: error")) == (0, 0)
    folder = tmp_path / "results" / "runs" / "SlateQ_focused_mix_seed3_paperbaseline"
    saved = json.loads((folder / "policy.json").read_text())
    assert saved["config"]["slateq"]["credit"] == "chosen"
    assert by_hand("verify")[0] == 0


def test_an_item_table_validated_otherwise_has_a_name_of_its_own(by_hand, tmp_path):
    where = ["--env", "focused_mix"]
    by_hand("items", "--embedding", "focused")
    by_hand("simulate", *where, "--config", '{"logging": {"users": 20}}')
    quick = {"validate_every": 5, "patience": 1}
    train = ["train", "--method", "SAC+TopK-MF", *where, "--seed", "3", "--variant"]
    status, error = by_hand(*train, "paperbaseline")
    assert status == 2
    assert (
        "focused_mix_held_out.safetensors does not exist; make it with: gems pretrain --model mf"
        in error
    )
    assert "--set mf.validation=held_out" in error
    for validation, name in (("learns", "focused_mix"), ("held_out", "focused_mix_held_out")):
        mf = json.dumps({"mf": {"validation": validation, **quick}})
        assert by_hand("pretrain", "--model", "mf", *where, "--config", mf)[0] == 0
        assert (tmp_path / "results" / "mf" / f"{name}.safetensors").is_file()
    assert by_hand(*train, "paperbaseline")[0] == 0
    run = tmp_path / "results" / "runs" / "SAC_TopK_MF_focused_mix_seed3_paperbaseline"
    saved = json.loads((run / "provenance.json").read_text())
    assert "../../mf/focused_mix_held_out.safetensors" in saved["inputs"]
    assert saved["config"]["mf"]["validation"] == "held_out"


def test_what_a_variant_misses_is_told_with_the_command_that_makes_it(by_hand):
    by_hand("items", "--embedding", "focused")
    where = ["--env", "focused_mix", "--seed", "3"]
    status, error = by_hand("train", "--method", "SAC+GeMS", "--variant", "latentdim16", *where)
    assert status == 2
    assert "latentdim16_beta1.0" in error
    assert "--set vae.latent_dim=16" in error


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"figure2_environment": "focused"}, "'focused' is not a known environment"),
        ({"audit_environments": ["x"]}, "'x' is not a known environment"),
        ({"betas": [1.0, 1.0]}, "analysis.betas must not contain duplicates"),
        ({"seeds": [1, 1]}, "analysis.seeds must not contain duplicates"),
        ({"lambdas": [-1]}, "analysis.lambdas"),
    ],
)
def test_an_error_in_the_options_of_the_analysis_is_one_sentence(options, sentence):
    with pytest.raises(GemsError, match=sentence) as raised:
        build({"analysis": options})
    assert "\n" not in str(raised.value)


def test_the_analysis_follows_the_seeds_and_environments_of_the_configuration():
    config = build({"seeds": [4, 5], "environments": ["diffuse_mix"]})
    assert config.analysis.seeds == [4, 5]
    assert config.analysis.audit_environments == ["diffuse_mix"]
