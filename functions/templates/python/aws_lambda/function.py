"""A handler on AWS Lambda for Kafka events, of an event source mapping or of fnbridge's contract `aws_lambda`."""

import base64
import json


def handler(event, context):
    """Which records failed; only those come again."""
    failed = []
    for partition, records in event["records"].items():
        for record in records:
            try:
                handle(value_of(record))
            except ValueError as error:
                print(f"{partition}/{record['offset']}: {error}")
                failed.append({"itemIdentifier": {"partition": partition, "offset": record["offset"]}})
    return {"batchItemFailures": failed}


def value_of(record):
    return None if record.get("value") is None else json.loads(base64.b64decode(record["value"]))


def handle(value):
    """What is done with one record."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    print(json.dumps({**value, "fields": len(value)}, ensure_ascii=False))
