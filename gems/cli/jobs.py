"""The job of a command: its configuration, its output and its inputs as the arguments name them."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gems.config import Config, load
from gems.config.variants import parsed_options, with_options
from gems.errors import GemsError
from gems.pipeline.job import Job

Arguments = argparse.Namespace


def positive(what: str) -> Callable[[str], int]:
    """Parser of an argument that is a positive number; errors call it ``what``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not a positive {what}")
        return int(text)

    return parse


def configured(args: Arguments) -> Config:
    return with_options(load(args.config), parsed_options(args.set))


def with_output(job: Job, output: Path | None) -> Job:
    """``job`` with its output at ``output``, if given: a file, or the folder for its files."""
    if output is None:
        return job
    if job.output.suffix in (".npy", ".safetensors") and output.suffix != job.output.suffix:
        raise GemsError(f"--output must end in {job.output.suffix}, not be {output}.")
    if job.output.suffix == ".json":
        files = tuple(output / path.relative_to(job.output.parent) for path in job.files)
        return replace(job, output=output / job.output.name, files=files)
    ends = [path.name.removeprefix(job.output.stem) for path in job.files]
    files = tuple(output.with_name(output.stem + end) for end in ends)
    return replace(job, output=output, files=files)


def with_inputs(job: Job, config: Config, args: Arguments, **given: Path | None) -> Job:
    """``job`` with the inputs ``given``; all other inputs must exist.

    Raises:
        GemsError: an input does not exist, or the job has no input of a given name.
    """
    files = {name: path for name, path in given.items() if path is not None}
    if unexpected := files.keys() - job.inputs.keys():
        expected = ", ".join(job.inputs)
        raise GemsError(f"This job has no input {unexpected.pop()!r}. Its inputs: {expected}.")
    for need in job.needs:
        name = next(k for k, path in job.inputs.items() if path == need.output)
        if name not in files and not need.output.exists():
            command = need.command(config, *args.config, settings=args.set)
            raise GemsError(f"{need.output} does not exist; make it with: {command}")
    return replace(job, inputs=job.inputs | files)
