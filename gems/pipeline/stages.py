"""The stages of the pipeline: outputs, inputs, options and code of each, described once.

The command line, the rules of the workflow, provenance, ``gems status`` and ``gems verify`` all
read ``Job``; nothing else defines the paths, inputs or options of a stage.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gems import methods
from gems.analysis import catalogue
from gems.config import Config, build
from gems.config.file_names import collected_files, kept_policy
from gems.config.variants import apply_variant, with_options
from gems.errors import GemsError, unknown
from gems.pipeline.estimates import (
    COLLECT_MS,
    SLATE_MS,
    minutes_of_run,
    minutes_of_slates,
    with_slates_of,
)
from gems.pipeline.job import (
    COLLECTION,
    DATASET,
    FIGURE,
    IMPORT,
    ITEMS,
    PROVENANCE,
    RUN,
    TABLE,
    Job,
    new_job,
)
from gems.pretraining.models import PRETRAINED, Pretrained
from gems.sections import CollectionConfig


def items_job(config: Config, embedding: str) -> Job:
    """The job that makes item embeddings.

    Raises:
        GemsError: ``embedding`` is unknown.
    """
    sources = config.item_embeddings()
    if embedding not in sources:
        raise GemsError(unknown("embedding", embedding, sources))
    source, output = sources[embedding], Path(config.results) / "items" / f"{embedding}.npy"
    return new_job(
        config,
        ITEMS,
        embedding,
        output=output,
        log=f"log_{source.seed}/items/{embedding}",
        identity={"embedding": embedding},
        files=(output,),
        inputs={"source": Path(source.file)} if source.file else {},
        values={"items": source.values()},
        modules=("gems.envs.items",),
        arguments=("items", "--embedding", embedding),
        paths=("--output", str(output)),
    )


def dataset_job(config: Config, env: str) -> Job:
    environment = config.environment(env)
    items = items_job(config, environment.items.name)
    folder = Path(config.results) / "datasets" / env
    names = ("slates.npy", "clicks.npy", "dataset.json")
    return new_job(
        config,
        DATASET,
        env,
        output=folder / "dataset.json",
        log=f"log_{config.logging.seed}/dataset/{env}",
        identity={"environment": env},
        files=tuple(folder / name for name in names),
        inputs={"items": items.output},
        values=config.sections("logging") | {"environment": environment.values()},
        modules=("gems.data.logging_policy", environment.module),
        arguments=("simulate", "--env", env),
        paths=("--items", str(items.output), "--output", str(folder)),
        needs=(items,),
        minutes=minutes_of_slates(config.logging.users, environment, SLATE_MS),
    )


def collection_job(config: Config, name: str, collection: CollectionConfig) -> Job:
    """The job that collects a dataset with the policy of a run.

    The models of this run are pretrained on the logged data of its environment, whatever the option
    ``dataset`` is.

    Raises:
        GemsError: as for ``run_job``.
    """
    collection = _with_episode(collection, config)
    method, env = collection.method, collection.environment
    environment, build_module = config.environment(env), methods.method(method).build.__module__
    run = run_job(_on_dataset(config, None), method, env, collection.seed, collection.variant)
    items, folder = items_job(config, environment.items.name), Path(config.results) / "datasets"
    return new_job(
        config,
        COLLECTION,
        name,
        output=folder / name / "dataset.json",
        log=f"log_{collection.seed}/collection/{name}",
        identity={"name": name, "collection": collection.model_dump(), "options": run.settings},
        files=tuple(folder / name / file for file in collected_files(name)),
        inputs={
            "items": items.output,
            "run": run.output,
            "policy": run.output.with_name(_policy_file(collection)),
        },
        values={"collection": collection.model_dump(), "environment": environment.values()},
        modules=("gems.collection.runs", build_module, environment.module),
        arguments=("collect", name),
        paths=("--run", str(run.output.parent), "--output", str(folder / name)),
        needs=(items, run),
        minutes=minutes_of_slates(collection.users, environment, COLLECT_MS),
    )


def import_job(config: Config, name: str, options: dict[str, Any]) -> Job:
    """The job that imports a dataset with ``options`` of ``gems.import_logs``; no rule makes it."""
    return new_job(
        config,
        IMPORT,
        name,
        output=Path(config.results) / "datasets" / name / "dataset.json",
        log=f"import/{name}",
        identity={"name": name, "options": options},
        modules=("gems.data.import_logs",),
    )


def _with_episode(collection: CollectionConfig, config: Config) -> CollectionConfig:
    """``collection`` with the episode of its ``medium`` policy, which may be the only one kept."""
    if collection.quality != "medium" or collection.episode is not None:
        return collection
    return collection.model_copy(update={"episode": next(iter(config.training.keep), None)})


def _policy_file(collection: CollectionConfig) -> str:
    """Name of the file of the policy that a collection plays, in the folder of its run."""
    return "policy.safetensors" if collection.episode is None else kept_policy(collection.episode)


def _on_dataset(config: Config, name: str | None) -> Config:
    """``config`` with another dataset to pretrain on."""
    return config if config.dataset == name else config.model_copy(update={"dataset": name})


def data_of(config: Config, model: Pretrained, env: str) -> str:
    """What runs in an environment pretrain ``model`` on: a dataset, or the environment's logs."""
    imported = model.source(config, env) is not None
    return env if imported or config.dataset is None else config.dataset


