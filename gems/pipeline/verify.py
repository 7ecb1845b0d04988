"""Verification of results against the current code, configuration and files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gems.config import Config
from gems.config.loading import flat
from gems.errors import GemsError
from gems.pipeline.digest import code_digest
from gems.pipeline.job import Job
from gems.pipeline.provenance import PROVENANCE
from gems.pipeline.stages import job_of, results_patterns
from gems.runtime.files import read_json, sha256

SHOWN = 3


class Record(BaseModel):
    """A provenance record; its extra fields identify the job."""

    model_config = ConfigDict(extra="allow")

    stage: str
    code: str
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]

    def job(self, config: Config) -> Job:
        return job_of(config, self.stage, self.model_extra or {})


@dataclass
class Report:
    """Outcome of the verification of a folder.

    Attributes:
        checked: number of results with a record.
        problems: problems of each result (a folder, or a file without its suffix).
        absent: input files that are missing here and so could not be checked.
    """

    checked: int = 0
    problems: dict[Path, list[str]] = field(default_factory=dict)
    absent: set[Path] = field(default_factory=set)


def verify(root: Path, config: Config) -> Report:
    """Check every result under ``root``.

    Raises:
        GemsError: the folder has no results.
    """
    check = _Check(root, config)
    for path in check.records:
        if problems := check.problems(path):
            check.report.problems[_result(path)] = problems
    return check.report


class _Check:
    def __init__(self, root: Path, config: Config) -> None:
        self._root, self._config = root, config
        self.records: dict[Path, Record] = {}
        self.report = Report()
        self._makers: dict[Path, Path] = {}
        self._known: dict[Path, list[str]] = {}
        self._read()
        self._sha256 = cache(sha256)
        self._code = cache(lambda modules: code_digest(*modules))

    def _read(self) -> None:
        for path in self._glob(f"**/*{PROVENANCE}"):
            self.report.checked += 1
            try:
                record = Record.model_validate(read_json(path))
            except (GemsError, ValidationError):
                self.report.problems[_result(path)] = ["damaged provenance record"]
                continue
            self.records[path] = record
            self._makers |= {(path.parent / name).resolve(): path for name in record.outputs}
        for path in self._glob(*results_patterns()):
            if path.resolve() not in self._makers:
                self.report.problems.setdefault(_without_record(path), ["no provenance record"])
        if not self.records and not self.report.problems:
            raise GemsError(f"There is no result in {self._root}.")

    def _glob(self, *patterns: str) -> list[Path]:
        """Matching files outside hidden folders, which hold the states of unfinished jobs."""
        paths = {path for pattern in patterns for path in self._root.glob(pattern)}
        parts = {path: path.relative_to(self._root).parts for path in paths}
        return sorted(p for p in paths if not any(part.startswith(".") for part in parts[p]))

    def problems(self, path: Path) -> list[str]:
        if path not in self._known:
            record = self.records[path]
            try:
                problems = self._changes(record)
            except GemsError as error:  # an unknown method or environment
                problems = [str(error).rstrip(".")]
            except (KeyError, TypeError, AttributeError, ValueError):  # not what a stage has
                problems = ["damaged provenance record"]
            self._known[path] = problems + self._outputs(path, record) + self._inputs(path, record)
        return self._known[path]

    def _changes(self, record: Record) -> list[str]:
        job = record.job(self._config)
        problems = [] if record.code == self._code(job.modules) else ["code has changed"]
        now, then = flat(job.values), flat(record.config)
        differ = [
            f"{name} was {then.get(name)!r}, is {now.get(name)!r}"
            for name in sorted(now.keys() | then.keys())
            if now.get(name) != then.get(name)
        ]
        if differ:
            problems.append(f"options have changed ({_first(differ)})")
        return problems

    def _outputs(self, path: Path, record: Record) -> list[str]:
        problems = []
        for name, expected in record.outputs.items():
            output = (path.parent / name).resolve()
            if not output.is_file():
                problems.append(f"{name} is missing")
            elif self._sha256(output) != expected:
                problems.append(f"{name} is damaged or was changed")
        return problems

    def _inputs(self, path: Path, record: Record) -> list[str]:
        changed, stale = set(), set()
        for name, expected in record.inputs.items():
            source = (path.parent / name).resolve()
            if not source.is_file():
                self.report.absent.add(source)
            elif self._sha256(source) != expected:
                changed.add(self._shown(source))
            elif source in self._makers and self.problems(self._makers[source]):
                stale.add(self._shown(_result(self._makers[source])))
        problems = [f"inputs have changed ({_first(changed)})"] if changed else []
        return problems + [f"stale inputs ({_first(stale)})"] * bool(stale)

    def _shown(self, path: Path) -> str:
        """A path as messages show it: relative to the results where possible."""
        root = self._root.resolve()
        path = path.resolve()
        return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _without_record(path: Path) -> Path:
    if path.suffix == ".json":
        return path.parent
    return path if path.suffix in (".csv", ".pdf") else path.with_suffix("")


def _first(names: Iterable[str]) -> str:
    """The first ``SHOWN`` names, and the number of others."""
    names = sorted(names)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + f", and {more} more" * (more > 0)


def _result(record: Path) -> Path:
    """The result that a record belongs to: a folder, or a file without its suffix."""
    if record.name == PROVENANCE:
        return record.parent
    return record.with_name(record.name.removesuffix(f".{PROVENANCE}"))
