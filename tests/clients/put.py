"""Puts real records into a stream with an unmodified AWS client, and writes down what was acknowledged.

The records are rows of the data sets that the `vega_datasets` package carries in itself, as JSON, each with
its number in `_seq`, which makes every record unique. The file `--out` receives the exact bytes of each
record, one per line, as soon as the service said yes to it and never before: whatever happens to this
program or to the service, the file holds what may not be lost. The last line of standard output is a summary
in JSON; the exit code is 1 if not every record was acknowledged.
"""

import argparse
import base64
import csv
import importlib.resources
import json
import os
import re
import subprocess
import sys
import tempfile
import time

REGION = "us-east-1"
# Amazon's limit, which is also that of every client.
BATCH_RECORDS_MAX = 500
# PutRecord has its own shape of request and answer, which a handful of records covers.
SINGLE_RECORDS = 5
# A service that refuses for so long is broken, not busy.
REFUSED_SECONDS_MAX = 60
REQUEST_SECONDS_MAX = 120
# These answers mean that nothing of the request was taken, so that sending it again doubles nothing.
REFUSALS = ("ServiceUnavailableException", "ThrottlingException")


class Refused(Exception):
    """Nothing of the request was taken, and the same request may succeed later."""


def main():
    args = parse_arguments()
    delimiter = b"\n" if args.newline else b""
    records = [
        encode({**row, "_seq": args.seq_start + i})
        for i, row in enumerate(first_rows(args.dataset, args.records))
    ]
    client = CLIENTS[args.client](args.endpoint, args.stream)
    summary = {"client": args.client, "acked": 0, "bytes": 0, "requests": 0, "resent": 0}
    error = None
    with open(args.out, "wb") as out:
        try:
            for put, batch in requests(records, client):
                put_until_acknowledged(put, batch, delimiter, out, summary)
        except Exception as e:  # Whatever ended it, what was acknowledged before has to be reported.
            error = f"{type(e).__name__}: {e}"
            summary["error"] = error
    print(json.dumps(summary))
    sys.exit(1 if error else 0)


def encode(row):
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="URL of the service")
    parser.add_argument("--stream", required=True)
    parser.add_argument("--client", required=True, choices=sorted(CLIENTS))
    parser.add_argument("--records", required=True, type=int)
    parser.add_argument("--out", required=True, help="file for the acknowledged records, written anew")
    parser.add_argument("--newline", action="store_true", help="end each record with a newline of its own")
    parser.add_argument("--dataset", default="all", help="one data set, such as cars, or all in turn")
    parser.add_argument("--seq-start", type=int, default=0, help="first `_seq`; distinct for clients of one stream")
    return parser.parse_args()


def first_rows(dataset, count):
    """The first rows of a data set, from the start again when it ends."""
    rows = load_rows(dataset)
    return [rows[i % len(rows)] for i in range(count)]


def load_rows(dataset):
    folder = importlib.resources.files("vega_datasets") / "_data"
    files = {f.name.rsplit(".", 1)[0]: f for f in folder.iterdir() if f.name.endswith((".json", ".csv"))}
    if dataset == "all":
        # Taken in turn, so that even a short run meets every shape of row.
        sets = [parse(files[name]) for name in sorted(files)]
        return [rows[i] for i in range(max(map(len, sets))) for rows in sets if i < len(rows)]
    if dataset not in files:
        sys.exit(f"no data set `{dataset}`, expected `all` or one of {', '.join(sorted(files))}")
    return parse(files[dataset])


def parse(file):
    text = file.read_text(encoding="utf-8")
    if file.name.endswith(".json"):
        return json.loads(text)
    rows = list(csv.DictReader(text.splitlines()))
    kinds = {name: kind_of([row[name] for row in rows]) for name in rows[0]}
    return [{name: kinds[name](value) if value else None for name, value in row.items()} for row in rows]


def kind_of(column):
    """A column is numbers only if all of it is: an airport called 5E8 is no number, nor is any other airport."""
    for kind, pattern in ((int, r"-?\d+"), (float, r"-?\d+(\.\d+)?")):
        if all(re.fullmatch(pattern, value) for value in column if value):
            return kind
    return str


def requests(records, client):
    """The calls to make: some PutRecord of one record if the client has it, then PutRecordBatch of the others."""
    singles = records[:SINGLE_RECORDS] if client.put_record else []
    for record in singles:
        yield client.put_record, [record]
    for start in range(len(singles), len(records), BATCH_RECORDS_MAX):
        yield client.put_batch, records[start : start + BATCH_RECORDS_MAX]


