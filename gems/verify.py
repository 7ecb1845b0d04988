"""Check of results against the code, the configuration and the files that are here now."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gems import provenance
from gems.analysis.catalogue import FIGURES, TABLES
from gems.config import Config, flat
from gems.errors import GemsError
from gems.files import read_json
from gems.provenance import NAME, Stage, Subject, record_of

RESULTS = (
    *("items/*.npy", "**/dataset.json", "vae/*.safetensors", "mf/*.safetensors"),
    *("**/result.json", *(f"{name}.csv" for name in TABLES)),
    *(f"figures/{name}.pdf" for name in FIGURES),
)
SHOWN = 3


class Record(BaseModel):
    """What the check takes of a provenance file."""

    stage: Stage
    embedding: str | None
    environment: str | None
    method: str | None
    seed: int | None
    vae: dict[str, float]
    validation: str = ""
    variant: str = ""
    name: str = ""
    code: str
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]

    @property
    def subject(self) -> Subject:
        """What the result is of."""
        fields = Subject.__dataclass_fields__
        return Subject(**{name: getattr(self, name) for name in fields})


@dataclass
class Report:
    """Outcome of the check of a folder.

    Attributes:
        checked: number of results with a record.
        problems: result (folder, or file without its suffix) -> what is wrong with it.
        absent: inputs that are not here, so that nothing can be said of them.
    """

    checked: int = 0
    problems: dict[Path, list[str]] = field(default_factory=dict)
    absent: set[Path] = field(default_factory=set)


def verify(root: Path, config: Config) -> Report:
    """Check every result under ``root``.

    Raises:
        GemsError: there is no result.
    """
    check = _Check(root, config)
    for path in check.records:
        if found := check.problems(path):
            check.report.problems[_result(path)] = found
    return check.report


class _Check:
    """The records below ``root``, by path, and what is wrong with each."""

    def __init__(self, root: Path, config: Config) -> None:
        self._root, self._config = root, config
        self.records: dict[Path, Record] = {}
        self.report = Report()
        self._makers: dict[Path, Path] = {}
        self._known: dict[Path, list[str]] = {}
        self._read()
        self._sha256 = cache(provenance.sha256)
        self._code = cache(lambda **of: Subject(**of).code())

    def _read(self) -> None:
        for path in self._found(f"**/*{NAME}"):
            self.report.checked += 1
            try:
                record = Record.model_validate(read_json(path))
            except (GemsError, ValidationError):
                self.report.problems[_result(path)] = ["its record is damaged"]
                continue
            self.records[path] = record
            self._makers |= {(path.parent / name).resolve(): path for name in record.outputs}
        for path in self._found(*RESULTS):
            if path.resolve() not in self._makers:
                lacks = path.parent / NAME if path.suffix == ".json" else record_of(path)
                self.report.problems.setdefault(_result(lacks), ["it has no record"])
        if not self.records and not self.report.problems:
            raise GemsError(f"There is no result in {self._root}.")

    def _found(self, *patterns: str) -> list[Path]:
        """Files that match, except in hidden folders, as those of unfinished jobs are."""
        found = {path for pattern in patterns for path in self._root.glob(pattern)}
        parts = {path: path.relative_to(self._root).parts for path in found}
        return sorted(p for p in found if not any(part.startswith(".") for part in parts[p]))

    def problems(self, path: Path) -> list[str]:
        """What is wrong with the result of the record at ``path``."""
        if path not in self._known:
            record = self.records[path]
            try:
                made = self._made_otherwise(record)
            except GemsError as error:  # an unknown method or environment
                made = [str(error).rstrip(".")]
            except KeyError:  # it tells what its stage does not have
                made = ["its record is damaged"]
            self._known[path] = made + self._outputs(path, record) + self._inputs(path, record)
        return self._known[path]

    def _made_otherwise(self, record: Record) -> list[str]:
        named = ("stage", "method", "name", "validation")
        code = self._code(**{name: getattr(record, name) for name in named})
        found = [] if record.code == code else ["other code"]
        now, then = (flat(v) for v in (record.subject.values(self._config), record.config))
        differ = [
            f"{name} was {then.get(name)!r}, is {now.get(name)!r}"
            for name in sorted(now.keys() | then.keys())
            if now.get(name) != then.get(name)
        ]
        if differ:
            found.append(f"other configuration ({_first(differ)})")
        return found

    def _outputs(self, path: Path, record: Record) -> list[str]:
        found = []
        for name, expected in record.outputs.items():
            output = (path.parent / name).resolve()
            if not output.is_file():
                found.append(f"{name} is missing")
            elif self._sha256(output) != expected:
                found.append(f"{name} is damaged or was changed")
        return found

    def _inputs(self, path: Path, record: Record) -> list[str]:
        changed, stale = set(), set()
        for name, expected in record.inputs.items():
            source = (path.parent / name).resolve()
            if not source.is_file():
                self.report.absent.add(source)
            elif self._sha256(source) != expected:
                changed.add(self._named(source))
            elif source in self._makers and self.problems(self._makers[source]):
                stale.add(self._named(_result(self._makers[source])))
        found = [f"other inputs now ({_first(changed)})"] if changed else []
        return found + [f"made from what does not match ({_first(stale)})"] * bool(stale)

    def _named(self, path: Path) -> str:
        """A path as it is told: within the results, where it lies there."""
        root = self._root.resolve()
        path = path.resolve()
        return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _first(names: Iterable[str]) -> str:
    """The first few of the names, and how many more there are."""
    names = sorted(names)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + f", and {more} more" * (more > 0)


def _result(record: Path) -> Path:
    """The result that a record lies beside: a folder, or a file without its suffix."""
    if record.name == NAME:
        return record.parent
    return record.with_name(record.name.removesuffix(f".{NAME}"))
