"""Orders on AWS Lambda: `handler.handler`, for a Kafka event of an event source mapping or of fnbridge's contract `aws_lambda`.

Clean orders go to a queue (`ORDERS_QUEUE_URL`), as an answer to such an event has no room for results. It lists the records that failed
instead, so that only those come again; what can't be used is given up by whoever sent the event, and why stands in the log.
"""

import base64
import json
import os

import boto3

import orders

MOST_MESSAGES_A_CALL = 10

sqs = boto3.client("sqs")


def handler(event, context):
    """Which records failed."""
    failed, clean = [], []
    for partition, records in event["records"].items():
        for record in records:
            at = {"partition": partition, "offset": record["offset"]}
            verdict = verdict_of(record)
            if verdict["action"] == "deliver":
                clean.append((at, verdict["records"][0]["value"]))
            elif verdict["action"] != "drop":
                print(json.dumps({**at, **verdict}))
                failed.append(at)
    failed += send(clean)
    return {"batchItemFailures": [{"itemIdentifier": at} for at in failed]}


def verdict_of(record):
    try:
        value = None if record.get("value") is None else json.loads(base64.b64decode(record["value"]))
    except ValueError as error:
        return {"action": "dead_letter", "reason": f"expected JSON: {error}"}
    return orders.verdict({"value": value})


def send(clean):
    """Sends orders to the queue, and gives where those came from that it did not take."""
    failed = []
    for start in range(0, len(clean), MOST_MESSAGES_A_CALL):
        batch = clean[start : start + MOST_MESSAGES_A_CALL]
        entries = [{"Id": str(n), "MessageBody": json.dumps(order)} for n, (_, order) in enumerate(batch)]
        answer = sqs.send_message_batch(QueueUrl=os.environ["ORDERS_QUEUE_URL"], Entries=entries)
        failed += [batch[int(entry["Id"])][0] for entry in answer.get("Failed", [])]
    return failed
