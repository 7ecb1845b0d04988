"""The stages of the pipeline: outputs, inputs, options and code of each, described once.

The command line, the rules of the workflow, provenance, ``gems status`` and ``gems verify`` all
read ``Job``; nothing else defines the paths, inputs or options of a stage.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gems import methods
from gems.analysis import catalogue
from gems.config import Config, build
from gems.config.variants import apply_variant, with_options
from gems.errors import GemsError, unknown
from gems.pipeline.digest import code_digest, value_digest
from gems.pretraining.models import PRETRAINED, Pretrained
from gems.runtime.files import sha256

# Stages in the order of the pipeline; pretrained models come between datasets and runs.
ITEMS, DATASET, RUN, TABLE, FIGURE = "items", "dataset", "run", "table", "figure"
# File name, or its end, of the record beside each result.
PROVENANCE = "provenance.json"
# Milliseconds per logged slate on one core.
SLATE_MS = 0.003
_FOLDERS = {ITEMS: "items", DATASET: "datasets", RUN: "runs"}


@dataclass(frozen=True)
class Job:
    """One job of the pipeline.

    Attributes:
        stage: ``items``, ``dataset``, the name of a pretrained model, ``run``, ``table`` or
            ``figure``.
        name: unique within the stage; a run has the same name in the tracker.
        identity: environment, method, seed, ...; ``job_of`` takes it.
        output: the file that is written last; the job is done if it exists.
        files: all files that it writes.
        state: folder of its training state and of ``progress.json``.
        log: path of its log without ``_DATE.log``.
        inputs: input files by name.
        values: the options that it depends on, by section, resolved.
        modules: modules whose code it executes; their imports count too.
        arguments: arguments of its ``gems`` command, without paths and configuration.
        paths: arguments of the command that name its inputs and its output.
        settings: options that are part of its name, by their full names.
        needs: the jobs that make its inputs.
        minutes: estimated run time on one core.
    """

    stage: str
    name: str
    output: Path
    state: Path
    log: Path
    identity: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    inputs: dict[str, Path] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    needs: tuple["Job", ...] = ()
    minutes: float = 0.0

    @property
    def folder(self) -> str:
        return _FOLDERS.get(self.stage, self.stage)

    @property
    def progress(self) -> Path:
        """File of its progress while it runs, and of how it ended if it did not finish."""
        return self.state / "progress.json"

    def code(self) -> str:
        return code_digest(*self.modules)

    @property
    def input_files(self) -> tuple[Path, ...]:
        """Its inputs, and the JSON files beside the weights of pretrained models."""
        models = [path for name, path in self.inputs.items() if name in PRETRAINED]
        return (*self.inputs.values(), *(path.with_suffix(".json") for path in models))

    def fingerprint(self) -> str:
        """Digest of its code, its options and the contents of its inputs."""
        contents = [sha256(path) for path in self.input_files]
        return value_digest([self.stage, self.identity, self.values, self.code(), contents])

    def command(
        self, config: Config, *sources: str, paths: bool = False, settings: Iterable[str] = ()
    ) -> str:
        """The ``gems`` command that makes it.

        Args:
            config: the configuration that the command reads.
            sources: values of ``--config``.
            paths: whether to name inputs and output; by default the configuration decides.
            settings: values of ``--set``.
        """
        values = config.sections(*{name.split(".")[0] for name in self.settings})
        changed = [
            f"{name}={value}"
            for name, value in self.settings.items()
            for section, _, option in [name.partition(".")]
            if value != values[section][option]
        ]
        parts = ["gems", *self.arguments, *(self.paths if paths else ())]
        parts += [part for source in sources for part in ("--config", source)]
        parts += [part for option in (*settings, *changed) for part in ("--set", option)]
        return shlex.join(parts)


def _job(config: Config, stage: str, name: str, *, output: Path, log: str, **rest: Any) -> Job:
    folder = _FOLDERS.get(stage, stage)
    state = Path(config.results) / ".state" / folder / name
    return Job(stage, name, output, state, Path(str(config.logs)) / log, **rest)


def items_job(config: Config, embedding: str) -> Job:
    """The job that makes item embeddings.

    Raises:
        GemsError: ``embedding`` is unknown.
    """
    sources = config.item_embeddings()
    if embedding not in sources:
        raise GemsError(unknown("embedding", embedding, sources))
    source, output = sources[embedding], Path(config.results) / "items" / f"{embedding}.npy"
    return _job(
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
    return _job(
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
        minutes=config.logging.users * environment.simulator.turns * SLATE_MS / 60_000,
    )


def pretrained_job(config: Config, model: Pretrained, env: str, run_seed: int) -> Job:
    seed, stem = model.seed(config, run_seed), model.stem(config, env, run_seed)
    weights = Path(config.results) / model.name / f"{stem}.safetensors"
    config.environment(env)
    source = model.source(config, env)
    data = dataset_job(config, env) if source is None else None
    arguments = ["pretrain", "--model", model.name, "--env", env]
    arguments += ["--seed", str(seed)] if model.by_seed else []
    paths = ["--dataset", str(data.output.parent)] if data else []
    options = {} if source else model.options_of_name(config, env)
    return _job(
        config,
        model.name,
        stem,
        output=weights,
        log=f"log_{seed}/{model.label or model.name}/{model.log_name(config, env)}",
        identity={"environment": env, "seed": seed if model.by_seed else None, "options": options},
        files=(weights, weights.with_suffix(".json")),
        inputs={"dataset": data.output} if data else {"source": Path(str(source))},
        values=model.values(config, env),
        modules=(model.module(config, env),),
        arguments=tuple(arguments),
        paths=(*paths, "--output", str(weights)),
        settings=options,
        needs=(data,) if data else (),
        minutes=model.minutes(config) if data else 0.0,
    )


def run_job(config: Config, method: str, env: str, seed: int, variant: str = "") -> Job:
    """The job of a run; ``variant`` is "" for a main run.

    Raises:
        GemsError: a name is unknown, or the variant changes nothing for the method.
    """
    entry, config = methods.method(method), apply_variant(config, method, variant)
    items = items_job(config, config.environment(env).items.name)
    models = {
        name: pretrained_job(config, PRETRAINED[name], env, seed)
        for name in entry.prerequisites(config)
    }
    tags = "".join(PRETRAINED[name].tag(config) for name in models)
    options = {k: v for n in models for k, v in PRETRAINED[n].options_of_tag(config).items()}
    name = f"{methods.slug(method)}_{env}{tags}_seed{seed}{f'_{variant}' if variant else ''}"
    folder = Path(config.results) / "runs" / name
    arguments = ["train", "--method", method, "--env", env, "--seed", str(seed)]
    arguments += ["--variant", variant] if variant else []
    paths = ["--items", str(items.output)]
    for model, job in models.items():
        paths += ["--pretrained", f"{model}={job.output}"]
    files = ("result.json", "curve.csv", "turns.csv", "scores.csv")
    return _job(
        config,
        RUN,
        name,
        output=folder / "result.json",
        log=f"log_{seed}/{methods.slug(method)}/{env}{tags}{f'_{variant}' if variant else ''}",
        identity={"method": method, "environment": env, "seed": seed}
        | {"variant": variant, "options": options},
        files=tuple(folder / n for n in (*files, "policy.safetensors", "policy.json")),
        inputs={"items": items.output} | {name: job.output for name, job in models.items()},
        values=run_values(config, entry, env),
        modules=("gems.training.run", entry.build.__module__, config.environment(env).module),
        arguments=tuple(arguments),
        paths=(*paths, "--output", str(folder)),
        settings=options,
        needs=(items, *models.values()),
        minutes=_minutes_of_run(config, entry, env),
    )


def _minutes_of_run(config: Config, entry: methods.Method, env: str) -> float:
    episodes = config.training.episodes if entry.trained else 0
    return episodes * config.environment(env).simulator.turns / 100 * entry.episode_ms / 60_000


def run_values(config: Config, entry: methods.Method, env: str) -> dict[str, Any]:
    """The options that a run of a method in an environment depends on, by section."""
    sections = [kind.section for kind in entry.options]
    values = config.sections("training", *sections)
    if not entry.trained:
        tested = ("test_users", "users")
        values["training"] = {name: values["training"][name] for name in tested}
    for name in entry.prerequisites(config):
        values |= PRETRAINED[name].values(config, env)
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
    """Every job that the main runs of ``config`` need, once, in the order of the pipeline."""
    runs = [
        run_job(config, method, env, seed)
        for method in config.methods
        for env in config.environments
        for seed in config.seeds
    ]
    order = [ITEMS, DATASET, *PRETRAINED, RUN]
    by_output: dict[Path, Job] = {}
    for run in runs:
        by_output |= {job.output: job for job in with_needs(run)}
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
    if stage in (TABLE, FIGURE):
        known = catalogue.TABLES if stage == TABLE else catalogue.FIGURES
        if identity["name"] not in known:
            raise GemsError(unknown(stage, identity["name"], known))
        return analysis_job(known[identity["name"]], (), Path("output.csv"))
    if identity["options"]:
        config = _with_options(config.model_dump_json(), json.dumps(identity["options"]))
    if stage == RUN:
        return run_job(
            config,
            identity["method"],
            identity["environment"],
            identity["seed"],
            identity["variant"],
        )
    if stage not in PRETRAINED:
        raise GemsError(unknown("stage", stage, [ITEMS, DATASET, *PRETRAINED, RUN, TABLE, FIGURE]))
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
