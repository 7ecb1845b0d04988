"""The command line: what it makes, and how it tells a user's mistake."""

import json
import re

import pytest
import yaml

from gems import cli
from gems.config import build, reference
from gems.config.paper import ENVIRONMENTS
from gems.data import dataset
from gems.envs import items
from gems.methods import METHODS
from gems.pretraining.models import PRETRAINED

TINY = {
    "results": "out",
    "items": {"count": 60},
    "simulator": {"turns": 4},
    "logging": {"users": 5},
    "training": {
        "episodes": 2,
        "random_episodes": 1,
        "validate_every": 2,
        "validation_users": 2,
        "test_users": 3,
    },
    "device": "cpu",
    "tracking": {"mode": "disabled"},
}


@pytest.fixture
def gems(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder: (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refused(gems, tmp_path):
    """Run a command that must end in status 2 and one line, which is returned, and make nothing."""

    def run(*arguments):
        before = made()
        status, out, err = gems(*arguments)
        assert (status, out) == (2, "")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert made() == before
        return err

    def made():
        """All files, but those that tell of the failure."""
        told = {"logs", ".state"}
        return {p for p in tmp_path.rglob("*") if p.is_file() and not told & {*p.parts}}

    return run


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


def commands(gems):
    """The commands that the help page names, in the order of its list."""
    page = gems("--help")[1]
    return re.findall(r"^    ([a-z]\w*) ", page[page.index("commands:") :], re.MULTILINE)


def test_every_command_has_a_help_page_with_a_sentence(gems):
    assert {"items", "simulate", "pretrain", "train", "table", "figure"} < set(commands(gems))
    for command in commands(gems):
        status, out, _ = gems(command, "--help")
        assert status == 0
        assert out.startswith(f"usage: gems {command}")
        assert re.search(r"^\S.*\.$", out.split("\n\n")[1], re.DOTALL)


def test_help_names_every_method_environment_and_model(gems):
    pages = gems("train", "--help")[1] + gems("pretrain", "--help")[1]
    words = {word.strip(",;") for word in pages.split()}
    assert {*METHODS, *ENVIRONMENTS, *PRETRAINED} <= words


def test_no_command_is_told(refused):
    assert "COMMAND" in refused()


def test_an_unknown_command_is_told_with_all_that_there_are(gems, refused):
    message = refused("trane")
    assert all(command in message for command in commands(gems))


@pytest.mark.parametrize(
    ("typed", "nearest"), [("SAC+GEMS", "SAC+GeMS"), ("SlateQQ", "SlateQ"), ("random", "Random")]
)
def test_an_unknown_method_is_told_with_the_nearest_one(refused, typed, nearest):
    message = refused("train", "--method", typed, "--env", "focused_mix", "--seed", 1)
    assert f"{typed!r} is not a known method, did you mean {nearest!r}?" in message


@pytest.mark.parametrize(
    "command",
    [
        ["simulate"],
        ["pretrain", "--seed", 1],
        ["pretrain", "--model", "mf"],
        ["train", "--method", "Random", "--seed", 1],
    ],
    ids=lambda command: " ".join(map(str, command[:3])),
)
def test_an_unknown_environment_is_told_with_the_nearest_one(refused, command):
    message = refused(*command, "--env", "focused_topdwn")
    assert "is not a known environment, did you mean 'focused_topdown'?" in message


def test_an_unknown_embedding_is_told_with_those_there_are(refused):
    message = refused("items", "--embedding", "focussed")
    assert "focused" in message
    assert "diffuse" in message


@pytest.mark.parametrize("seed", ["-1", "1.5", "one", "", "1e3", str(2**63)])
def test_a_wrong_seed_is_told(refused, seed):
    message = refused("train", "--method", "Random", "--env", "focused_mix", f"--seed={seed}")
    assert f"{seed!r} is not a whole number" in message


@pytest.mark.parametrize("users", ["0", "-3", "some"])
def test_a_wrong_number_of_test_users_is_told(refused, users):
    assert "not a positive number" in refused("evaluate", "run", f"--users={users}")


def test_a_missing_argument_is_told_with_its_name(refused):
    assert "--seed" in refused("train", "--method", "Random", "--env", "focused_mix")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"training": {"episode": 1}}', "did you mean 'training.episodes'"),
        ('{"vae": {"beta": -1}}', "vae.beta"),
        ('{"vae": ', "is not valid YAML"),
        ("none.yaml", "Cannot read the configuration none.yaml"),
    ],
)
def test_a_mistake_in_the_configuration_is_told(refused, config, words):
    assert words in refused("items", "--embedding", "focused", "--config", config)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["simulate", "--env", "diffuse_mix"], "gems items --embedding diffuse"),
        (["pretrain", "--env", "focused_mix", "--seed", 1], "gems simulate --env focused_mix"),
        (["pretrain", "--model", "mf", "--env", "diffuse_mix"], "gems simulate --env diffuse_mix"),
        (
            ["train", "--method", "Random", "--env", "diffuse_topdown", "--seed", 1],
            "gems items --embedding diffuse",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_missing_is_told_with_the_command_that_makes_it(refused, command, hint):
    message = refused(*command)
    assert "does not exist; make it with: " in message
    assert message.endswith(f"{hint}\n")


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("SAC+GeMS", "gems pretrain --model vae --env focused_mix --seed 7"),
        ("SAC+TopK-MF", "gems pretrain --model mf --env focused_mix"),
    ],
)
def test_a_missing_model_is_told_with_the_command_that_makes_it(gems, refused, tiny, method, hint):
    gems("items", "--embedding", "focused", "--config", tiny)
    message = refused(
        *("train", "--method", method, "--env", "focused_mix", "--seed", 7, "--config", tiny)
    )
    assert message.endswith(f"make it with: {hint} --config {tiny}\n")


