"""The two layouts of logs, one row per slate or one row per item, read into whole slates.

The values of rows wait in a temporary file until all users, items and turns are known. Memory grows
by about 100 bytes a slate of 10 items, or, if the rows of a slate are not together, by about 60
bytes a row; and with the number of distinct ids.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyarrow import compute

from gems.data import log_files, log_values
from gems.data.log_files import Batch, RowError
from gems.data.log_values import Numbering, Turns
from gems.envs.items import item_dtype
from gems.errors import GemsError
from gems.runtime.progress import Progress

READ_RECORDS = 100_000


class Logged(NamedTuple):
    """The slates of a log by user, then by turn.

    Attributes:
        slates: (slates, slate size) of ``items.item_dtype``.
        clicks: (slates, slate size) bool.
        turns: number of turns of each user, (users,).
        user_ids: ids of users by number.
        item_ids: ids of items by number.
    """

    slates: NDArray[np.signedinteger[Any]]
    clicks: NDArray[np.bool_]
    turns: NDArray[np.int64]
    user_ids: list[str]
    item_ids: list[str]


class Log:
    """A log of one layout.

    Args:
        file: the file.
        columns: names of its columns by role.
        items: see ``import_logs``.
        waiting: empty temporary file.
    """

    def __init__(
        self, file: Path, columns: dict[str, str], items: int | None, waiting: BinaryIO
    ) -> None:
        self._file, self._columns, self._waiting = file, columns, waiting
        self._n_items = items
        self._users, self._items, self._turns = Numbering(), Numbering(), Turns()
        self._rows = 0
        # User, turn and first row of groups: slates, or consecutive rows of one slate.
        self._groups: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]] = []
        self._n_groups = 0

    def read(self) -> Logged:
        """Read the whole file.

        Raises:
            GemsError: the file cannot be read, or a row does not fit.
        """
        try:
            with Progress(f"importing {self._file.name}", None, "rows") as progress:
                for batch in log_files.batches(self._file, list(self._columns.values())):
                    rows = len(batch[self._columns["user"]])
                    _complete(batch)
                    if rows:
                        self._add({role: batch[name] for role, name in self._columns.items()})
                    self._rows += rows
                    progress.advance(rows)
            if self._rows and len(self._users.ids) > 1:
                return self._logged()
        except RowError as error:
            row = self._rows + error.index + 1
            where = log_files.place(self._file, row)
            raise GemsError(f"{self._file.name}, {where}: {error.problem}.") from None
        raise GemsError(
            f"{self._file.name} has {len(self._users.ids)} user(s); 2 are needed at least, because "
            "pretraining holds out users for validation."
        )

    def _add(self, batch: Batch) -> None:
        """Keep the rows of a batch, whose keys are roles of columns."""
        raise NotImplementedError

    def _logged(self) -> Logged:
        raise NotImplementedError

    def _item_numbers(self, column: Any) -> NDArray[np.int64]:
        """Numbers of items: those of the log, or by first appearance."""
        if self._n_items is None:
            return self._items.of(column)
        codes, values = log_values.parsed(column, log_values.item_number(self._n_items))
        return np.array(values, dtype=np.int64)[codes]

    def _add_groups(
        self, users: NDArray[np.int64], turns: NDArray[np.int64], first: NDArray[np.int64]
    ) -> None:
        self._groups.append((users[first].astype(np.int32), turns[first], self._rows + first))
        self._n_groups += len(first)

    def _all_groups(self) -> list[NDArray[np.int64]]:
        """User, turn and first row of all groups, once."""
        parts = [list(part) for part in zip(*self._groups, strict=True)]
        self._groups.clear()
        return [np.concatenate(parts.pop(0)) for _ in range(len(parts))]

    def _item_order(self) -> tuple[list[str], NDArray[np.signedinteger[Any]]]:
        """Ids of items by final number, and final numbers by number."""
        if self._n_items is not None:
            ids = [str(number) for number in range(self._n_items)]
            return ids, np.arange(self._n_items, dtype=item_dtype(self._n_items))
        ids = self._items.ids
        order = log_values.sorted_ids(ids)
        final = np.empty(len(ids), dtype=item_dtype(len(ids)))
        final[order] = np.arange(len(ids))
        return [ids[i] for i in order], final

    def _records(self, kind: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        """What was written to the temporary file, in parts."""
        self._waiting.seek(0)
        while part := self._waiting.read(READ_RECORDS * kind.itemsize):
            yield np.frombuffer(part, dtype=kind)


class SlateRows(Log):
    """One row per slate: its user, its turn if there is such a column, its items, their clicks."""

    _size = 0

    @property
    def _kind(self) -> np.dtype[Any]:
        return np.dtype([("items", "i4", (self._size,)), ("clicks", "?", (self._size,))])

    def _add(self, batch: Batch) -> None:
        users = self._users.of(batch["user"])
        rows = np.arange(len(users))
        turns = self._turns.of(batch["turn"]) if "turn" in batch else self._rows + rows
        items, lengths = log_values.lists(batch["slate"])
        clicks, clicked = log_values.lists(batch["clicks"])
        self._size = self._size or int(lengths[0])
        size = self._size
        _check(lengths == size, lambda i: f"its slate has {lengths[i]} items, the first has {size}")
        _check(clicked == size, lambda i: f"it has {clicked[i]} clicks for {size} items")
        _check(lengths > 0, lambda i: "its slate is empty")
        records = np.empty(len(users), dtype=self._kind)
        with _by_slate(size):
            records["items"] = self._item_numbers(items).reshape(-1, size)
            codes, values = log_values.parsed(clicks, log_values.click)
            records["clicks"] = np.array(values)[codes].reshape(-1, size)
        self._waiting.write(records.tobytes())
        self._add_groups(users, turns, rows)

    def _logged(self) -> Logged:
        place, turns = self._places()
        ids, final = self._item_order()
        slates = np.empty((len(place), self._size), dtype=final.dtype)
        clicks = np.empty(slates.shape, dtype=np.bool_)
        done = 0
        for part in self._records(self._kind):
            here = place[done : done + len(part)]
            slates[here], clicks[here] = final[part["items"]], part["clicks"]
            done += len(part)
        return Logged(slates, clicks, turns, self._users.ids, ids)

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of each row's slate, and the number of turns of each user."""
        users, turns, _ = self._all_groups()
        if "turn" in self._columns:
            order = np.lexsort((turns, users))
            again = (np.diff(users[order]) == 0) & (np.diff(turns[order]) == 0)
            if again.any():
                row = int(order[1:][again].min())
                earlier = int(np.flatnonzero((users == users[row]) & (turns == turns[row]))[0])
                problem = f"its user and turn are those of row {earlier + 1}"
                raise RowError(row - self._rows, problem)
        if not self._turns.sorted:
            order = np.argsort(users, kind="stable")
        return _inverse(order), np.bincount(users)


