"""The same with Powertools for AWS Lambda: `with_powertools.handler`. One message a call, and less to write."""

import json
import os

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kafka_event import KafkaEventRecord

import orders

sqs = boto3.client("sqs")

# An event whose records all failed is answered like any other: raising would make the records that were dropped come again.
processor = BatchProcessor(event_type=EventType.Kafka, raise_on_entire_batch_failure=False)


class Refused(Exception):
    """An order that can't be delivered."""


def handler(event, context):
    """Which records failed."""
    return process_partial_response(event, one, processor, context)


def one(record: KafkaEventRecord):
    value = None if record.value is None else record.json_value
    verdict = orders.verdict({"value": value})
    if verdict["action"] == "deliver":
        for result in verdict["records"]:
            sqs.send_message(QueueUrl=os.environ["ORDERS_QUEUE_URL"], MessageBody=json.dumps(result["value"]))
    elif verdict["action"] != "drop":
        raise Refused(verdict)
