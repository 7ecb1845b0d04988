"""The command line: ``gems items | simulate | pretrain | mf | train | evaluate | table | ...``."""

import argparse
import contextlib
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

# One thread a job, set before any library reads it: jobs fill the cores, not threads.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Matrix products on a GPU are reproducible only with a workspace of fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from gems import jobs, provenance, registry, variants  # noqa: E402
from gems.analysis.catalogue import FIGURES, TABLES  # noqa: E402
from gems.attempt import Attempt, now  # noqa: E402
from gems.config import Config, load, needs  # noqa: E402
from gems.errors import GemsError, out_of_memory  # noqa: E402
from gems.paths import Layout  # noqa: E402
from gems.provenance import Subject  # noqa: E402

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
    named = layout.vae(args.env, vae.latent_dim, vae.beta, vae.lambda_click, args.seed)
    job = jobs.vae_job(config, args.env, args.seed)
    tags = ["GeMS", args.env, f"seed_{args.seed}"]
    described = config.sections("vae") | {"environment": args.env, "seed": args.seed}
    output = args.output or named
    with Attempt(job.state) as attempt, jobs.running(job):
        data = _dataset(folder, args)
        with Tracker(config.tracking, job.name, tags, described, job.state) as tracker:
            pretrain(data, vae, args.seed, output, attempt.folder, config.device, tracker)
        subject = Subject.of_vae(args.env, args.seed, config)
        inputs, outputs = [data.folder / "dataset.json"], [output, output.with_suffix(".json")]
        _record(output, subject, config, inputs, outputs, attempt)


def mf_command(args: Arguments) -> None:
    """Factorise the logged clicks of an environment."""
    from gems.embeddings.mf import factorise
    from gems.tracking import Tracker

    config = load(args.config)
    layout = Layout(Path(config.results))
    folder = _dataset_folder(layout, args)
    job = jobs.mf_job(config, args.env)
    name, tags = f"MF_{args.env}_seed{config.mf.seed}", ["MF", args.env, f"seed_{config.mf.seed}"]
    described = config.sections("mf") | {"environment": args.env}
    output = args.output or layout.mf(args.env)
    with Attempt(job.state) as attempt, jobs.running(job):
        data = _dataset(folder, args)
        with Tracker(config.tracking, name, tags, described, job.state) as tracker:
            factorise(data, config.mf, output, attempt.folder, config.device, tracker)
        subject = Subject("mf", environment=args.env)
        inputs, outputs = [data.folder / "dataset.json"], [output, output.with_suffix(".json")]
        _record(output, subject, config, inputs, outputs, attempt)


def train_command(args: Arguments) -> None:
    """Train and test one method in one environment with one seed."""
    from gems.tracking import Tracker
    from gems.training.run import Run, execute

    entry = registry.method(args.method)
    config = variants.apply(load(args.config), args.method, args.variant)
    if args.variant:
        args.config.append(json.dumps(variants.VARIANTS[args.variant]))
    registry.environment(args.env)
    layout, vae = Layout(Path(config.results)), config.vae
    inputs = {"items": args.items or _need_items(layout, args)}
    if "vae" in needs(args.method, config):
        path = layout.vae(args.env, vae.latent_dim, vae.beta, vae.lambda_click, args.seed)
        command = f"gems pretrain --env {args.env} --seed {args.seed}"
        inputs["vae"] = args.vae or _need(path, "slate VAE", command, args)
    if "mf" in needs(args.method, config):
        command = f"gems mf --env {args.env}"
        inputs["mf"] = args.mf or _need(layout.mf(args.env), "item table", command, args)
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
    """Test the policy of a finished run on fresh users and print the metrics as JSON."""
    from gems.training.run import evaluate

    metrics = evaluate(args.run, args.users, args.seed)
    del metrics["test_returns"]  # a line for each user
    print(json.dumps(metrics, indent=2, sort_keys=True))


def table_command(args: Arguments) -> None:
    """Write Table 2, or another table, from the results of runs."""
    from gems.analysis.catalogue import write_table

    write_table(args.name, args.results, args.output)


