"""Reading logs from Parquet, CSV and JSON-lines files in batches, with Arrow.

A batch is a dict of Arrow arrays by column. In CSV files all values are texts.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json
from pyarrow import parquet

from gems.errors import GemsError

BATCH_ROWS = 65_536
BLOCK_BYTES = 8_000_000

Batch = dict[str, Any]

SUFFIXES = {
    ".parquet": "parquet",
    **dict.fromkeys((".csv", ".csv.gz"), "csv"),
    **dict.fromkeys((".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"), "json"),
}


class RowError(Exception):
    """A row is refused.

    Attributes:
        index: number of the row in its batch, from 0.
        problem: what is wrong with it; it completes "row 5: ...".
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index, self.problem = int(index), problem


def kind_of(path: Path) -> str:
    """Format of a file, by its suffix: ``parquet``, ``csv`` or ``json``.

    Raises:
        GemsError: the file does not exist or has another suffix.
    """
    for suffix, kind in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            if not path.is_file():
                raise GemsError(f"The log {path} does not exist.")
            return kind
    raise GemsError(f"{path} is not a log; the name must end in {', '.join(SUFFIXES)}.")


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a file; of JSON lines, those of the first line.

    Raises:
        GemsError: the file cannot be read, or is empty.
    """
    kind = kind_of(path)
    try:
        if kind == "parquet":
            with parquet.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        with io.TextIOWrapper(_opened(path), encoding="utf-8-sig", newline="") as file:
            if kind == "csv":
                names = next((record for record in csv.reader(file) if record), [])
            else:
                line = next((line for line in file if line.strip()), "{}")
                names = list(_object(line, 0))
    except RowError as error:
        raise GemsError(f"{path.name}, {place(path, 1)}: {error.problem}.") from None
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if not names:
        raise GemsError(f"The log {path} is empty.")
    return names


def batches(path: Path, names: Sequence[str]) -> Iterator[Batch]:
    """The columns ``names`` of a file in batches of bounded size.

    Raises:
        GemsError: the file cannot be read.
        RowError: a row cannot be read; of the batch after the last one.
    """
    read = {"parquet": _parquet, "csv": _csv, "json": _json}[kind_of(path)]
    try:
        yield from read(path, names)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise _unreadable(path, error) from error


def place(path: Path, row: int) -> str:
    """Where row ``row``, from 1, is in a file: "row 5", in text files with the line."""
    kind = kind_of(path)
    if kind == "parquet":
        return f"row {row}"
    with io.TextIOWrapper(_opened(path), encoding="utf-8", errors="replace", newline="") as file:
        if kind == "csv":
            records = csv.reader(file)
            lines = (records.line_num for record in records if record)
            line = next(islice(lines, row, None), None)  # after the header
        else:
            lines = (number for number, text in enumerate(file, 1) if text.strip())
            line = next(islice(lines, row - 1, None), None)
    return f"row {row}" if line is None else f"row {row} (line {line})"


def _unreadable(path: Path, error: BaseException) -> GemsError:
    cause = " ".join(str(error).split()).rstrip(".")
    return GemsError(f"{path} cannot be read; is it damaged? {cause}.")


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")


def _parquet(path: Path, names: Sequence[str]) -> Iterator[Batch]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
            yield dict(zip(batch.schema.names, batch.columns, strict=True))


def _csv(path: Path, names: Sequence[str]) -> Iterator[Batch]:
    done, wrong = 0, []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    options = (
        # Threads would read blocks out of order, without numbers of rows.
        arrow_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        arrow_csv.ParseOptions(invalid_row_handler=refuse, newlines_in_values=True),
        arrow_csv.ConvertOptions(
            include_columns=list(names),
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    with pa.input_stream(str(path)) as file:
        try:
            for batch in arrow_csv.open_csv(file, *options):
                yield dict(zip(batch.schema.names, batch.columns, strict=True))
                done += batch.num_rows
        except pa.ArrowInvalid:
            if not wrong or wrong[0].number is None:
                raise
            row = wrong[0]
            problem = f"it has {row.actual_columns} values for {row.expected_columns} columns"
            raise RowError(row.number - 2 - done, problem) from None


def _json(path: Path, names: Sequence[str]) -> Iterator[Batch]:
    with _opened(path) as file:
        while block := file.read(BLOCK_BYTES):
            block += file.readline()
            if not block.isspace():
                yield json_rows(block, names)


def json_rows(block: bytes, names: Sequence[str]) -> Batch:
    """The members ``names`` of JSON objects, one a line; a missing member is null.

    Raises:
        RowError: a line is not a JSON object.
    """
    if schema := _schema(block, names):
        options = arrow_json.ReadOptions(block_size=len(block) + 1, use_threads=False)
        parse = arrow_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore", newlines_in_values=False
        )
        try:
            table = arrow_json.read_json(io.BytesIO(block), options, parse)
            return {name: table.column(name).combine_chunks() for name in names}
        except pa.ArrowInvalid:
            pass  # a line is damaged, or has values of another type
    rows = [_object(line, index) for index, line in enumerate(_lines(block))]
    return {name: _array([row.get(name) for row in rows]) for name in names}


def _lines(block: bytes) -> Iterable[bytes]:
    return (line for line in block.splitlines() if line.strip())


def _object(line: str | bytes, index: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RowError(index, "it is not a JSON object")
    return value


def _schema(block: bytes, names: Sequence[str]) -> Any:
    """Types of the columns by the first line; None if they are not simple."""
    try:
        first = json.loads(next(iter(_lines(block))))
        return pa.schema([(name, _type(first[name])) for name in names])
    except (ValueError, TypeError, KeyError, IndexError):
        return None


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return pa.list_(_type(value[0]))
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    return types[type(value)]


def _array(values: list[Any]) -> Any:
    """Values of JSON as an Arrow array; as texts if their types differ."""
    lists = [isinstance(value, list) for value in values if value is not None]
    if any(lists) and not all(lists):
        shown = next(i for i, value in enumerate(values) if not isinstance(value, list))
        raise RowError(shown, "it has a list in one column where other rows have none")
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_text(value) for value in values])


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(part) for part in value]
    return value if value is None or isinstance(value, str) else json.dumps(value)
