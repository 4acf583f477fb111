"""Prints the rows of Parquet files as DuckDB and pyarrow read them, one JSON object a line, in the order of `id`.

The two have to agree on every value. Times are shown in UTC with all their digits, bytes in hexadecimal, maps as lists of
pairs.
"""

import datetime
import decimal
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet


def main():
    files = sys.argv[1:]
    by_pyarrow = sorted((row for file in files for row in rows_of_pyarrow(file)), key=lambda row: row["id"])
    by_duckdb = sorted(rows_of_duckdb(files), key=lambda row: row["id"])
    for one, other in zip(by_pyarrow, by_duckdb, strict=True):
        if one != other:
            sys.exit(f"pyarrow reads {one}, DuckDB {other}")
        print(json.dumps(one, ensure_ascii=False))


def rows_of_pyarrow(file):
    table = pyarrow.parquet.read_table(file)
    # As Python knows them: nanoseconds are shown as a count.
    columns = [plain_times(column) for column in table.columns]
    table = pa.table(columns, names=table.column_names)
    return [{name: shown(value) for name, value in row.items()} for row in table.to_pylist(maps_as_pydicts=None)]


def plain_times(column):
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.int64())
    return column


def rows_of_duckdb(files):
    relation = duckdb.connect().read_parquet(files)
    kinds = {name: str(kind) for name, kind in zip(relation.columns, relation.types)}
    # As counts: Python's times need a module for zones, and have no nanoseconds.
    counts = {name: "epoch_ns" if "NS" in kind else "epoch_us" for name, kind in kinds.items() if "TIMESTAMP" in kind}
    select = ", ".join(f'{counts.get(name, "")}("{name}") AS "{name}"' for name in kinds)
    rows = [dict(zip(kinds, map(shown, row))) for row in relation.project(select).fetchall()]
    for row in rows:
        for name, count in counts.items():
            if count == "epoch_us" and row[name] is not None:
                row[name] = (datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=row[name])).isoformat()
    return rows


def shown(value):
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return value.isoformat()
    if isinstance(value, (datetime.date, decimal.Decimal)):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        # DuckDB's maps are dictionaries, whose keys are no texts always; structs have texts.
        return {str(name): shown(member) for name, member in value.items()}
    if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
        return {str(name): shown(member) for name, member in value}
    if isinstance(value, list):
        return [shown(element) for element in value]
    return value


if __name__ == "__main__":
    main()
