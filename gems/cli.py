"""The command line: ``gems items | simulate | pretrain | mf | train | evaluate | table | ...``."""

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# One thread a job, set before any library reads it: jobs fill the cores, not threads.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Matrix products on a GPU are reproducible only with a workspace of fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from gems import registry, variants  # noqa: E402
from gems.analysis.catalogue import FIGURES, TABLES  # noqa: E402
from gems.config import load, needs  # noqa: E402
from gems.errors import GemsError  # noqa: E402
from gems.paths import Layout, run_name  # noqa: E402

Arguments = argparse.Namespace


def items_command(args: Arguments) -> None:
    """Make the item embeddings, or take them from the file that the configuration names."""
    from gems.simulator import items

    config = load(args.config)
    output = args.output or Layout(Path(config.results)).items(args.embedding)
    items.save(output, items.make(args.embedding, config.items))


def simulate_command(args: Arguments) -> None:
    """Simulate the logged users of an environment."""
    from gems.data.logging_policy import log_users
    from gems.simulator import items
    from gems.simulator.simulator import Simulator

    config = load(args.config)
    environment = registry.environment(args.env)
    layout = Layout(Path(config.results))
    source = args.items or _need_items(layout, args)
    simulator = Simulator(items.load(source), environment, config.simulator)
    log_users(simulator, config.logging, args.env, args.output or layout.dataset(args.env))


def pretrain_command(args: Arguments) -> None:
    """Pretrain the slate VAE of an environment and seed."""
    from gems.data import dataset
    from gems.rankers.vae_training import pretrain
    from gems.tracking import Tracker

    config = load(args.config)
    layout, vae = Layout(Path(config.results)), config.vae
    data = dataset.read(args.dataset or _need_dataset(layout, args))
    named = layout.vae(args.env, vae.latent_dim, vae.beta, vae.lambda_click, args.seed)
    output = args.output or named
    tags = ["GeMS", args.env, f"seed_{args.seed}"]
    with Tracker(config.tracking, output.stem, tags, config.sections("vae")) as tracker:
        state = layout.state("vae", output.stem)
        pretrain(data, vae, args.seed, output, state, config.device, tracker)


def mf_command(args: Arguments) -> None:
    """Factorise the logged clicks of an environment."""
    from gems.data import dataset
    from gems.embeddings.mf import factorise
    from gems.tracking import Tracker

    config = load(args.config)
    layout = Layout(Path(config.results))
    data = dataset.read(args.dataset or _need_dataset(layout, args))
    output = args.output or layout.mf(args.env)
    name, tags = f"MF_{args.env}_seed{config.mf.seed}", ["MF", args.env, f"seed_{config.mf.seed}"]
    with Tracker(config.tracking, name, tags, config.sections("mf")) as tracker:
        state = layout.state("mf", output.stem)
        factorise(data, config.mf, output, state, config.device, tracker)


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
    name = run_name(args.method, args.env, args.seed, vae.beta, vae.lambda_click, args.variant)
    run = Run(name, args.method, args.env, args.seed, config, inputs, args.variant)
    tags = [entry.label, args.env, f"seed_{args.seed}", *filter(None, [args.variant])]
    with Tracker(config.tracking, name, tags, run.described()) as tracker:
        execute(run, args.output or layout.run(name), layout.state("runs", name), tracker)


def evaluate_command(args: Arguments) -> None:
    """Test the policy of a finished run on fresh users and print the metrics as JSON."""
    from gems.training.run import evaluate

    print(json.dumps(evaluate(args.run, args.users, args.seed), indent=2, sort_keys=True))


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


def options_command(args: Arguments) -> None:
    """Print every option of the configuration, as Markdown or as a JSON schema in YAML."""
    from gems import options

    print(options.schema() if args.schema else options.markdown(), end="")


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


def _need_dataset(layout: Layout, args: Arguments) -> Path:
    registry.environment(args.env)
    described = layout.dataset(args.env) / "dataset.json"
    return _need(described, "dataset", f"gems simulate --env {args.env}", args).parent


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    main = _Parser(prog="gems", description=__doc__)
    commands = main.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], None]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run_command=run)
        return command

    def configured(command: argparse.ArgumentParser, output: str) -> None:
        command.add_argument(
            "--config",
            action="append",
            default=[],
            help="YAML or JSON file of options, or JSON text; may be repeated, the last one wins",
        )
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
    """Run one command; a user's mistake ends in one sentence and exit status 2."""
    args = parser().parse_args(arguments)
    # A scheduler's SIGTERM ends the job as an exception would, so that temporary files go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        args.run_command(args)
    except GemsError as error:
        print(f"gems: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
