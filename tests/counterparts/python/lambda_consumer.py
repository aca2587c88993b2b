"""A handler with Powertools' Kafka consumer; each record's result is what it read."""

from aws_lambda_powertools.utilities.kafka import ConsumerRecords, SchemaConfig, kafka_consumer


@kafka_consumer(schema_config=SchemaConfig(value_schema_type="JSON"))
def handler(event: ConsumerRecords, context):
    def read(record):
        headers = {name: value.decode() for name, value in record.headers.items()}
        return {"topic": record.topic, "partition": record.partition, "offset": record.offset, "timestamp": record.timestamp,
                "key": record.key, "value": record.value, "headers": headers}

    return {"records": [{"value": read(record)} for record in event.records]}
