"""Orders on Function Compute 3.0: `index.handler`, `index.initialize`.

An event is a list of Kafka messages, as EventBridge sends them and fnbridge's contract `aliyun_fc` does: the clean orders go back as a
list. Such a list has no room for a verdict, so one order that can't be used fails the call, with its reason. Called under the contract
`json`, the same function gives a verdict a record.
"""

import json

import orders


class Refused(Exception):
    """Orders that can't be delivered; the text says which and why."""


def initialize(context):
    """What is done once an instance, before its first event: here, what orders are checked against is in memory."""


def handler(event, context):
    """What becomes of an event, as JSON."""
    event = json.loads(event)
    if isinstance(event, dict):
        return as_json({"results": [{"id": record["id"], **orders.verdict(record)} for record in event["records"]]})
    return as_json([order for message in event for order in delivered(message)])


def delivered(message):
    """The values that one message becomes."""
    record = record_of(message)
    verdict = orders.verdict(record)
    if verdict["action"] == "deliver":
        return [result["value"] for result in verdict["records"]]
    if verdict["action"] == "drop":
        return []
    reason = verdict.get("reason", f"customer_id: no such customer yet; to be called again in {verdict.get('after_ms')} ms")
    raise Refused(f"{record['id']}: {reason}")


def record_of(message):
    """A record from an event of CloudEvents or its data alone (`RawData`), each an object or its JSON text."""
    if isinstance(message, str):
        message = json.loads(message)
    data = message["data"] if "specversion" in message else message
    at = f"{data['topic']}/{data['partition']}/{data['offset']}"
    try:
        value = None if data.get("value") is None else json.loads(data["value"])
    except ValueError:
        raise Refused(f"{at}: expected JSON, found {orders.found(data['value'])}") from None
    return {"id": at, "key": data.get("key"), "value": value}


def as_json(document):
    return json.dumps(document, separators=(",", ":"))
