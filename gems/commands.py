"""What each command of ``gems`` does. Each imports the heavy libraries that it alone uses."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gems import jobs, provenance, registry, variants
from gems.attempt import Attempt, now
from gems.config import Config, factorised_values, load, needs
from gems.errors import GemsError
from gems.paths import Layout
from gems.provenance import Stage, Subject

if TYPE_CHECKING:
    from gems.data.dataset import Dataset

Arguments = argparse.Namespace


def items_command(args: Arguments) -> None:
    """Make the item embeddings, or take them from the file that the configuration names."""
    from gems.simulator import items

    config, started = load(args.config), now()
    output = args.output or Layout(Path(config.results)).items(args.embedding)
    items.save(output, items.make(args.embedding, config.items))
    provenance.write(
        output,
        Subject("items", embedding=args.embedding),
        config,
        inputs=[Path(file) for name, file in config.items.files.items() if name == args.embedding],
        outputs=[output],
        started=started,
    )


def simulate_command(args: Arguments) -> None:
    """Simulate the logged users of an environment."""
    from gems.data.logging_policy import log_users
    from gems.simulator import items
    from gems.simulator.simulator import Simulator

    config = load(args.config)
    environment = registry.environment(args.env)
    layout = Layout(Path(config.results))
    source = args.items or _need_items(layout, args)
    output = args.output or layout.dataset(args.env)
    job = jobs.dataset_job(config, args.env)
    with Attempt(job.state) as attempt, jobs.running(job):
        simulator = Simulator(items.load(source), environment, config.simulator)
        log_users(simulator, config.logging, args.env, output)
        provenance.write(
            output,
            Subject("dataset", environment=args.env),
            config,
            inputs=[source],
            outputs=[output / name for name in ("slates.npy", "clicks.npy", "dataset.json")],
            started=attempt.started,
            tries=attempt.number,
        )


def pretrain_command(args: Arguments) -> None:
    """Pretrain the slate VAE of an environment and seed."""
    from gems.rankers.vae_training import pretrain
    from gems.tracking import Tracker

    config = load(args.config)
    layout, vae = Layout(Path(config.results)), config.vae
    folder = _dataset_folder(layout, args)
    job = jobs.vae_job(config, args.env, args.seed)
    tags = ["GeMS", args.env, f"seed_{args.seed}"]
    described = config.sections("vae") | {"environment": args.env, "seed": args.seed}
    output = args.output or job.output
    with Attempt(job.state) as attempt, jobs.running(job):
        data = _dataset(folder, args)
        with Tracker(config.tracking, job.name, tags, described, job.state) as tracker:
            pretrain(data, vae, args.seed, output, attempt.folder, config.device, tracker)
        subject = Subject.of_vae(args.env, args.seed, config)
        inputs, outputs = [data.folder / "dataset.json"], [output, output.with_suffix(".json")]
        _record(output, subject, config, inputs, outputs, attempt)


def mf_command(args: Arguments) -> None:
    """Factorise the logged clicks of an environment, or take its item table from a file."""
    config = load(args.config)
    registry.environment(args.env)
    if args.env in config.mf.files:
        _import_table(config, args)
        return
    from gems.embeddings.mf import factorise
    from gems.tracking import Tracker

    layout = Layout(Path(config.results))
    folder = _dataset_folder(layout, args)
    job = jobs.mf_job(config, args.env)
    name, tags = f"MF_{job.name}_seed{config.mf.seed}", ["MF", args.env, f"seed_{config.mf.seed}"]
    described = factorised_values(config) | {"environment": args.env}
    output = args.output or job.output
    with Attempt(job.state) as attempt, jobs.running(job):
        data = _dataset(folder, args)
        with Tracker(config.tracking, name, tags, described, job.state) as tracker:
            factorise(data, config.mf, output, attempt.folder, config.device, tracker)
        inputs, outputs = [data.folder / "dataset.json"], [output, output.with_suffix(".json")]
        _record(output, Subject.of_mf(args.env, config), config, inputs, outputs, attempt)


def _import_table(config: Config, args: Arguments) -> None:
    """Take the item table of an environment from the file that the configuration names."""
    from gems.embeddings.imported import import_table

    job = jobs.mf_job(config, args.env)
    source, output = Path(config.mf.files[args.env]), args.output or job.output
    if args.dataset is not None:
        raise GemsError(
            f"mf.files names {source} for {args.env}; leave that out to factorise a --dataset."
        )
    with Attempt(job.state) as attempt, jobs.running(job):
        import_table(source, config.items.count, output)
        outputs = [output, output.with_suffix(".json")]
        subject = Subject.of_mf(args.env, config)
        _record(output, subject, config, [source], outputs, attempt, trained=False)


def train_command(args: Arguments) -> None:
    """Train and test one method in one environment with one seed."""
    from gems.tracking import Tracker
    from gems.training.run import Run, execute

    entry = registry.method(args.method)
    config = variants.apply(load(args.config), args.method, args.variant)
    if args.variant:
        args.config.append(json.dumps(variants.VARIANTS[args.variant]))
    registry.environment(args.env)
    layout = Layout(Path(config.results))
    inputs = {"items": args.items or _need_items(layout, args)}
    if "vae" in needs(args.method, config):
        path = jobs.vae_job(config, args.env, args.seed).output
        command = f"gems pretrain --env {args.env} --seed {args.seed}"
        inputs["vae"] = args.vae or _need(path, "slate VAE", command, args)
    if "mf" in needs(args.method, config):
        command = f"gems mf --env {args.env}"
        path = jobs.mf_job(config, args.env).output
        inputs["mf"] = args.mf or _need(path, "item table", command, args)
    job = jobs.run_job(config, args.method, args.env, args.seed, args.variant)
    run = Run(job.name, args.method, args.env, args.seed, config, inputs, args.variant)
    tags = [entry.label, args.env, f"seed_{args.seed}", *filter(None, [args.variant])]
    output = args.output or layout.run(job.name)
    with (
        Attempt(job.state) as attempt,
        jobs.running(job),
        Tracker(config.tracking, job.name, tags, run.described(), job.state) as tracker,
    ):
        execute(run, output, attempt.folder, tracker)
        names = ["result.json", "curve.csv", "turns.csv", "scores.csv"]
        names += ["policy.safetensors", "policy.json"]
        outputs = [output / name for name in names]
        made = run.subject(), config, run.files(), outputs, attempt
        _record(output, *made, run.logged_users(), trained=entry.trained)


def evaluate_command(args: Arguments) -> None:
    """Test the policy of a finished run, on its own test users or others; print metrics as JSON."""
    from gems.training.run import evaluate

    metrics = evaluate(args.run, args.users, args.seed)
    del metrics["test_returns"]  # a line for each user
    print(json.dumps(metrics, indent=2, sort_keys=True))


def table_command(args: Arguments) -> None:
    """Write Table 2, or another table, from the results of runs."""
    from gems.analysis.catalogue import write_table

    started = now()
    outputs = write_table(args.name, args.results, args.output)
    _record_drawn("table", args, [], outputs, started)


def figure_command(args: Arguments) -> None:
    """Draw a figure from the results of runs, and the other files in their folders."""
    from gems.analysis.catalogue import DRAWN_FROM, draw_figure

    started = now()
    outputs = draw_figure(args.name, args.results, args.output)
    _record_drawn("figure", args, DRAWN_FROM.get(args.name, []), outputs, started)


def resolve_command(args: Arguments) -> None:
    """Write every option as it is under a configuration, as YAML and as a page."""
    from gems.options import write_resolved

    config = load(args.config)
    write_resolved(config, args.output or Path(config.results) / "configuration.yaml")


def status_command(args: Arguments) -> None:
    """Tell how far every job of the configuration is: done, running, failed, stopped, missing."""
    from gems import status

    rows = status.read(load(args.config))
    print(status.as_json(rows) if args.json else status.table(rows))


def verify_command(args: Arguments) -> int:
    """Say which results came from other code, configuration or inputs, or are damaged."""
    from gems.verify import verify

    config = load(args.config)
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
    """Print every option of the configuration, as Markdown or as a JSON schema in YAML."""
    from gems import options

    print(options.schema() if args.schema else options.markdown(), end="")


def _record(
    result: Path,
    subject: Subject,
    config: Config,
    inputs: list[Path],
    outputs: list[Path],
    attempt: Attempt,
    logged_users: int | None = None,
    trained: bool = True,
) -> None:
    """Write the record of a model or a run: the last thing that a job does."""
    from gems.device import pick_device

    provenance.write(
        result,
        subject,
        config,
        inputs=inputs,
        outputs=outputs,
        started=attempt.started,
        tries=attempt.number,
        device=str(pick_device(config.device)) if trained else "cpu",
        logged_users=logged_users,
    )


def _record_drawn(
    stage: Stage, args: Arguments, more: list[str], outputs: list[Path], started: str
) -> None:
    """Write the record of a table or figure, made from results and ``more`` files beside them."""
    beside = [path.with_name(name) for path in args.results for name in (provenance.NAME, *more)]
    inputs = args.results + [path for path in beside if path.is_file()]
    subject = Subject(stage, name=args.name)
    provenance.write(args.output, subject, None, inputs=inputs, outputs=outputs, started=started)


def _need(path: Path, what: str, command: str, args: Arguments) -> Path:
    """``path``, or one sentence with the command that makes it under the same configuration."""
    if not path.exists():
        options = "".join(f" --config {shlex.quote(source)}" for source in args.config)
        raise GemsError(f"The {what} {path} does not exist; make it with: {command}{options}")
    return path


def _need_items(layout: Layout, args: Arguments) -> Path:
    embedding = registry.environment(args.env).embedding
    command = f"gems items --embedding {embedding}"
    return _need(layout.items(embedding), "file of item embeddings", command, args)


def _dataset_folder(layout: Layout, args: Arguments) -> Path:
    registry.environment(args.env)
    described = layout.dataset(args.env) / "dataset.json"
    command = f"gems simulate --env {args.env}"
    return args.dataset or _need(described, "dataset", command, args).parent


def _dataset(folder: Path, args: Arguments) -> "Dataset":
    from gems.data import dataset

    data = dataset.read(folder)
    if (logged := data.meta.get("environment", args.env)) != args.env:
        raise GemsError(f"The dataset {folder} was logged in {logged}, not in {args.env}.")
    return data
