"""``gems collect``: a dataset of the slates of a trained policy."""

from dataclasses import replace

from gems.cli.jobs import Arguments, configured, with_inputs, with_output
from gems.config import Config, build
from gems.errors import GemsError
from gems.pipeline import provenance, stages
from gems.pipeline.job import Job
from gems.pipeline.running import running
from gems.runtime.attempt import Attempt
from gems.runtime.files import read_json

# Options of the command that define a collection, and arguments of ``gems.collect``.
OPTIONS = ("quality", "episode", "epsilon", "users", "users_seed")


def collect_command(args: Arguments) -> None:
    """Collect a dataset by playing the policy of a run: logged data and offline-RL transitions."""
    from gems.collection.runs import collect

    config = configured(args)
    values = {option: getattr(args, option) for option in OPTIONS}
    given = {option: value for option, value in values.items() if value is not None}
    if args.name in config.collections:
        job = _configured_job(args, config, given)
    elif args.run is None:
        raise GemsError(
            f"The configuration defines no collection {args.name}; define it under collections, or "
            "give --run FOLDER."
        )
    else:
        job = _job_of_run(args, config, given)
    plan = {option: job.values["collection"][option] for option in OPTIONS}
    with Attempt(job.state) as attempt, running(job):
        collect(job.inputs["run"].parent, job.output.parent, name=args.name, **plan)
        provenance.write(job, started=attempt.started, tries=attempt.number)


def _configured_job(args: Arguments, config: Config, given: dict[str, object]) -> Job:
    """The job of a collection of the configuration."""
    if given:
        raise GemsError(
            f"The configuration defines {args.name} under collections; set {next(iter(given))} "
            "there, or choose another name."
        )
    job = stages.collection_job(config, args.name, config.collections[args.name])
    run = {}
    if args.run is not None:
        policy = args.run / job.inputs["policy"].name
        run = {"run": args.run / "result.json", "policy": policy}
    return with_inputs(with_output(job, args.output), config, args, **run)


def _job_of_run(args: Arguments, config: Config, given: dict[str, object]) -> Job:
    """A job that plays the policy of the run in ``args.run``."""
    from gems.training.saved import read_run

    run = read_run(args.run)
    named = {"method": run.method, "environment": run.environment, "seed": run.seed}
    values = run.config.model_dump(mode="json") | {
        "results": config.results,
        "logs": config.logs,
        "collections": {args.name: named | given},
    }
    config = build(values)
    job = stages.collection_job(config, args.name, config.collections[args.name])
    job = with_output(job, args.output)
    _check_not_other(job)
    inputs = {
        "items": run.inputs["items"],
        "run": args.run / "result.json",
        "policy": args.run / job.inputs["policy"].name,
    }
    return replace(job, inputs=inputs, needs=())


def _check_not_other(job: Job) -> None:
    """Refuse to replace a collection of other options, which no configuration would make again."""
    record = provenance.record_of(job)
    if record.is_file() and read_json(record).get("config") != job.values:
        raise GemsError(
            f"{record.parent} holds another collection; remove it, or choose another name."
        )
