"""A handler on Function Compute 3.0 for Kafka events, with a verdict a record for fnbridge's contract `aliyun_fc`."""

import json


def handler(event, context):
    """What becomes of each message of an event."""
    return json.dumps({"results": [verdict(message["data"]) for message in json.loads(event)]}, ensure_ascii=False)


def verdict(data):
    record = {"id": f"{data['topic']}/{data['partition']}/{data['offset']}"}
    if data.get("value") is None:
        return {**record, "action": "drop"}
    try:
        value = json.loads(data["value"])
    except ValueError as error:
        return {**record, "action": "dead_letter", "reason": f"expected JSON: {error}"}
    if not isinstance(value, dict):
        found = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return {**record, "action": "dead_letter", "reason": f"expected a JSON object, found {found[:60]}"}
    return {**record, "action": "deliver", "records": [{"value": {**value, "fields": len(value)}}]}
