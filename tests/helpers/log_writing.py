"""Logs in every format and layout, for tests of their import."""

import gzip
import json

import pandas as pd

FORMATS = ("parquet", "csv", "csv.gz", "jsonl", "ndjson.gz")


def write_log(path, rows):
    """Write ``rows``, a list of dicts, in the format of the suffix of ``path``."""
    opened = gzip.open if path.suffix == ".gz" else open
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path, row_group_size=7)
        return path
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if ".csv" in path.suffixes:
            text = {list: lambda values: " ".join(map(str, values))}
            rows = [{k: text.get(type(v), lambda v: v)(v) for k, v in r.items()} for r in rows]
            pd.DataFrame(rows).to_csv(file, index=False)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def slate_rows(slates, turn=False):
    """One row per slate, of (user, items, clicks)."""
    turns: dict = {}
    rows = []
    for user, items, clicks in slates:
        number = turns[user] = turns.get(user, -1) + 1
        row = {"user": user, "slate": list(items), "clicks": list(clicks)}
        rows.append(row | ({"turn": number} if turn else {}))
    return rows


def item_rows(slates, first=0):
    """One row per item, with positions from ``first``."""
    return [
        {"user": row["user"], "turn": row["turn"], "position": place, "item": item, "click": click}
        for row in slate_rows(slates, turn=True)
        for place, (item, click) in enumerate(zip(row["slate"], row["clicks"], strict=True), first)
    ]


LAYOUTS = {"slates": slate_rows, "items": item_rows}


def slates_of(data):
    """(user, items, clicks) of every slate of a dataset, as plain Python numbers."""
    read = data.read(slice(None))
    return [
        (user, read.items[number].tolist(), read.clicks[number].astype(int).tolist())
        for user in range(data.users)
        for number in range(data.starts[user], data.starts[user + 1])
    ]