class ItemRows(Log):
    """One row per item of a slate: user and turn of the slate, position, item and click."""

    _kind = np.dtype([("group", "i4"), ("position", "i4"), ("item", "i4"), ("click", "?")])
    _first_position = log_values.MAX_POSITION

    def _add(self, batch: Batch) -> None:
        users, turns = self._users.of(batch["user"]), self._turns.of(batch["turn"])
        begins = np.ones(len(users), dtype=np.bool_)
        begins[1:] = (np.diff(users) != 0) | (np.diff(turns) != 0)
        records = np.empty(len(users), dtype=self._kind)
        records["group"] = self._n_groups + np.cumsum(begins) - 1
        codes, positions = log_values.parsed(batch["position"], log_values.position)
        records["position"] = np.array(positions)[codes]
        records["item"] = self._item_numbers(batch["item"])
        codes, clicks = log_values.parsed(batch["click"], log_values.click)
        records["click"] = np.array(clicks)[codes]
        self._first_position = min(self._first_position, *positions)
        self._waiting.write(records.tobytes())
        self._add_groups(users, turns, np.flatnonzero(begins))

    def _logged(self) -> Logged:
        first = self._first_position
        if first > 1:
            raise GemsError(f"{self._file.name}: positions start at {first}; start at 0 or 1.")
        slate, users, rows = self._slates()
        counts = np.zeros(len(users), dtype=np.int64)
        for part in self._records(self._kind):
            counts += np.bincount(slate[part["group"]], minlength=len(users))
        size = int(np.bincount(counts).argmax())
        ids, final = self._item_order()
        slates = np.full((len(users), size), -1, dtype=final.dtype)
        clicks = np.zeros(slates.shape, dtype=np.bool_)
        for part in self._records(self._kind):
            part = part[part["position"] - first < size]
            where = slate[part["group"]], part["position"] - first
            slates[where], clicks[where] = final[part["item"]], part["click"]
        if len(bad := np.flatnonzero((counts != size) | (slates < 0).any(axis=1))):
            self._refuse(slate == bad[rows[bad].argmin()], size)
        return Logged(slates, clicks, np.bincount(users), self._users.ids, ids)

    def _slates(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The slate of each group, and the user and the first row of each slate."""
        users, turns, rows = self._all_groups()
        order = np.lexsort((turns, users))
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (np.diff(users[order]) != 0) | (np.diff(turns[order]) != 0)
        slate = np.empty(len(order), dtype=np.int64)
        slate[order] = np.cumsum(begins) - 1
        users, rows = users[order[begins]], rows[order[begins]]
        if not self._turns.sorted:
            order = np.lexsort((rows, users))
            slate, users, rows = _inverse(order)[slate], users[order], rows[order]
        return slate, users, rows

    def _refuse(self, groups: NDArray[np.bool_], size: int) -> None:
        """Refuse the slate of these groups, which lacks a position or has one twice."""
        first = self._first_position
        rows: dict[int, int] = {}
        done = 0
        for part in self._records(self._kind):
            for index in np.flatnonzero(groups[part["group"]]):
                row, position = done + int(index), int(part["position"][index])
                if position in rows:
                    problem = f"its slate has position {position} in row {rows[position] + 1} too"
                    raise RowError(row - self._rows, problem)
                if position - first >= size:
                    problem = f"its position is {position}, that of other slates {{}} at most"
                    raise RowError(row - self._rows, problem.format(size - 1 + first))
                rows[position] = row
            done += len(part)
        lacks = min(set(range(first, first + size)) - rows.keys())
        problem = f"its slate lacks position {lacks} of {first} to {size - 1 + first}"
        raise RowError(min(rows.values()) - self._rows, problem)


def _complete(batch: Batch) -> None:
    for name, column in batch.items():
        if column.null_count:
            index = compute.index(column.is_null(), True).as_py()
            raise RowError(index, f"column {name!r} has no value")


def _inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place


def _check(fits: NDArray[np.bool_], problem: Any) -> None:
    if not fits.all():
        index = int(np.argmin(fits))
        raise RowError(index, problem(index))


@contextmanager
def _by_slate(size: int) -> Iterator[None]:
    """Turn the number of an element in an error into that of its slate."""
    try:
        yield
    except RowError as error:
        raise RowError(error.index // size, error.problem) from None