def _data_job(config: Config, data: str) -> Job | None:
    """The job that makes a dataset; None if it is imported."""
    if data in config.known_environments():
        return dataset_job(config, data)
    if data in config.collections:
        return collection_job(config, data, config.collections[data])
    return None


def pretrained_job(config: Config, model: Pretrained, data: str, run_seed: int) -> Job:
    """The job that pretrains a model.

    Args:
        config: the configuration.
        model: the model.
        data: an environment, whose logged data is used, or a collected or imported dataset.
        run_seed: seed of the runs that use the model.
    """
    seed, stem = model.seed(config, run_seed), model.stem(config, data, run_seed)
    weights = Path(config.results) / model.name / f"{stem}.safetensors"
    source = model.source(config, data)
    made = _data_job(config, data) if source is None else None
    folder = Path(config.results) / "datasets" / data
    simulated = data in config.known_environments()
    arguments = ["pretrain", "--model", model.name, "--env" if simulated else "--dataset", data]
    arguments += ["--seed", str(seed)] if model.by_seed else []
    paths = ["--dataset", str(folder)] if simulated and source is None else []
    options = {} if source else model.options_of_name(config, data)
    reports = () if source else model.reports
    return new_job(
        config,
        model.name,
        stem,
        output=weights,
        log=f"log_{seed}/{model.label or model.name}/{model.log_name(config, data)}",
        identity={"environment": data, "seed": seed if model.by_seed else None, "options": options},
        files=tuple(map(weights.with_suffix, (".safetensors", ".json", *reports))),
        inputs={"dataset": folder / "dataset.json"} if source is None else {"source": source},
        values=model.values(config, data),
        modules=(model.module(config, data),),
        arguments=tuple(arguments),
        paths=(*paths, "--output", str(weights)),
        settings=options | ({"dataset": None} if simulated else {}),
        needs=(made,) if made else (),
        minutes=0.0 if source else model.minutes(with_slates_of(config, data)),
    )


def check_dataset(config: Config) -> None:
    """Check that the dataset to pretrain on exists, or that a job makes it.

    Raises:
        GemsError: it does not, and no job does.
    """
    if config.dataset is None or _data_job(config, config.dataset) is not None:
        return
    folder = Path(config.results) / "datasets" / config.dataset
    if not (folder / "dataset.json").is_file():
        raise GemsError(
            f"The dataset {config.dataset} does not exist in {folder.parent}; import it with "
            f"`gems import FILE --name {config.dataset}`, or define it under collections."
        )


def run_job(config: Config, method: str, env: str, seed: int, variant: str = "") -> Job:
    """The job of a run; ``variant`` is "" for a main run.

    Raises:
        GemsError: a name is unknown, or the variant changes nothing for the method.
    """
    entry, config = methods.method(method), apply_variant(config, method, variant)
    items = items_job(config, config.environment(env).items.name)
    data = {name: data_of(config, PRETRAINED[name], env) for name in entry.prerequisites(config)}
    models = {
        name: pretrained_job(config, PRETRAINED[name], where, seed) for name, where in data.items()
    }
    tags = "".join(PRETRAINED[name].tag(config) for name in models)
    options = {k: v for n in models for k, v in PRETRAINED[n].options_of_tag(config).items()}
    if models:
        options["dataset"] = config.dataset if config.dataset in data.values() else None
        tags += f"_on_{options['dataset']}" if options["dataset"] else ""
    name = f"{methods.slug(method)}_{env}{tags}_seed{seed}{f'_{variant}' if variant else ''}"
    folder = Path(config.results) / "runs" / name
    arguments = ["train", "--method", method, "--env", env, "--seed", str(seed)]
    arguments += ["--variant", variant] if variant else []
    paths = ["--items", str(items.output)]
    for model, job in models.items():
        paths += ["--pretrained", f"{model}={job.output}"]
    files = ["result.json", "curve.csv", "turns.csv", "scores.csv"]
    files += ["policy.safetensors", "policy.json"]
    for episode in config.training.keep if entry.trained else ():
        files += [kept_policy(episode), f"policy_{episode}.json"]
    return new_job(
        config,
        RUN,
        name,
        output=folder / "result.json",
        log=f"log_{seed}/{methods.slug(method)}/{env}{tags}{f'_{variant}' if variant else ''}",
        identity={"method": method, "environment": env, "seed": seed}
        | {"variant": variant, "options": options},
        files=tuple(folder / n for n in files),
        inputs={"items": items.output} | {name: job.output for name, job in models.items()},
        values=run_values(config, entry, env),
        modules=("gems.training.run", entry.build.__module__, config.environment(env).module),
        arguments=tuple(arguments),
        paths=(*paths, "--output", str(folder)),
        settings=options,
        needs=(items, *models.values()),
        minutes=minutes_of_run(config, entry, env),
    )