def test_a_missing_item_table_of_wknn_is_told_under_the_preset_that_needs_it(gems, refused, tiny):
    gems("items", "--embedding", "focused", "--config", tiny)
    train = ("train", "--method", "SAC+WkNN", "--env", "focused_mix", "--seed", 7)
    message = refused(*train, "--config", tiny, "--config", '{"fidelity": "paper"}')
    options = f"""--config {tiny} --config '{{"fidelity": "paper"}}'"""
    assert message.endswith(f"make it with: gems pretrain --model mf --env focused_mix {options}\n")


def test_files_that_are_named_and_missing_are_told(refused):
    assert "none.npy" in refused("simulate", "--env", "focused_mix", "--items", "none.npy")
    assert "none" in refused(
        "pretrain", "--model", "mf", "--env", "focused_mix", "--dataset", "none"
    )
    assert "none is not the folder of a finished run" in refused("evaluate", "none")
    assert "none.json" in refused("table", "none.json", "--output", "table2.csv")


def test_damaged_items_are_told(refused, tmp_path):
    (tmp_path / "items.npy").write_text("no array")
    message = refused("simulate", "--env", "focused_mix", "--items", "items.npy")
    assert "items.npy cannot be read" in message


def test_an_output_that_cannot_be_written_is_told(refused, tmp_path, tiny):
    (tmp_path / "file").write_text("")
    arguments = ("items", "--embedding", "focused", "--config", tiny, "--output", "file/items.npy")
    assert "Cannot write file/items.npy" in refused(*arguments)


def test_items_and_logged_users_are_made_where_the_next_command_looks(gems, tmp_path, tiny):
    assert gems("items", "--embedding", "focused", "--config", tiny)[0] == 0
    made = items.load(tmp_path / "out" / "items" / "focused.npy")
    assert made.embeddings.shape == (60, 20)
    status, out, _ = gems("simulate", "--env", "focused_divpen", "--config", tiny)
    assert (status, out) == (0, "")
    data = dataset.read(tmp_path / "out" / "datasets" / "focused_divpen")
    assert data.packed_slates.shape == (5, 4, 10)
    assert data.meta["environment"] == "focused_divpen"


def test_paths_that_are_given_replace_those_in_the_results_folder(gems, tmp_path, tiny):
    gems("items", "--embedding", "diffuse", "--config", tiny, "--output", "my/items.npy")
    arguments = ("--items", "my/items.npy", "--config", tiny, "--output", "my/data")
    assert gems("simulate", "--env", "diffuse_mix", *arguments)[0] == 0
    assert dataset.read(tmp_path / "my" / "data").users == 5
    assert not (tmp_path / "out" / "datasets").exists()


def test_the_same_commands_give_the_same_bytes(gems, tmp_path, tiny):
    for folder in ("a", "b"):
        override = json.dumps({"results": folder})
        gems("items", "--embedding", "focused", "--config", tiny, "--config", override)
        gems("simulate", "--env", "focused_mix", "--config", tiny, "--config", override)
    for path in [*(tmp_path / "a").rglob("*.npy"), *(tmp_path / "a").rglob("*.json")]:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        if path.name.endswith("provenance.json"):  # tells the time
            continue
        assert path.read_bytes() == other.read_bytes()


def test_the_last_of_several_configurations_wins(gems, tmp_path, tiny):
    override = '{"items": {"count": 70}}'
    gems("items", "--embedding", "focused", "--config", tiny, "--config", override)
    assert len(items.load(tmp_path / "out" / "items" / "focused.npy").embeddings) == 70


def test_a_method_that_does_not_learn_runs_from_items_to_table(gems, tmp_path, tiny):
    gems("items", "--embedding", "focused", "--config", tiny)
    for method in ("Random", "ShortTermOracle"):
        train = ("train", "--method", method, "--env", "focused_mix", "--seed", 7)
        assert gems(*train, "--config", tiny)[0] == 0
    run = tmp_path / "out" / "runs" / "Random_focused_mix_seed7"
    result = json.loads((run / "result.json").read_text())
    assert (result["method"], result["seed"], result["test_users"]) == ("Random", 7, 3)
    status, out, _ = gems("evaluate", run)
    assert status == 0
    assert json.loads(out) == {k: result[k] for k in result if k in json.loads(out)}
    assert {"test_return", "test_standard_error"} < json.loads(out).keys()
    (tmp_path / "out").rename(tmp_path / "moved")
    assert gems("evaluate", "moved/runs/Random_focused_mix_seed7")[:2] == (0, out)
    results = sorted((tmp_path / "moved" / "runs").glob("*/result.json"))
    assert gems("table", *results, "--output", "table2.csv")[0] == 0
    assert (tmp_path / "table2.csv").read_text().count("\n") == 3
    assert "Short-term oracle" in (tmp_path / "table2.md").read_text()


