"""Values in the columns of logs: ids, clicks, positions, turns and lists of them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from gems.data.log_files import RowError, json_rows

T = TypeVar("T")
MAX_POSITION = 1_000_000
_CLICKS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}


def parsed(column: Any, parse: Callable[[Any], T]) -> tuple[NDArray[np.int64], list[T]]:
    """Distinct values of a column, parsed, and for each row the index of its value.

    Raises:
        RowError: a value is missing, or ``parse`` raises a ValueError.
    """
    if column.null_count:
        raise RowError(compute.index(column.is_null(), True).as_py(), "a value is missing")
    if pa.types.is_dictionary(column.type):  # which may hold values of other batches
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        raise RowError(0, f"single values are needed, but a column holds {column.type}")
    encoded = column.dictionary_encode()
    values: list[Any] = []
    wrong: dict[int, str] = {}
    for code, value in enumerate(encoded.dictionary.to_pylist()):
        try:
            values.append(parse(value))
        except ValueError as error:
            values.append(None)
            wrong[code] = str(error)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    if wrong and (found := np.isin(codes, list(wrong))).any():
        first = int(np.argmax(found))
        raise RowError(first, wrong[int(codes[first])])
    return codes.astype(np.int64), values


def identifier(value: Any) -> str:
    """An id as a text: 5, 5.0 and "5" are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if isinstance(value, int | str) else ""
    if not text:
        raise ValueError("an id is missing" if _missing(value) else f"{value!r} is not an id")
    return text


def item_number(items: int) -> Callable[[Any], int]:
    """Parser of items that are numbered from 0 to ``items`` - 1."""

    def parse(value: Any) -> int:
        number = whole_number(value)
        if not 0 <= number < items:
            raise ValueError(f"item {number} is not one from 0 to {items - 1}")
        return number

    return parse


def click(value: Any) -> int:
    found = _CLICKS.get(str(value).strip().lower())
    if found is None:
        raise ValueError(
            f"the click {value!r} is not 0, 1, true or false (write lists as JSON or with spaces)"
        )
    return found


def position(value: Any) -> int:
    number = whole_number(value)
    if not 0 <= number <= MAX_POSITION:
        raise ValueError(f"the position {number} is not one from 0 to {MAX_POSITION}")
    return number


def whole_number(value: Any) -> int:
    """A whole number of 64 bits."""
    text = identifier(value)
    number = int(text.split(".")[0]) if re.fullmatch(r"[+-]?\d+(\.0*)?", text) else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{value!r} is not a whole number")
    return number


def time(value: Any) -> int:
    """Microseconds since 1970 of a text in ISO 8601, in UTC if it names no time zone."""
    try:
        moment = datetime.fromisoformat(identifier(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a date or time in ISO 8601") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _missing(value: Any) -> bool:
    return value is None or value != value or str(value).strip() == ""


def lists(column: Any) -> tuple[Any, NDArray[np.int64]]:
    """All elements of a column of lists, or of texts such as "3 17 5" or "[3, 17, 5]", not null.

    Returns:
        The elements and, for each row, how many it has.

    Raises:
        RowError: a value is not a list.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _split(compute.utf8_trim_whitespace(column))
    kind = column.type
    if not any(is_a(kind) for is_a in (pa.types.is_list, pa.types.is_large_list, _fixed)):
        raise RowError(0, f"lists are needed, but a column holds {kind}")
    return column.flatten(), compute.list_value_length(column).to_numpy().astype(np.int64)


def _fixed(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _split(texts: Any) -> Any:
    """Lists of a column of texts."""
    as_json = compute.starts_with(texts, "[")
    if not compute.any(as_json).as_py():
        return compute.utf8_split_whitespace(texts)
    if not compute.all(as_json).as_py():
        raise RowError(
            compute.index(as_json, False).as_py(), "its list is not written like that of other rows"
        )
    marks = [("\r", " "), ("\n", " ")]
    if not compute.any(compute.match_substring(texts, '"')).as_py():
        marks += [("True", "true"), ("False", "false")]  # as Python writes lists
    for mark, replacement in marks:
        texts = compute.replace_substring(texts, mark, replacement)
    block = "\n".join(f'{{"list":{text}}}' for text in texts.to_pylist())
    try:
        return json_rows(block.encode(), ["list"])["list"]
    except RowError as error:
        raise RowError(
            error.index, "its list is neither JSON, such as [3, 17], nor separated by spaces"
        ) from None


class Numbering:
    """Numbers ids from 0 in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def ids(self) -> list[str]:
        return list(self._numbers)

    def of(self, column: Any) -> NDArray[np.int64]:
        """Numbers of the ids in a column.

        Raises:
            RowError: an id is missing.
        """
        parse = str if pa.types.is_integer(column.type) else identifier  # which is slower
        codes, ids = parsed(column, parse)
        numbers = self._numbers
        found = [numbers.setdefault(name, len(numbers)) for name in ids]
        return np.array(found, dtype=np.int64)[codes]


class Turns:
    """Turns as numbers that sort as they do, or texts by first appearance.

    Attributes:
        sorted: whether the turns are whole numbers or times (also texts in ISO 8601), which order a
            user's slates; the order of the file does otherwise.
    """

    def __init__(self) -> None:
        self._texts = Numbering()
        self._parse: Callable[[Any], int] | None = None
        self._begun = False

    @property
    def sorted(self) -> bool:
        return self._parse is not None

    def of(self, column: Any) -> NDArray[np.int64]:
        """Numbers of the turns in a column.

        Raises:
            RowError: a turn is missing, or is a text after whole numbers or times.
        """
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("ms"))
        if pa.types.is_temporal(column.type):
            column = column.cast(pa.int64())
        if not self._begun and len(column):
            first, self._begun = column[0].as_py(), True
            readers = (parse for parse in (whole_number, time) if _reads(parse, first))
            self._parse = next(readers, None)
        if self._parse is None:
            return self._texts.of(column)
        if pa.types.is_signed_integer(column.type):
            return column.cast(pa.int64()).to_numpy()
        codes, values = parsed(column, self._parse)
        return np.array(values, dtype=np.int64)[codes]


def _reads(parse: Callable[[Any], int], value: Any) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def sorted_ids(ids: list[str]) -> list[int]:
    """Indices that sort ids: by value if all are whole numbers, or as texts."""
    if all(re.fullmatch(r"0|-?[1-9]\d*", name) for name in ids):
        return sorted(range(len(ids)), key=lambda i: int(ids[i]))
    return sorted(range(len(ids)), key=ids.__getitem__)
