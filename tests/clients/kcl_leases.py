"""Lease tables as the Kinesis Client Library keeps them (its DynamoDBLeaseSerializer), read and written without Hydrant.

read ENDPOINT TABLE            check every row's attributes and print `shard owner checkpoint` for each
write ENDPOINT TABLE ROW...    write a row for each `shard=checkpoint`, owned by a worker that is gone, into the table, made if need be
checkpoint ENDPOINT TABLE ROW. move the checkpoint in a row for each `shard=checkpoint/sub`, as a worker does that is gone then
forget ENDPOINT TABLE SHARD... delete the rows of these
move ENDPOINT TABLE OTHER      move all rows into another table, made if need be, and delete this one
other ENDPOINT TABLE           make a table of that name with another key
"""

import sys

import boto3

# Name, type in DynamoDB, whether the library needs it to read a row.
ATTRIBUTES = {
    "leaseKey": ("S", True),
    "leaseOwner": ("S", False),
    "leaseCounter": ("N", True),
    "ownerSwitchesSinceCheckpoint": ("N", True),
    "checkpoint": ("S", True),
    "checkpointSubSequenceNumber": ("N", True),
    "pendingCheckpoint": ("S", False),
    "pendingCheckpointSubSequenceNumber": ("N", False),
    "pendingCheckpointState": ("B", False),
    "parentShardId": ("SS", False),
    "childShardIds": ("SS", False),
    "startingHashKey": ("S", False),
    "endingHashKey": ("S", False),
    "checkpointOwner": ("S", False),
    "entityType": ("S", False),
    "throughputKBps": ("N", False),
}
SENTINELS = {"TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "SHARD_END"}


def client(endpoint):
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )


def create(dynamodb, table, key, of_type):
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": of_type}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})


def check(row):
    for name, (of_type, needed) in ATTRIBUTES.items():
        assert name in row or not needed, f"{name} is missing: {row}"
        if name in row:
            assert list(row[name]) == [of_type], f"{name} is {row[name]}, expected {of_type}"
    assert int(row["leaseCounter"]["N"]) >= 0
    checkpoint = row["checkpoint"]["S"]
    assert checkpoint in SENTINELS or checkpoint.isdigit(), checkpoint
    if "startingHashKey" in row:
        assert int(row["startingHashKey"]["S"]) <= int(row["endingHashKey"]["S"])
    own = [name for name in row if name not in ATTRIBUTES and not name.startswith("hydrant")]
    assert not own, f"attributes that the library may take for its own: {own}"


def read(dynamodb, table):
    rows = [row for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True) for row in page["Items"]]
    # KCL 3 keeps rows of other kinds beside them.
    rows = [row for row in rows if row.get("entityType", {"S": "LEASE"})["S"] == "LEASE"]
    for row in sorted(rows, key=lambda row: row["leaseKey"]["S"]):
        check(row)
        print(row["leaseKey"]["S"], row.get("leaseOwner", {"S": "-"})["S"], row["checkpoint"]["S"])


def write(dynamodb, table, rows):
    if table not in dynamodb.list_tables()["TableNames"]:
        create(dynamodb, table, "leaseKey", "S")
    for row in rows:
        shard, checkpoint = row.split("=")
        item = {
            "leaseKey": {"S": shard},
            "leaseOwner": {"S": "a worker that is gone"},
            "leaseCounter": {"N": "417"},
            "ownerSwitchesSinceCheckpoint": {"N": "0"},
            "checkpoint": {"S": checkpoint},
            "checkpointSubSequenceNumber": {"N": "0"},
        }
        check(item)
        dynamodb.put_item(TableName=table, Item=item)


def checkpoint(dynamodb, table, rows):
    for row in rows:
        shard, place = row.split("=")
        sequence, sub = place.split("/")
        dynamodb.update_item(
            TableName=table,
            Key={"leaseKey": {"S": shard}},
            UpdateExpression="SET checkpoint = :c, checkpointSubSequenceNumber = :s, leaseOwner = :gone ADD leaseCounter :one",
            ExpressionAttributeValues={
                ":c": {"S": sequence},
                ":s": {"N": sub},
                ":gone": {"S": "a worker that is gone"},
                ":one": {"N": "1"},
            },
        )


def move(dynamodb, table, other):
    if other not in dynamodb.list_tables()["TableNames"]:
        create(dynamodb, other, "leaseKey", "S")
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    for row in [row for page in pages for row in page["Items"]]:
        dynamodb.put_item(TableName=other, Item=row)
    dynamodb.delete_table(TableName=table)
    dynamodb.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1})


def main():
    act, endpoint, table, *rows = sys.argv[1:]
    dynamodb = client(endpoint)
    if act == "read":
        read(dynamodb, table)
    elif act == "write":
        write(dynamodb, table, rows)
    elif act == "checkpoint":
        checkpoint(dynamodb, table, rows)
    elif act == "move":
        move(dynamodb, table, *rows)
    elif act == "forget":
        for shard in rows:
            dynamodb.delete_item(TableName=table, Key={"leaseKey": {"S": shard}})
    else:
        create(dynamodb, table, "id", "N")


main()
