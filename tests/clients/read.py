"""Reads delivered objects with programs that know nothing of Hydrant, and compares them with what was sent.

Every object under a prefix is fetched with boto3 and read twice: lines by Python's gzip and by DuckDB,
Parquet by pyarrow and by DuckDB. Either reading, as a multiset, has to equal the records that the files
`--sent` hold, one per line. Lines are compared byte by byte; Parquet by the columns of the file, each value
as its column's type makes it, timestamps left aside because their text has many readings. Standard output is
one line of JSON; the exit code is 1 on any difference.
"""

import argparse
import collections
import decimal
import gzip
import json
import os
import struct
import sys
import tempfile

REGION = "us-east-1"
CONTENT_TYPE = "application/octet-stream"
# Enough to see what is wrong, and short enough for a test's output.
EXAMPLES_MAX = 3


def main():
    args = parse_arguments()
    try:
        report, equal = judge(args)
    except Exception as e:  # A reader that cannot read an object at all is an answer too.
        report, equal = {"error": f"{type(e).__name__}: {e}"}, False
    print(json.dumps(report))
    sys.exit(0 if equal else 1)


def judge(args):
    sent = [line for path in args.sent for line in read_lines(path)]
    with tempfile.TemporaryDirectory() as folder:
        objects = fetch(args.endpoint, args.bucket, args.prefix, folder)
        wrong = [problem for o in objects for problem in wrong_headers(o, args.content_encoding)]
        read = read_parquet if args.format == "parquet" else read_text
        expected, readings, problems = read([o["path"] for o in objects], args.format, sent)
    wrong += problems

    counts = {reader: compare(expected, seen) for reader, seen in readings.items()}
    report = {"objects": len(objects), "bytes": sum(o["bytes"] for o in objects), "sent": len(sent)}
    # The first reader's counts are the answer; those of the others are there to agree with it.
    report |= counts.pop(next(iter(counts))) | counts
    report["problems"] = len(wrong)
    if wrong:
        report["first_problems"] = wrong[:EXAMPLES_MAX]
    return report, not wrong and all(seen == expected for seen in readings.values())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="URL of the store")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--format", required=True, choices=("plain", "gzip", "parquet"))
    parser.add_argument("--sent", required=True, nargs="+", help="what put.py wrote, one file or several")
    parser.add_argument("--content-encoding", help="what every object has to carry; without it, none may carry any")
    return parser.parse_args()


def read_lines(path):
    with open(path, "rb") as file:
        return [line.rstrip(b"\n") for line in file]


def fetch(endpoint, bucket, prefix, folder):
    """Downloads every object under plain numbers, so that no reader draws conclusions from the names."""
    import boto3

    s3 = boto3.client("s3", endpoint_url=endpoint, region_name=REGION)
    objects = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            path = os.path.join(folder, f"{len(objects):06}")
            with open(path, "wb") as file:
                size = file.write(answer["Body"].read())
            encoding = answer.get("ContentEncoding")
            objects.append(
                {"key": entry["Key"], "path": path, "bytes": size, "type": answer["ContentType"], "encoding": encoding}
            )
    return objects


def wrong_headers(o, content_encoding):
    for name, found, expected in (
        ("Content-Type", o["type"], CONTENT_TYPE),
        ("Content-Encoding", o["encoding"], content_encoding),
    ):
        if found != expected:
            yield f"`{o['key']}` has {name} {found}, expected {expected}"


def compare(expected, seen):
    surplus = seen - expected
    differences = {
        "missing": expected - seen,
        "extra": collections.Counter({row: n for row, n in surplus.items() if row not in expected}),
        "duplicates": collections.Counter({row: n for row, n in surplus.items() if row in expected}),
    }
    counts = {"rows": seen.total()} | {name: rows.total() for name, rows in differences.items()}
    for name, rows in differences.items():
        if rows:
            counts[f"first_{name}"] = [text(row) for row in list(rows)[:EXAMPLES_MAX]]
    return counts


