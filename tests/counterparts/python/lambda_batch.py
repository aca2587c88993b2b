"""A handler with Powertools' batch processor: it says which records failed, and goes on behind them."""

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kafka_event import KafkaEventRecord

processor = BatchProcessor(event_type=EventType.Kafka, raise_on_entire_batch_failure=False)


def one(record: KafkaEventRecord):
    if record.json_value == "poison":
        raise ValueError("poison")


def handler(event, context):
    return process_partial_response(event, one, processor, context)