def test_results_behind_a_symbolic_link_find_what_they_were_made_from(gems, tmp_path, tiny):
    """As where the results folder lies on the large disk of a cluster."""
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "deep")
    gems("items", "--embedding", "focused", "--config", tiny, "--output", "mine.npy")
    run = ("--method", "Random", "--env", "focused_mix", "--seed", 7, "--items", "mine.npy")
    assert gems("train", *run, "--config", tiny)[0] == 0
    assert gems("evaluate", "out/runs/Random_focused_mix_seed7")[0] == 0
    status, told, _ = gems("verify", "--config", tiny)
    assert (status, "absent" in told) == (0, False)


def test_options_prints_the_page(gems):
    assert gems("options") == (0, reference.markdown(), "")


def test_an_option_is_set_on_the_command_line_and_wins(gems, tmp_path, tiny):
    items_of = ("items", "--embedding", "focused", "--config", tiny)
    assert gems(*items_of, "--set", "items.count=70", "--set", "items.seed=5")[0] == 0
    made = items.load(tmp_path / "out" / "items" / "focused.npy")
    assert len(made.embeddings) == 70
    assert gems(*items_of, "--set", "items.count=70", "--set", "items.seed=6")[0] == 0
    again = items.load(tmp_path / "out" / "items" / "focused.npy")
    assert (made.embeddings != again.embeddings).any()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("vae.betta=1", "did you mean 'vae.beta'"),
        ("vae.beta", "does not set an option; write SECTION.OPTION=VALUE"),
        ("beta=1", "does not set an option; write SECTION.OPTION=VALUE"),
        ("vae.beta=[", "is not valid YAML"),
        ("vae.beta=-1", "vae.beta"),
        ("training.episodes={}", "training.episodes"),
        ("nothing.beta=1", "'nothing' is not a known option"),
        ("results.x=1", "results"),
    ],
)
def test_a_mistake_in_an_option_on_the_command_line_is_told(refused, setting, words):
    assert words in refused("items", "--embedding", "focused", "--set", setting)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--method", "SAC+GeMS", "--pretrained", "x"), "write NAME=FILE"),
        (("train", "--method", "SAC+GeMS", "--pretrained", "mf=x"), "has no input 'mf'"),
        (("train", "--method", "SAC+GeMS", "--variant", "gama0.0"), "did you mean 'gamma0.0'"),
        (("train", "--method", "Random", "--variant", "gamma0.0"), "changes nothing that Random"),
        (("pretrain", "--model", "vea"), "did you mean 'vae'"),
    ],
)
def test_a_mistake_in_a_name_is_told(refused, arguments, words):
    assert words in refused(*arguments, "--env", "focused_mix", "--seed", 1)


def test_a_model_without_the_seed_that_it_needs_is_told(refused):
    message = refused("pretrain", "--model", "vae", "--env", "focused_mix")
    assert "Each seed has its own vae: give --seed SEED." in message


def test_the_command_for_a_missing_model_has_the_options_of_a_variant(gems, refused, tiny):
    gems("items", "--embedding", "focused", "--config", tiny)
    run = ("train", "--method", "SAC+GeMS", "--env", "focused_mix", "--seed", 7, "--config", tiny)
    message = refused(*run, "--variant", "latentdim16", "--set", "vae.beta=0.5")
    assert message.endswith("--set vae.beta=0.5 --set vae.latent_dim=16\n")
    command = message.split("make it with: gems ")[1].split()
    assert "gems simulate" in refused(*command)


def test_a_run_in_a_folder_of_an_earlier_version_is_not_evaluated(gems, refused, tmp_path, tiny):
    gems("items", "--embedding", "focused", "--config", tiny)
    run = ("--method", "Random", "--env", "focused_mix", "--seed", 7, "--config", tiny)
    assert gems("train", *run, "--output", "run")[0] == 0
    path = tmp_path / "run" / "policy.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"environment": {"name": "focused_mix"}}))
    assert "run was made by an earlier version; make it again" in refused("evaluate", "run")


def test_every_option_of_a_configuration_is_resolved(gems, tmp_path, tiny):
    assert gems("resolve", "--config", tiny)[0] == 0
    resolved = yaml.safe_load((tmp_path / "out" / "configuration.yaml").read_text())
    assert build(resolved) == build(TINY)
    page = (tmp_path / "out" / "configuration.html").read_text()
    assert "training.episodes" in page