def text(row):
    return row.decode(errors="backslashreplace") if isinstance(row, bytes) else repr(row)


def read_text(paths, format, sent):
    lines, problems = [], []
    for path in paths:
        with (gzip.open if format == "gzip" else open)(path, "rb") as file:
            body = file.read()
        # Without the last newline, two objects put one after the other would join two records.
        if not body.endswith(b"\n"):
            problems.append(f"object {int(path[-6:])} does not end with a newline")
        lines += body.removesuffix(b"\n").split(b"\n")
    readings = {"python": collections.Counter(lines), "duckdb": collections.Counter()}
    if paths:
        compression = "gzip" if format == "gzip" else "none"
        source = f"read_ndjson_objects({literal(paths)}, compression='{compression}')"
        rows = duckdb_connection().execute(f"SELECT json::VARCHAR FROM {source}").fetchall()
        readings["duckdb"].update(row.encode() for (row,) in rows)
    return collections.Counter(sent), readings, problems


def read_parquet(paths, _format, sent):
    import pyarrow.parquet

    seen = {"pyarrow": collections.Counter(), "duckdb": collections.Counter()}
    if not paths:
        return collections.Counter(sent), seen, []
    tables = [pyarrow.parquet.ParquetFile(path).read() for path in paths]
    schema = tables[0].schema
    if not all(table.schema.equals(schema) for table in tables):
        return collections.Counter(sent), seen, ["the objects have different schemas, and only one can be compared"]
    fields = [field for field in schema if not pyarrow.types.is_temporal(field.type)]
    names = [field.name for field in fields]

    expected = collections.Counter(row_of(values_of(json.loads(line), names), fields) for line in sent)
    for table in tables:
        seen["pyarrow"].update(row_of(row.values(), fields) for row in table.select(names).to_pylist())
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    query = f"SELECT {columns} FROM read_parquet({literal(paths)}, hive_partitioning=false)"
    seen["duckdb"].update(row_of(row, fields) for row in duckdb_connection().execute(query).fetchall())
    return expected, seen, []


def duckdb_connection():
    import duckdb

    # An independent reader that fetches parts of itself from elsewhere would be a different one every day.
    return duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})


def literal(paths):
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


def values_of(record, names):
    """The record's value for each column; a table's column names may differ from JSON's keys in case."""
    by_lower_case = {key.lower(): value for key, value in record.items()}
    return [record.get(name, by_lower_case.get(name.lower())) for name in names]


def row_of(values, fields):
    return tuple(canonical(value, field.type) for value, field in zip(values, fields))


def canonical(value, type):
    """One form for a value, whether it comes from JSON, pyarrow or DuckDB, that can be counted."""
    import pyarrow.types as types

    if value is None:
        return None
    try:
        if types.is_boolean(type):
            return value if isinstance(value, bool) else ("not a boolean", repr(value))
        if types.is_integer(type):
            # Python takes True for 1 and cuts 1.5 to 1, and neither is what a column of integers means.
            whole = not isinstance(value, bool) and not (isinstance(value, float) and not value.is_integer())
            return int(value) if whole else ("not an integer", value)
        if types.is_float32(type):
            return struct.unpack("f", struct.pack("f", float(value)))[0]
        if types.is_floating(type):
            return float(value)
        if types.is_decimal(type):
            return decimal.Decimal(str(value)).normalize()
        if types.is_list(type) or types.is_large_list(type):
            return tuple(canonical(item, type.value_type) for item in value)
        if types.is_struct(type):
            return row_of(values_of(value, [field.name for field in type]), type)
        if types.is_map(type):
            pairs = value.items() if isinstance(value, dict) else value
            return frozenset((canonical(k, type.key_type), canonical(v, type.item_type)) for k, v in pairs)
        if types.is_temporal(type):
            return "some time"
    except (TypeError, ValueError, ArithmeticError) as e:
        return (f"not a {type}: {e}", repr(value))
    if isinstance(value, (str, bytes)):
        return value
    # A column of text holds what is no text in JSON as the JSON it was.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