def put_until_acknowledged(put, records, delimiter, out, summary):
    give_up = time.monotonic() + REFUSED_SECONDS_MAX
    pause_seconds = 0.05
    while True:
        summary["requests"] += 1
        try:
            codes = put([record + delimiter for record in records])
        except Refused as e:
            codes = [str(e)] * len(records)
        if len(codes) != len(records):
            raise RuntimeError(f"{len(records)} records were sent, and {len(codes)} are answered")
        taken = [record for record, code in zip(records, codes) if code is None]
        out.writelines(record + b"\n" for record in taken)
        out.flush()
        summary["acked"] += len(taken)
        summary["bytes"] += sum(len(record) + len(delimiter) for record in taken)
        records = [record for record, code in zip(records, codes) if code is not None]
        if not records:
            return
        if time.monotonic() > give_up:
            raise TimeoutError(f"{len(records)} records refused for {REFUSED_SECONDS_MAX} s, as {set(codes) - {None}}")
        summary["resent"] += len(records)
        time.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, 2)


def error_codes(answer):
    """The error code of each record, None for one that was taken, after checking that the answer agrees with itself."""
    codes = [entry.get("ErrorCode") for entry in answer["RequestResponses"]]
    failed = sum(code is not None for code in codes)
    if failed != answer["FailedPutCount"]:
        raise RuntimeError(f"FailedPutCount is {answer['FailedPutCount']}, and {failed} entries have an error code")
    for entry in answer["RequestResponses"]:
        if ("RecordId" in entry) == ("ErrorCode" in entry):
            raise RuntimeError(f"an entry needs either a RecordId or an ErrorCode, found {entry}")
        # Clients in other languages read the message of every failed entry without asking whether it is there.
        if "ErrorCode" in entry and "ErrorMessage" not in entry:
            raise RuntimeError(f"an entry with an ErrorCode needs an ErrorMessage, found {entry}")
    return codes


class Boto3:
    def __init__(self, endpoint, stream):
        import boto3

        self.firehose = boto3.client("firehose", endpoint_url=endpoint, region_name=REGION)
        self.stream = stream

    def put_record(self, data):
        answer = self.call(self.firehose.put_record, Record={"Data": data[0]})
        if not answer["RecordId"]:
            raise RuntimeError(f"PutRecord answered without a RecordId: {answer}")
        return [None]

    def put_batch(self, data):
        return error_codes(self.call(self.firehose.put_record_batch, Records=[{"Data": d} for d in data]))

    def call(self, operation, **arguments):
        from botocore.exceptions import ClientError

        try:
            return operation(DeliveryStreamName=self.stream, **arguments)
        except ClientError as e:
            if e.response["Error"]["Code"] in REFUSALS:
                raise Refused(e.response["Error"]["Code"]) from e
            raise


class AwsV1:
    # Each call is a new process, so that a single record is as dear as a batch.
    put_record = None
    program_variable = "HYDRANT_TEST_AWS_V1"
    flags = ()

    def __init__(self, endpoint, stream):
        self.program = os.environ[self.program_variable]
        self.endpoint = endpoint
        self.stream = stream

    @staticmethod
    def encode(data):
        """Version 1 takes a string of its JSON input literally and encodes it itself."""
        return data.decode()

    def put_batch(self, data):
        body = {"DeliveryStreamName": self.stream, "Records": [{"Data": self.encode(d)} for d in data]}
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
            json.dump(body, file)
            file.flush()
            return error_codes(self.run("--cli-input-json", f"file://{file.name}"))

    def run(self, *arguments):
        where = ("--endpoint-url", self.endpoint, "--region", REGION, "--output", "json")
        done = subprocess.run(
            [self.program, "firehose", "put-record-batch", *where, *self.flags, *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=REQUEST_SECONDS_MAX,
        )
        if done.returncode == 0:
            return json.loads(done.stdout)
        for code in REFUSALS:
            if f"({code})" in done.stderr:
                raise Refused(code)
        raise RuntimeError(f"{self.program} ended with {done.returncode}: {done.stderr.strip()}")


class AwsV2(AwsV1):
    program_variable = "HYDRANT_TEST_AWS_V2"
    # Said outright, because a user's configuration may have changed what the program expects.
    flags = ("--cli-binary-format", "base64", "--no-cli-pager")

    @staticmethod
    def encode(data):
        """Version 2 takes binary values as base64, as the service itself does."""
        return base64.b64encode(data).decode()


CLIENTS = {"boto3": Boto3, "aws-v1": AwsV1, "aws-v2": AwsV2}

if __name__ == "__main__":
    main()
