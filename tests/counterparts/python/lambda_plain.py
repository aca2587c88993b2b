"""A handler for Kafka events with nothing but Python's own library; each record's result is what it read."""

import base64


def handler(event, context):
    results = []
    for records in event["records"].values():
        for record in records:
            value = base64.b64decode(record["value"]).decode()
            if value == '"raise"':
                raise ValueError("a handler that raises")
            headers = {name: bytes(byte % 256 for byte in value).decode() for header in record["headers"] for name, value in header.items()}
            key = record["key"] and base64.b64decode(record["key"]).decode()
            results.append({"value": {"offset": record["offset"], "key": key, "value": value, "headers": headers}})
    return {"records": results}
