"""The command line: ``gems items | simulate | pretrain | train | evaluate | table | ...``."""

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# One thread per job, because jobs run in parallel; set before any library reads it.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Matrix products on a GPU are reproducible only with a workspace of a fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from gems import extensions  # noqa: E402
from gems.analysis import catalogue  # noqa: E402
from gems.cli import commands, import_logs  # noqa: E402
from gems.cli.collect import collect_command  # noqa: E402
from gems.cli.commands import Arguments  # noqa: E402
from gems.cli.jobs import positive  # noqa: E402
from gems.cli.recommend import recommend_command  # noqa: E402
from gems.config import variants  # noqa: E402
from gems.envs.definitions import BUILT_IN, EMBEDDINGS  # noqa: E402
from gems.errors import GemsError, out_of_memory  # noqa: E402
from gems.methods import METHODS  # noqa: E402
from gems.pretraining.models import PRETRAINED  # noqa: E402


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the error in one line, without the usage."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line.

    Raises:
        GemsError: an installed package that declares methods cannot be imported.
    """
    extensions.load([])
    main = _Parser(prog="gems", description=__doc__)
    subparsers = main.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], int | None]) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run_command=run)
        return command

    def config(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--config",
            action="append",
            default=[],
            help="YAML or JSON file, or JSON text, of options; may be repeated, the last one wins",
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="SECTION.OPTION=VALUE",
            help="option that overrides the configuration; may be repeated",
        )

    def configured(command: argparse.ArgumentParser, output: str) -> None:
        config(command)
        path(command, "output", output)

    def env(command: argparse.ArgumentParser, required: bool = True) -> None:
        known = f"{', '.join(BUILT_IN)}, or one of the configuration"
        command.add_argument("--env", required=required, help=known)

    def path(command: argparse.ArgumentParser, name: str, what: str) -> None:
        command.add_argument(f"--{name}", type=Path, help=f"{what}; default: in the results folder")

    users, whole = positive("number of users"), positive("whole number")

    command = add("items", commands.items_command)
    command.add_argument("--embedding", required=True, help=", ".join(EMBEDDINGS))
    configured(command, "file to write (.npy)")

    command = add("simulate", commands.simulate_command)
    env(command)
    path(command, "items", "file of the item embeddings")
    configured(command, "folder to write the dataset to")

    command = add("import", import_logs.import_command)
    import_logs.add_arguments(command)
    config(command)

    command = add("pretrain", commands.pretrain_command)
    command.add_argument("--model", default="vae", help=f"{', '.join(PRETRAINED)}; default: vae")
    env(command, required=False)
    command.add_argument(
        "--seed", type=_seed, help="seed, for models that are trained once per seed"
    )
    command.add_argument(
        "--dataset",
        help="name of a collected or imported dataset, or a folder; default: the logged data of "
        "the environment",
    )
    configured(command, "file to write the weights to (.safetensors)")

    command = add("train", commands.train_command)
    command.add_argument("--method", required=True, help=", ".join(METHODS))
    env(command)
    command.add_argument("--seed", required=True, type=_seed, help="seed, a whole number")
    path(command, "items", "file of the item embeddings")
    command.add_argument(
        "--pretrained",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="file of a pretrained model; may be repeated; default: in the results folder",
    )
    built_in = ", ".join([*variants.BUILT_IN, *variants.BASELINES])
    command.add_argument(
        "--variant",
        default="",
        metavar="NAME",
        help=f"variant of the run: {built_in}, or one of the configuration; default: the main run",
    )
    configured(command, "folder to write the result to")

    command = add("collect", collect_command)
    command.add_argument("name", help="name of the dataset: one of `collections`, or a new one")
    path(command, "run", "folder of the run whose policy is played")
    new = "for a dataset that the configuration does not define; default: "
    command.add_argument("--quality", help=f"random, medium or expert, {new}expert")
    command.add_argument("--episode", type=whole, help=f"episode of a kept policy, {new}the only")
    command.add_argument("--epsilon", type=float, help=f"share of random actions, {new}0")
    command.add_argument("--users", type=users, help=f"number of users, {new}1000")
    command.add_argument("--users-seed", type=_seed, help=f"seed of the users, {new}2023")
    configured(command, "folder to write the dataset to")

    command = add("evaluate", commands.evaluate_command)
    command.add_argument("run", type=Path, help="folder of a finished run")
    command.add_argument(
        "--users",
        type=users,
        help="number of test users; default: that of the run",
    )
    command.add_argument(
        "--seed",
        type=_seed,
        help="seed to draw other test users with; default: the test users of the run",
    )

    command = add("recommend", recommend_command)
    command.add_argument("run", type=Path, help="folder of a finished run")
    command.add_argument(
        "--history",
        type=Path,
        required=True,
        metavar="FILE",
        help='JSON lines, a session each: {"user": ..., "slates": [[...], ...], "clicks": [[0, 1, '
        '...], ...]}, a slate and its clicks for each turn; "user" may be left out; - reads stdin',
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help='JSON lines to write, {"user": ..., "slate": [...]}; default: stdout',
    )
    command.add_argument(
        "--episode",
        type=whole,
        help="use the policy that training.keep kept after this episode; default: the tested one",
    )

    for kind, run, entries in (
        ("table", commands.table_command, catalogue.TABLES),
        ("figure", commands.figure_command, catalogue.FIGURES),
    ):
        command = add(kind, run)
        known = ", ".join(entries)
        default = "table2" if kind == "table" else None
        description = f"{known}; default: {default}" if default else known
        command.add_argument(
            "--name", choices=entries, required=not default, default=default, help=description
        )
        command.add_argument(
            "results",
            type=Path,
            nargs="*",
            help="result.json files of runs; default: the runs of the configuration",
        )
        configured(command, "CSV file to write" if kind == "table" else "PDF file to write")

    command = add("resolve", commands.resolve_command)
    configured(command, "YAML file to write, with an HTML page beside it")

    command = add("status", commands.status_command)
    config(command)
    command.add_argument("--json", action="store_true", help="print JSON, one object per job")

    command = add("verify", commands.verify_command)
    command.add_argument(
        "results", type=Path, nargs="?", help="results folder; default: that of the configuration"
    )
    config(command)

    command = add("options", commands.options_command)
    config(command)
    return main


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status; 2, after a message on stderr, for errors of the user or the machine.
    """
    try:
        args = parser().parse_args(arguments)
    except GemsError as error:
        print(f"gems: error: {error}", file=sys.stderr)
        return 2
    # Let a scheduler's SIGTERM end the job as an exception does, so that temporary files go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Progress lines go to files only: a terminal has the bar.
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    logger = logging.getLogger("gems")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
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
        message = "Out of memory; give the job more memory, or reduce sizes in its configuration."
    finally:
        logger.removeHandler(handler)
    with contextlib.suppress(OSError):  # stderr may go to a full disk
        print(f"gems: error: {message}", file=sys.stderr)
    return 2
