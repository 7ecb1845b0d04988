"""Check of results against the code, the configuration and the files that are here now."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gems import provenance
from gems.config import Config
from gems.errors import GemsError
from gems.files import read_json
from gems.provenance import NAME, Stage, Subject

RESULTS = ("**/result.json", "**/dataset.json", "**/*.safetensors", "items/*.npy")
OPTIONS_SHOWN = 3


class Record(BaseModel):
    """What the check takes of a provenance file."""

    stage: Stage
    embedding: str | None
    environment: str | None
    method: str | None
    seed: int | None
    vae: dict[str, float]
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
        problems: result -> what is wrong with it, only of those with a problem.
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
    paths = [path for path in sorted(root.rglob(f"*{NAME}")) if _shown(path, root)]
    report = Report(len(paths))
    records: dict[Path, Record] = {}
    makers: dict[Path, Path] = {}
    for path in paths:
        try:
            records[path] = Record.model_validate(read_json(path))
        except (GemsError, ValidationError):
            report.problems[path] = ["its record is damaged"]
            continue
        makers |= {(path.parent / name).resolve(): path for name in records[path].outputs}
    results = {p for pattern in RESULTS for p in root.glob(pattern) if _shown(p, root)}
    for path in sorted(results):
        beside = provenance.record_of(path.parent if path.suffix == ".json" else path)
        if path.resolve() not in makers and beside not in report.problems:
            report.problems[path] = ["it has no record"]
    if not paths and not results:
        raise GemsError(f"There is no result in {root}.")

    @cache
    def code(subject_code: tuple[str, str | None]) -> str:
        return Subject(subject_code[0], method=subject_code[1]).code()  # type: ignore[arg-type]

    digest = cache(provenance.sha256)

    @cache
    def problems(path: Path) -> tuple[str, ...]:
        record = records[path]
        found = list(_of_record(record, config, code((record.stage, record.method))))
        for name, expected in record.outputs.items():
            output = path.parent / name
            if not output.is_file():
                found.append(f"{name} is missing")
            elif digest(output.resolve()) != expected:
                found.append(f"{name} is damaged or was changed")
        for name, expected in record.inputs.items():
            source = (path.parent / name).resolve()
            if not source.is_file():
                report.absent.add(source)
            elif digest(source) != expected:
                found.append(f"its input {source.name} is another one now")
            elif source in makers and problems(makers[source]):
                found.append(f"its input {source.name} does not match either")
        return tuple(found)

    for path in records:
        if problems(path):
            report.problems[path] = list(problems(path))
    return report


def _shown(path: Path, root: Path) -> bool:
    """Whether no part of the path below the root is hidden, as states of unfinished jobs are."""
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _of_record(record: Record, config: Config, code: str) -> Iterator[str]:
    if record.code != code:
        yield "other code"
    now, then = (dict(_flat(v)) for v in (record.subject.values(config), record.config))
    differ = [
        f"{name} was {then.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name)
    ]
    if differ:
        more = f", and {len(differ) - OPTIONS_SHOWN} more" if len(differ) > OPTIONS_SHOWN else ""
        yield f"other configuration ({', '.join(differ[:OPTIONS_SHOWN])}{more})"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
