"""What becomes of one record."""

import json


def verdict(record):
    value = record["value"]
    if value is None:
        return {"action": "drop"}
    if not isinstance(value, dict):
        found = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return {"action": "dead_letter", "reason": f"expected a JSON object, found {found[:60]}"}
    return {"action": "deliver", "records": [{"value": {**value, "fields": len(value)}}]}
