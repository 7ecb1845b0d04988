"""``Job``: outputs, inputs, options, code and command of one job of the pipeline."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gems.config import Config
from gems.pipeline.digest import code_digest, value_digest
from gems.pretraining.models import PRETRAINED
from gems.runtime.files import sha256

# Stages in the order of the pipeline; pretrained models come between datasets and runs.
ITEMS, DATASET, RUN, TABLE, FIGURE = "items", "dataset", "run", "table", "figure"
# Datasets that a trained policy collects, and that `gems import` makes.
COLLECTION, IMPORT = "collection", "import"
# File name, or its end, of the record beside each result.
PROVENANCE = "provenance.json"
_FOLDERS = {ITEMS: "items", RUN: "runs", **dict.fromkeys((DATASET, COLLECTION, IMPORT), "datasets")}


@dataclass(frozen=True)
class Job:
    """One job of the pipeline.

    Attributes:
        stage: ``items``, ``dataset``, the name of a pretrained model, ``run``, ``collection``,
            ``import``, ``table`` or ``figure``.
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
            f"{name}={'null' if value is None else value}"
            for name, value in self.settings.items()
            for section, _, option in [name.partition(".")]
            if value != (values[section][option] if option else values[section])
        ]
        parts = ["gems", *self.arguments, *(self.paths if paths else ())]
        parts += [part for source in sources for part in ("--config", source)]
        parts += [part for option in (*settings, *changed) for part in ("--set", option)]
        return shlex.join(parts)


def new_job(config: Config, stage: str, name: str, *, output: Path, log: str, **rest: Any) -> Job:
    folder = _FOLDERS.get(stage, stage)
    state = Path(config.results) / ".state" / folder / name
    return Job(stage, name, output, state, Path(str(config.logs)) / log, **rest)
