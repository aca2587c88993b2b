"""Cleans and enriches flights: what becomes of one record."""

import json
import math

KM_PER_MILE = 1.609344


class Unusable(Exception):
    """A record that no later call can help; the text is the dead letter's reason."""


def verdict(record):
    """What becomes of one record."""
    try:
        flight = clean(record.get("value"))
    except Unusable as unusable:
        return {"action": "dead_letter", "reason": str(unusable)}
    if flight is None:
        return {"action": "drop"}
    return {"action": "deliver", "records": [{"value": enrich(flight)}]}


def clean(value):
    """The flight with tidy fields; None if it never arrived."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unusable(f"expected a flight as a JSON object, found {found(value)}")
    if "delay" in value and value["delay"] is None:
        return None
    if not is_number(value.get("delay")):
        text = found(value["delay"]) if "delay" in value else "nothing"
        raise Unusable(f"delay: expected minutes as a number, or null for a flight that never arrived, found {text}")
    if not is_number(value.get("distance")) or value["distance"] <= 0:
        text = found(value["distance"]) if "distance" in value else "nothing"
        raise Unusable(f"distance: expected miles as a number above 0, found {text}")
    codes = {name: airport(name, value[name]) for name in ("origin", "destination") if value.get(name) is not None}
    return {**value, **codes}


def enrich(flight):
    """The flight with what can be computed from it."""
    result = {**flight, "status": status(flight["delay"]), "distance_km": math.floor(flight["distance"] * KM_PER_MILE + 0.5)}
    if flight.get("origin") and flight.get("destination"):
        result["route"] = f"{flight['origin']}-{flight['destination']}"
    return result


def status(delay_minutes):
    if delay_minutes <= -15:
        return "early"
    if delay_minutes < 15:
        return "on time"
    return "late" if delay_minutes < 120 else "very late"


def airport(name, value):
    code = value.strip().upper() if isinstance(value, str) else ""
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise Unusable(f"{name}: expected an airport's three-letter code, found {found(value)}")
    return code


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def found(value):
    """A value as compact JSON, shortened."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
