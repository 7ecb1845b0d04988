"""The commands of ``gems``. Each imports heavy libraries only when it runs."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gems import methods
from gems.analysis import catalogue
from gems.cli.jobs import configured, with_inputs, with_output
from gems.config import Config, load
from gems.config.loading import flat
from gems.config.variants import apply_variant
from gems.errors import GemsError, unknown
from gems.pipeline import provenance, stages
from gems.pipeline.job import TABLE, Job
from gems.pipeline.running import running
from gems.pretraining.models import PRETRAINED, Pretrained
from gems.runtime.attempt import Attempt, now
from gems.runtime.files import written_whole

if TYPE_CHECKING:
    from gems.data.dataset import Dataset
    from gems.runtime.job import JobRuntime
    from gems.runtime.tracking import Tracker

Arguments = argparse.Namespace


def items_command(args: Arguments) -> None:
    """Generate item embeddings, or import them from a file that the configuration names."""
    from gems.envs import items

    config = configured(args)
    job = with_output(stages.items_job(config, args.embedding), args.output)
    with Attempt(job.state) as attempt, running(job):
        items.save(job.output, items.make(args.embedding, config))
        provenance.write(job, started=attempt.started, tries=attempt.number)


def simulate_command(args: Arguments) -> None:
    """Simulate the logged users of an environment."""
    from gems.data.logging_policy import log_users
    from gems.envs import items
    from gems.envs.simulator import Simulator

    config = configured(args)
    job = with_output(stages.dataset_job(config, args.env), args.output)
    job = with_inputs(job, config, args, items=args.items)
    with Attempt(job.state) as attempt, running(job):
        environment = config.environment(args.env)
        sizes = environment.items.topics, environment.items.topic_dim
        simulator = Simulator(items.load(job.inputs["items"], *sizes), environment)
        log_users(simulator, config.logging, args.env, job.output.parent)
        provenance.write(job, started=attempt.started, tries=attempt.number)


def pretrain_command(args: Arguments) -> None:
    """Pretrain a model on the logged data of an environment, or import it from a file."""
    config = configured(args)
    if args.model not in PRETRAINED:
        raise GemsError(unknown("pretrained model", args.model, PRETRAINED))
    model = PRETRAINED[args.model]
    if model.by_seed and args.seed is None:
        raise GemsError(f"Each seed has its own {args.model}: give --seed SEED.")
    data, folder = _data(config, model, args)
    source = model.source(config, data)
    job = with_output(stages.pretrained_job(config, model, data, args.seed or 0), args.output)
    dataset = folder / "dataset.json" if folder else None
    job = with_inputs(job, config, args, dataset=dataset)
    seed = model.seed(config, args.seed or 0)
    tags = [model.label or model.name, data, f"seed_{seed}"]
    described = job.values | {"environment": data, "seed": seed}
    name = job.name if model.by_seed else f"{model.label or model.name}_{job.name}_seed{seed}"
    with Attempt(job.state) as attempt, running(job):
        if source is not None:
            from gems.pretraining.imported import import_table

            import_table(source, config.environment(data).items.count, job.output)
            provenance.write(job, started=attempt.started, tries=attempt.number)
            return
        slates = _dataset(job.inputs["dataset"].parent, args.env)
        with _tracker(config, name, tags, described, job) as tracker:
            runtime = _runtime(job, attempt, config, tracker)
            model.function()(slates, config.of(model.options), seed, job.output, runtime)
        _record(job, attempt, config)


def _data(config: Config, model: Pretrained, args: Arguments) -> tuple[str, Path | None]:
    """Name of the data to pretrain on, and its folder if the arguments name it."""
    if args.env is not None:
        config.environment(args.env)  # refuses an unknown name
        source = model.source(config, args.env)
        if source is not None and args.dataset is not None:
            raise GemsError(
                f"{args.model}.files names {source} for {args.env}; leave that out to train on a "
                "--dataset."
            )
    if args.dataset is not None:
        folder = _dataset_folder(config, args.dataset)
        name, parent = folder.resolve().name, folder.resolve().parent
        inside = parent == (Path(config.results) / "datasets").resolve()
        logged = name in config.known_environments()
        if args.env is not None and inside and not logged:
            raise GemsError(
                f"Leave out --env {args.env}: a model of the dataset {name} is named after it."
            )
        return args.env or name, folder
    stages.check_dataset(config)
    if args.env is None and config.dataset is None:
        raise GemsError("Give --env ENV to train on its logged data, or --dataset NAME.")
    return stages.data_of(config, model, args.env) if args.env else str(config.dataset), None


def train_command(args: Arguments) -> None:
    """Train and test one method in one environment with one seed."""
    from gems.training.run import Run, execute

    config, entry = configured(args), methods.method(args.method)
    given = _pretrained_files(args.pretrained)
    job = stages.run_job(config, args.method, args.env, args.seed, args.variant)
    job = with_inputs(with_output(job, args.output), config, args, items=args.items, **given)
    config = apply_variant(config, args.method, args.variant)
    run = Run(job.name, args.method, args.env, args.seed, config, job.inputs, job.values)
    dataset = job.settings.get("dataset")
    tags = [entry.label, args.env, f"seed_{args.seed}", *filter(None, [args.variant, dataset])]
    described = run.described() | {"variant": args.variant, "dataset": dataset}
    with (
        Attempt(job.state) as attempt,
        running(job),
        _tracker(config, job.name, tags, described, job) as tracker,
    ):
        execute(run, job.output.parent, _runtime(job, attempt, config, tracker))
        _record(job, attempt, config, run.logged_users(), entry.trained)


def evaluate_command(args: Arguments) -> None:
    """Test the policy of a finished run on its test users or on others; print metrics as JSON."""
    from gems.training.saved import evaluate

    metrics = evaluate(args.run, args.users, args.seed)
    del metrics["test_returns"]  # one line per user
    print(json.dumps(metrics, indent=2, sort_keys=True))


def table_command(args: Arguments) -> None:
    """Write Table 2 or another table, from the runs of the configuration or the given ones."""
    _draw(catalogue.TABLES[args.name], args)


def figure_command(args: Arguments) -> None:
    """Draw a figure, from the runs of the configuration or the given ones."""
    _draw(catalogue.FIGURES[args.name], args)


def _draw(entry: catalogue.Entry, args: Arguments) -> None:
    from gems.pipeline.comparisons import job_of_entry

    config, started = configured(args), now()
    if args.results:
        output = args.output or Path(config.results) / entry.path
        results, job = args.results, stages.analysis_job(entry, args.results, output)
    else:
        job = with_output(job_of_entry(config, entry), args.output)
        results = [run.output for run in job.needs]
    make = catalogue.write_table if entry.kind == TABLE else catalogue.draw_figure
    make(entry.name, results, job.output)
    # The values serve the workflow only; the record lists the runs among its inputs.
    provenance.write(replace(job, values={}), started=started)


def resolve_command(args: Arguments) -> None:
    """Write every option of a configuration, resolved, as YAML and as an HTML page."""
    import pandas as pd

    from gems.analysis.layout import Sheet, to_html
    from gems.config.reference import as_yaml, plain_text

    config = configured(args)
    output = args.output or Path(config.results) / "configuration.yaml"
    options = flat(config.model_dump(mode="json"))
    rows = [(name, plain_text(value)) for name, value in options.items()]
    cells = pd.DataFrame(rows, columns=["Option", "Value"])
    sheet = Sheet(cells, "Every option, resolved.", text_columns=2, title="Configuration")
    for path, text in ((output.with_suffix(".html"), to_html(sheet)), (output, as_yaml(config))):
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def status_command(args: Arguments) -> None:
    """Show the status of every job of the configuration: done, running, failed, ..."""
    from gems.pipeline import status

    rows = status.read(configured(args))
    print(status.as_json(rows) if args.json else status.table(rows))


def verify_command(args: Arguments) -> int:
    """Report results whose code, options or inputs have changed, or that are damaged."""
    from gems.pipeline.verify import verify

    config = configured(args)
    root = args.results or Path(config.results)
    report = verify(root, config)
    for result, problems in report.problems.items():
        print(f"{result}: {'; '.join(problems)}")
    if report.absent:
        print(f"Not checked, because absent here: {len(report.absent)} input files")
    counts = f"{report.checked} results checked, {len(report.problems)} do not match"
    print(f"{root}: {counts} ({' '.join(args.config) or 'no --config: the default options'})")
    return 1 if report.problems else 0


def options_command(args: Arguments) -> None:
    """Print the reference page of the configuration, as Markdown."""
    from gems.config.reference import markdown

    load(args.config)
    print(markdown(), end="")


def _pretrained_files(texts: list[str]) -> dict[str, Path]:
    given = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            raise GemsError(f"{text!r} does not name a pretrained model; write NAME=FILE.")
        given[name] = Path(path)
    return given


def _dataset_folder(config: Config, name: str) -> Path:
    """The folder of the dataset that the option --dataset names, by its path or its name."""
    if (Path(name) / "dataset.json").is_file():
        return Path(name)
    folder = Path(config.results) / "datasets" / name
    if Path(name).name == name and (folder / "dataset.json").is_file():
        return folder
    if name in config.known_environments():
        raise GemsError(f"{folder} does not exist; make it with: gems simulate --env {name}")
    raise GemsError(
        f"The dataset {name} does not exist, neither as a folder nor in {folder.parent}; import "
        f"it with `gems import FILE --name {name}`, or collect it with `gems collect {name}`."
    )


def _dataset(folder: Path, env: str | None) -> "Dataset":
    from gems.data import dataset

    data = dataset.read(folder)
    if env is not None and (logged := data.meta.get("environment", env)) != env:
        raise GemsError(f"The dataset {folder} was logged in {logged}, not in {env}.")
    return data


@contextmanager
def _tracker(
    config: Config, name: str, tags: list[str], described: dict, job: Job
) -> Iterator["Tracker"]:
    from gems.runtime.tracking import Tracker

    options = config.sections("tracking")["tracking"]
    with Tracker(options, name, tags, flat(described), job.state) as tracker:
        yield tracker


def _runtime(job: Job, attempt: Attempt, config: Config, tracker: "Tracker") -> "JobRuntime":
    from gems.runtime.job import JobRuntime

    return JobRuntime(attempt.folder, job.fingerprint(), config.device, tracker)


def _record(
    job: Job,
    attempt: Attempt,
    config: Config,
    logged_users: int | None = None,
    trained: bool = True,
) -> None:
    from gems.runtime.device import pick_device

    device = str(pick_device(config.device)) if trained else "cpu"
    provenance.write(
        job,
        started=attempt.started,
        tries=attempt.number,
        device=device,
        logged_users=logged_users,
    )