def run_values(config: Config, entry: methods.Method, env: str) -> dict[str, Any]:
    """The options that a run of a method in an environment depends on, by section."""
    sections = [kind.section for kind in entry.options]
    values = config.sections("training", *sections)
    if not entry.trained:
        tested = ("test_users", "users")
        values["training"] = {name: values["training"][name] for name in tested}
    for name in entry.prerequisites(config):
        model = PRETRAINED[name]
        values |= model.values(config, data_of(config, model, env))
    for option in entry.unread:
        section, _, name = option.partition(".")
        values[section].pop(name, None)
    return values | {"environment": config.environment(env).values()}


def analysis_job(
    entry: catalogue.Entry, results: Iterable[Path], output: Path, config: Config | None = None
) -> Job:
    """The job that makes a table or figure from ``results``, the result.json files of its runs.

    With ``config``, the runs are those of the configuration and may not exist yet.
    """
    inputs = {}
    for result in results:
        inputs[str(result)] = result
        for path in map(result.with_name, (PROVENANCE, *entry.reads)):
            if config or path.is_file():
                inputs[str(path)] = path
    return Job(
        entry.kind,
        entry.name,
        output,
        state=Path(),
        log=Path(),
        identity={"name": entry.name},
        files=tuple(output.with_suffix(path.suffix) for path in entry.files),
        inputs=inputs,
        modules=catalogue.modules(entry),
        arguments=(entry.kind, "--name", entry.name),
        paths=("--output", str(output)),
    )


def jobs(config: Config) -> Iterator[Job]:
    """Every job of the main runs and collections of ``config``, once, in the order of stages."""
    runs = [
        run_job(config, method, env, seed)
        for method in config.methods
        for env in config.environments
        for seed in config.seeds
    ]
    collected = [collection_job(config, *item) for item in config.collections.items()]
    order = [ITEMS, DATASET, COLLECTION, *PRETRAINED, RUN]
    by_output: dict[Path, Job] = {}
    for last in (*runs, *collected):
        by_output |= {job.output: job for job in with_needs(last)}
    yield from sorted(by_output.values(), key=lambda job: order.index(job.stage))


def with_needs(job: Job) -> Iterator[Job]:
    """The job, preceded by the jobs that it needs."""
    for need in job.needs:
        yield from with_needs(need)
    yield job


def job_of(config: Config, stage: str, identity: dict[str, Any]) -> Job:
    """The job of a provenance record, as ``config`` defines it now.

    Raises:
        GemsError: the stage, method, environment or variant is unknown.
        KeyError: ``identity`` lacks a field that identifies a job of this stage.
    """
    if stage == ITEMS:
        return items_job(config, identity["embedding"])
    if stage == DATASET:
        return dataset_job(config, identity["environment"])
    if stage == IMPORT:
        return import_job(config, identity["name"], identity["options"])
    if stage in (TABLE, FIGURE):
        known = catalogue.TABLES if stage == TABLE else catalogue.FIGURES
        if identity["name"] not in known:
            raise GemsError(unknown(stage, identity["name"], known))
        return analysis_job(known[identity["name"]], (), Path("output.csv"))
    if identity["options"]:
        config = _with_options(config.model_dump_json(), json.dumps(identity["options"]))
    if stage == COLLECTION:
        name, recorded = identity["name"], identity["collection"]
        collection = config.collections.get(name) or CollectionConfig.model_validate(recorded)
        return collection_job(config, name, collection)
    if stage == RUN:
        return run_job(
            config,
            identity["method"],
            identity["environment"],
            identity["seed"],
            identity["variant"],
        )
    if stage not in PRETRAINED:
        stages = [ITEMS, DATASET, *PRETRAINED, RUN, COLLECTION, TABLE, FIGURE]
        raise GemsError(unknown("stage", stage, stages))
    return pretrained_job(config, PRETRAINED[stage], identity["environment"], identity["seed"] or 0)


@cache
def _with_options(config: str, options: str) -> Config:
    """``with_options`` of JSON texts; cached because hundreds of records have the same options."""
    return with_options(build(json.loads(config)), json.loads(options))


def results_patterns() -> list[str]:
    """Glob patterns, in a results folder, of the main output files of all jobs."""
    models = [f"{name}/*.safetensors" for name in PRETRAINED]
    drawn = [str(entry.path) for entry in catalogue.ENTRIES]
    return ["items/*.npy", "**/dataset.json", *models, "**/result.json", *drawn]
