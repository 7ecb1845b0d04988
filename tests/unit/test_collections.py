"""`collections` and `dataset`: which data models are pretrained on, and under which names."""

import json
import re
from pathlib import Path

import pytest
from options import TINY

from gems.config import build
from gems.errors import GemsError
from gems.methods import METHODS
from gems.pipeline import naming, stages
from gems.pretraining.models import PRETRAINED

ENV = "focused_mix"
MEDIUM = {"method": "SAC+GeMS", "environment": ENV, "seed": 1, "quality": "medium"}
KEPT = {"training": TINY["training"] | {"keep": [3]}}
OPTIONS = {**TINY, **KEPT, "dataset": "medium", "collections": {"medium": MEDIUM}}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return build(OPTIONS | {"methods": ["SAC+GeMS", "SAC+TopK-MF"], "environments": [ENV]})


def vae_of(run):
    (vae,) = [need for need in run.needs if need.stage == "vae"]
    return vae


def test_models_are_pretrained_on_the_dataset_of_the_configuration(config):
    vae = vae_of(stages.run_job(config, "SAC+GeMS", ENV, 2))
    assert [need.name for need in vae.needs] == ["medium"]
    assert vae.inputs["dataset"].parent.name == "medium"


def test_the_policy_of_a_collection_is_pretrained_on_logged_data(config):
    job = stages.collection_job(config, "medium", config.collections["medium"])
    (run,) = [need for need in job.needs if need.stage == "run"]
    assert [need.stage for need in vae_of(run).needs] == ["dataset"]
    assert job.inputs["policy"].name == "policy_3.safetensors"
    assert job.inputs["policy"] in run.files


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", [None, "medium"])
def test_the_name_of_a_run_tells_its_dataset(config, method, dataset):
    on = config.model_copy(update={"dataset": dataset})
    other = config.model_copy(update={"dataset": None if dataset else "medium"})
    job = stages.run_job(on, method, ENV, 2)
    assert naming.run_named(other, job.name) == job
    uses_data = bool(METHODS[method].prerequisites(config))
    assert (stages.run_job(other, method, ENV, 2).name != job.name) == uses_data


def test_a_record_leads_back_to_its_job(config):
    run = stages.run_job(config, "SAC+GeMS", ENV, 2)
    collection = stages.collection_job(config, "medium", config.collections["medium"])
    plain = build(TINY | KEPT)
    for job in (run, collection):
        identity = json.loads(json.dumps(job.identity))
        found = stages.job_of(plain, job.stage, identity)
        assert (found.name, found.values) == (job.name, job.values)


def test_a_record_names_the_policy_that_was_played(config):
    job = stages.collection_job(config, "medium", config.collections["medium"])
    identity = json.loads(json.dumps(job.identity))
    found = stages.job_of(build(TINY), job.stage, identity)
    assert found.inputs["policy"] == job.inputs["policy"]


def test_commands_of_behaviour_policies_do_not_depend_on_the_dataset_option(config):
    job = stages.collection_job(config, "medium", config.collections["medium"])
    for need in stages.with_needs(job):
        if need.stage in (*PRETRAINED, "run"):
            assert "dataset=null" in need.command(config)


def test_status_lists_a_collection_and_what_it_needs(config):
    names = [(job.stage, job.name) for job in stages.jobs(config)]
    assert ("collection", "medium") in names
    assert len(names) == len(set(names))


def test_an_imported_dataset_has_to_exist(config):
    missing = config.model_copy(update={"dataset": "logs"})
    with pytest.raises(GemsError, match=r"import it with `gems import FILE --name logs`"):
        stages.check_dataset(missing)
    folder = Path(config.results) / "datasets" / "logs"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}")
    stages.check_dataset(missing)
    assert not vae_of(stages.run_job(missing, "SAC+GeMS", ENV, 2)).needs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "SAC+GeM"}, "did you mean 'SAC+GeMS'"),
        ({"environment": "mix"}, "environment in collections.x"),
        ({"episode": 2}, "does not keep episode 2"),
        ({"quality": "expert", "episode": 3}, "episode has no effect"),
        ({"quality": "random", "epsilon": 0.1}, "epsilon has no effect"),
        ({"quality": "good"}, "collections.x.quality"),
        ({"users": 1}, "collections.x.users"),
        ({"polices": 1}, "not a known option"),
    ],
)
def test_a_mistake_in_a_collection_is_refused(changes, words):
    with pytest.raises(GemsError, match=re.escape(words)):
        build(TINY | KEPT | {"collections": {"x": MEDIUM | changes}})


def test_a_medium_policy_has_to_be_kept():
    with pytest.raises(GemsError, match=r"set training.keep to the episode"):
        build(TINY | {"collections": {"x": MEDIUM}})


@pytest.mark.parametrize("name", ["focused_mix", "a b", "a_seed", "x_held_out", "on_on_x", "../x"])
def test_a_name_that_files_cannot_have_is_refused(name):
    with pytest.raises(GemsError, match="the dataset name"):
        build(TINY | KEPT | {"collections": {name: MEDIUM}})
