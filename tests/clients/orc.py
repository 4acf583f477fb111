"""Random rows of every type, and ORC files read by two readers, which have to find what pyarrow finds in a Parquet file.

    orc.py rows COUNT SEED        prints JSON records, for the columns of orc-columns.yaml
    orc.py compare PARQUET ORC…   pyarrow reads all of an ORC file, pyorc too, and once more by going to single rows

Neither is asked for what it cannot show: pyarrow has no times before 1677 in ORC, pyorc none below a microsecond.
"""

import base64
import datetime
import json
import random
import sys

import pyarrow as pa
import pyarrow.compute
import pyarrow.orc
import pyarrow.parquet
import pyorc

EARLY = "early"


def main():
    command, *arguments = sys.argv[1:]
    if command == "rows":
        count, seed = map(int, arguments)
        for row in rows(count, random.Random(seed)):
            print(json.dumps(row))
    else:
        compare(*arguments)


def rows(count, of):
    def some(nulls, value):
        return None if of.random() < nulls else value()

    def day(first, last):
        return f"{of.randrange(first, last):04}-{of.randrange(1, 13):02}-{of.randrange(1, 29):02}"

    def numbers():
        return [some(0.2, lambda: of.randrange(100)) for _ in range(of.randrange(4))]

    for i in range(count):
        yield {
            "id": i,
            "long": of.randrange(-(2**63), 2**63) if i % 5 == 0 else i * 3,
            "small": some(0.2, lambda: of.randrange(-(2**15), 2**15)),
            "tiny": some(0.5, lambda: of.choice([1, 1, 1, 1, -128, 127])),
            "steps": i // 100,
            "single": some(0.1, lambda: of.randrange(1000) / 4),
            "number": some(0.1, lambda: of.random() * 1e10),
            "yes": some(0.3, lambda: of.random() < 0.5),
            "word": some(0.1, lambda: of.choice(["a", "bb", "ccc", "é", ""])),
            "text": some(0.1, lambda: f"u{of.randrange(10**9)}"),
            "mixed": some(0.1, lambda: "same" if i < count // 2 else f"u{of.randrange(10**9)}"),
            "padded": some(0.1, lambda: "x" * of.randrange(6)),
            "short": some(0.1, lambda: "y" * of.randrange(10)),
            "raw": some(0.1, lambda: base64.b64encode(of.randbytes(of.randrange(20))).decode()),
            "day": some(0.1, lambda: day(1, 9999)),
            EARLY: some(0.1, lambda: f"{day(1, 9999)}T03:04:05.{of.randrange(10**6):06}Z"),
            "at": some(0.1, lambda: f"{day(1700, 2200)}T03:04:05.{of.choice([0, 100000, 999999, 1]):06}Z"),
            "millis": some(0.1, lambda: 1790000000000 + i * 7),
            "nanos": some(0.1, lambda: f"{day(1700, 2200)}T23:59:59.{of.randrange(10**9):09}Z"),
            "price": some(0.1, lambda: of.randrange(-(10**9), 10**9) / 10000),
            "wide": some(0.1, lambda: of.randrange(-(10**9), 10**9)),
            "nothing": None,
            "tags": some(0.2, lambda: [some(0.1, lambda: of.choice("abc")) for _ in range(of.randrange(4))]),
            "counts": some(0.2, lambda: {name: some(0.1, lambda: of.randrange(100)) for name in of.sample("abcdef", 3)}),
            "person": some(0.2, lambda: {"age": some(0.2, lambda: of.randrange(100)), "friends": some(0.2, lambda: [
                some(0.2, lambda: {"name": "q", "since": of.random()}) for _ in range(of.randrange(3))])}),
            "matrix": some(0.2, lambda: [some(0.2, numbers) for _ in range(of.randrange(3))]),
        }


def compare(parquet, *files):
    wanted = pa.parquet.read_table(parquet)
    # As Hive has them, texts of a `char(5)` have blanks behind them in ORC.
    at = wanted.column_names.index("padded")
    wanted = wanted.set_column(at, "padded", pa.compute.utf8_rpad(wanted["padded"], 5, " "))
    for file in files:
        by_pyarrow(wanted, file)
        by_pyorc(wanted, file)


def by_pyarrow(wanted, file):
    names = [name for name in wanted.column_names if name != EARLY]
    found = pyarrow.orc.ORCFile(file).read(columns=names)
    for name in names:
        column = wanted[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", "UTC"))
        equal(file, name, column.to_pylist() if column.type == found[name].type else plain(column), plain(found[name]))


def plain(column):
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    return column.to_pylist()


def by_pyorc(wanted, file):
    with open(file, "rb") as opened:
        reader = pyorc.Reader(opened, struct_repr=pyorc.StructRepr.DICT)
        found = list(reader)
        for name in wanted.column_names:
            column = [shown(row[name]) for row in found]
            if pa.types.is_timestamp(wanted[name].type):
                equal(file, name, micros(wanted[name]), column)
            elif pa.types.is_map(wanted[name].type):
                equal(file, name, wanted[name].to_pylist(), [value and list(value.items()) for value in column])
            else:
                equal(file, name, wanted[name].to_pylist(), column)
        for i in {0, 1000, 1990, len(found) - 1, *random.Random(1).sample(range(len(found)), 50)}:
            # Behind the beginning of a row group the reader fails if it has to leave out texts without a byte, whoever wrote
            # them (ORC C++: "lastBuffer_ is null").
            if 0 < i % 1000 < 20:
                continue
            reader.seek(i)
            if next(reader) != found[i]:
                sys.exit(f"{file}: row {i} is another one when it is gone to")


def micros(column):
    """Microseconds since 1970, without what is below them."""
    per_micro = {"ns": 1000, "us": 1}.get(column.type.unit)
    counts = column.cast(pa.int64()).to_pylist()
    return [None if n is None else n // per_micro if per_micro else n * 1000 for n in counts]


def shown(value):
    if isinstance(value, datetime.datetime):
        return (value - datetime.datetime(1970, 1, 1, tzinfo=value.tzinfo)) // datetime.timedelta(microseconds=1)
    return value


def equal(file, name, wanted, found):
    for i, (one, other) in enumerate(zip(wanted, found, strict=True)):
        if one != other:
            sys.exit(f"{file}: row {i} of `{name}` is {other!r}, and not {one!r}")


if __name__ == "__main__":
    main()
