"""The command line: ``gems items | simulate | pretrain | mf | train | evaluate | table | ...``."""

import argparse
import contextlib
import logging
import os
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

from gems import commands, registry, variants  # noqa: E402
from gems.analysis.catalogue import FIGURES, TABLES  # noqa: E402
from gems.commands import Arguments  # noqa: E402
from gems.errors import GemsError, out_of_memory  # noqa: E402


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    main = _Parser(prog="gems", description=__doc__)
    added = main.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], int | None]) -> argparse.ArgumentParser:
        command = added.add_parser(name, help=run.__doc__, description=run.__doc__)
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

    command = add("items", commands.items_command)
    command.add_argument("--embedding", required=True, choices=registry.EMBEDDINGS)
    configured(command, "file of embeddings (.npy)")

    command = add("simulate", commands.simulate_command)
    env(command)
    given(command, "items", "file of item embeddings")
    configured(command, "folder of the dataset")

    command = add("pretrain", commands.pretrain_command)
    env(command)
    seed(command)
    given(command, "dataset", "folder of a dataset")
    configured(command, "file of weights (.safetensors)")

    command = add("mf", commands.mf_command)
    env(command)
    given(command, "dataset", "folder of a dataset")
    configured(command, "file of the item table (.safetensors)")

    command = add("train", commands.train_command)
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

    command = add("evaluate", commands.evaluate_command)
    command.add_argument("run", type=Path, help="folder of a finished run")
    command.add_argument("--users", type=_users, help="test users; default: as many as the run had")
    command.add_argument(
        "--seed",
        type=_seed,
        help="draw other users, with this seed; default: those of the run's own test",
    )

    command = add("table", commands.table_command)
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

    command = add("figure", commands.figure_command)
    command.add_argument("--name", choices=FIGURES, required=True, help=", ".join(FIGURES))
    command.add_argument("results", type=Path, nargs="+", help="result.json files of runs")
    command.add_argument("--output", type=Path, required=True, help="PDF file; a PNG goes beside")

    command = add("resolve", commands.resolve_command)
    configured(command, "YAML file; HTML goes beside")

    command = add("status", commands.status_command)
    config(command)
    command.add_argument("--json", action="store_true", help="as JSON, one object a job")

    command = add("verify", commands.verify_command)
    command.add_argument(
        "results", type=Path, nargs="?", help="folder of results; default: of the configuration"
    )
    config(command)

    command = add("options", commands.options_command)
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