def figure_command(args: Arguments) -> None:
    """Draw a figure from the results of runs, and the other files in their folders."""
    from gems.analysis.catalogue import draw_figure

    draw_figure(args.name, args.results, args.output)


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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    main = _Parser(prog="gems", description=__doc__)
    commands = main.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], int | None]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run_command=run)
        return command

    def config(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--config",
            action="append",
            default=[],
            help="YAML or JSON file of options, or JSON text; may be repeated, the last one wins",
        )

    def configured(command: argparse.ArgumentParser, output: str) -> None:
        config(command)
        command.add_argument(
            "--output", type=Path, help=f"{output}; default: in the results folder"
        )

    def env(command: argparse.ArgumentParser) -> None:
        command.add_argument("--env", required=True, help=", ".join(registry.ENVIRONMENTS))

    def seed(command: argparse.ArgumentParser) -> None:
        command.add_argument("--seed", required=True, type=_seed, help="seed, a whole number")

    def given(command: argparse.ArgumentParser, name: str, what: str) -> None:
        command.add_argument(f"--{name}", type=Path, help=f"{what}; default: in the results folder")

    command = add("items", items_command)
    command.add_argument("--embedding", required=True, choices=registry.EMBEDDINGS)
    configured(command, "file of embeddings (.npy)")

    command = add("simulate", simulate_command)
    env(command)
    given(command, "items", "file of item embeddings")
    configured(command, "folder of the dataset")

    command = add("pretrain", pretrain_command)
    env(command)
    seed(command)
    given(command, "dataset", "folder of a dataset")
    configured(command, "file of weights (.safetensors)")

    command = add("mf", mf_command)
    env(command)
    given(command, "dataset", "folder of a dataset")
    configured(command, "file of the item table (.safetensors)")

    command = add("train", train_command)
    command.add_argument("--method", required=True, help=", ".join(registry.METHODS))
    env(command)
    seed(command)
    given(command, "items", "file of item embeddings")
    given(command, "vae", "file of a pretrained slate VAE")
    given(command, "mf", "file of an item table")
    command.add_argument(
        "--variant",
        default="",
        metavar="NAME",
        help=f"variant of the run: {', '.join(variants.VARIANTS)}; default: the main run",
    )
    configured(command, "folder of the result")

    command = add("evaluate", evaluate_command)
    command.add_argument("run", type=Path, help="folder of a finished run")
    command.add_argument("--users", type=_users, help="test users; default: as many as the run had")
    command.add_argument("--seed", type=_seed, help="seed of the users; default: that of the run")

    command = add("table", table_command)
    command.add_argument(
        "--name",
        choices=TABLES,
        default="table2",
        help=f"{', '.join(TABLES)}; default: table2; table1 takes no results",
    )
    command.add_argument("results", type=Path, nargs="*", help="result.json files of runs")
    command.add_argument(
        "--output", type=Path, required=True, help="CSV file; Markdown, LaTeX, HTML go beside"
    )

    command = add("figure", figure_command)
    command.add_argument("--name", choices=FIGURES, required=True, help=", ".join(FIGURES))
    command.add_argument("results", type=Path, nargs="+", help="result.json files of runs")
    command.add_argument("--output", type=Path, required=True, help="PDF file; a PNG goes beside")

    command = add("resolve", resolve_command)
    configured(command, "YAML file; HTML goes beside")

    command = add("status", status_command)
    config(command)
    command.add_argument("--json", action="store_true", help="as JSON, one object a job")

    command = add("verify", verify_command)
    command.add_argument(
        "results", type=Path, nargs="?", help="folder of results; default: of the configuration"
    )
    config(command)

    command = add("options", options_command)
    command.add_argument("--schema", action="store_true", help="as a JSON schema, in YAML")
    return main


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _users(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of users")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a mistake or a fault of the machine ends in one sentence and 2."""
    args = parser().parse_args(arguments)
    # A scheduler's SIGTERM ends the job as an exception would, so that temporary files go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Lines of progress, but not beside a bar: that is for a terminal.
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    logger = logging.getLogger("gems")
    logger.setLevel(logging.INFO)
    logger.addHandler(shown)
    try:
        status = args.run_command(args) or 0
        sys.stdout.flush()
        return status
    except GemsError as error:
        message = str(error)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        message = f"{error.filename or 'A file'} cannot be used: {error.strerror or error}."
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        message = "Out of memory; give the job more of it, or lower the sizes in its configuration."
    finally:
        logger.removeHandler(shown)
    with contextlib.suppress(OSError):  # the log may lie on the full disk
        print(f"gems: error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
