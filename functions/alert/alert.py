"""Turns log records of services into alerts for a webhook: what becomes of one record."""

import json

SEVERITIES = {"error": "error", "critical": "critical", "fatal": "critical"}
QUIET = {"trace", "debug", "info", "notice", "warn", "warning"}
LONGEST_TITLE = 120


class Unusable(Exception):
    """A record that no later call can help; the text is the dead letter's reason."""


def verdict(record):
    """What becomes of one record."""
    try:
        alert = alert_of(record["value"])
    except Unusable as unusable:
        return {"action": "dead_letter", "reason": str(unusable)}
    if alert is None:
        return {"action": "drop"}
    # Keyed by service, so that a service's alerts stay in order.
    return {"action": "deliver", "records": [{"key": alert["service"], "value": alert}]}


def alert_of(value):
    """The alert; None where nobody needs to be told."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unusable(f"expected a log record as a JSON object, found {found(value)}")
    level = text(value, "level").lower()
    if level in QUIET:
        return None
    if level not in SEVERITIES:
        known = ", ".join([*sorted(QUIET), *sorted(SEVERITIES)])
        raise Unusable(f"level: expected one of {known}, found {found(value['level'])}")
    service, message = text(value, "service"), text(value, "message")
    alert = {"severity": SEVERITIES[level], "service": service, "title": title(service, message), "text": message}
    return {**alert, **{name: value[name] for name in ("at", "trace_id") if value.get(name) is not None}}


def title(service, message):
    """One line, short enough for a chat or a pager."""
    line = f"{service}: {message.splitlines()[0].strip()}"
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1] + "…"


def text(value, name):
    said = value.get(name)
    if not isinstance(said, str) or not said.strip():
        raise Unusable(f"{name}: expected text, found {found(said) if name in value else 'nothing'}")
    return said.strip()


def found(value):
    """A value as compact JSON, shortened."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
