"""Types the columns of payment events for a warehouse's table: what becomes of one record.

Each column of `TABLE` comes out with its type or null, so that a loader never has to guess; what the table lacks is kept in `rest`.
An event that can't be typed is a dead letter that names every column which is wrong.
"""

import datetime
import decimal
import json
import re

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
FIRST_DAY_MS, LAST_DAY_MS = 0, 4_102_444_800_000  # 1970 to 2100: what lies beyond is seconds taken for milliseconds, or rubbish.


class Untyped(Exception):
    """A value that can't be given its column's type; the text says what was expected."""


def verdict(record):
    """What becomes of one record."""
    event = record["value"]
    if event is None:
        return {"action": "drop"}
    if not isinstance(event, dict):
        return {"action": "dead_letter", "reason": f"expected an event as a JSON object, found {found(event)}"}
    row, problems = typed(event)
    if problems:
        return {"action": "dead_letter", "reason": "; ".join(problems)}
    return {"action": "deliver", "records": [{"value": row}]}


def typed(event):
    """The row, and what is wrong with the event."""
    row, problems = {}, []
    for column, (kind, is_required) in TABLE.items():
        value = event.get(column)
        is_missing = value is None or (isinstance(value, str) and not value.strip())
        row[column] = None
        try:
            if not is_missing:
                row[column] = kind(value.strip() if isinstance(value, str) else value)
            elif is_required:
                raise Untyped("a value")
        except Untyped as expected:
            problems.append(f"{column}: expected {expected}, found {found(value) if column in event else 'nothing'}")
    rest = {name: value for name, value in event.items() if name not in TABLE}
    row["rest"] = json.dumps(rest, separators=(",", ":"), ensure_ascii=False, sort_keys=True) if rest else None
    return row, problems


def text(value):
    if not isinstance(value, str):
        raise Untyped("text")
    return value


def integer(value):
    """A whole number of 64 bits, also as text; a string beyond 2⁵³ is how other systems send one."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise Untyped("a whole number")
    return value


def money(value):
    """A decimal with two digits, as text: a float would round it."""
    try:
        amount = decimal.Decimal(value if isinstance(value, str) and value.isascii() and "_" not in value else plain_number(value))
    except (decimal.InvalidOperation, ValueError):
        raise Untyped("an amount with at most two digits behind the point") from None
    # Sixteen digits before the point, asked of the exponent: arithmetic could overflow.
    if not amount.is_finite() or amount.adjusted() > 15 or amount != round(amount, 2):
        raise Untyped("an amount with at most two digits behind the point")
    return f"{amount + 0:.2f}"


def plain_number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    return repr(value)


def truth(value):
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    said = str(value).lower() if isinstance(value, (bool, int, str)) else ""
    if said not in known:
        raise Untyped("true or false")
    return known[said]


def time(value):
    """An instant as ISO 8601 in UTC with milliseconds, from the same with any offset, or from seconds or milliseconds since 1970."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2})", value):
        try:
            instant = datetime.datetime.fromisoformat(value)
            ms = (instant - EPOCH) // datetime.timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            raise Untyped("a time that exists") from None
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 10**15:
        ms = int(value * 1000) if abs(value) < 10**11 else int(value)
    else:
        raise Untyped("a time with its offset, or seconds or milliseconds since 1970")
    if not FIRST_DAY_MS <= ms < LAST_DAY_MS:
        raise Untyped("a time from 1970 to 2099")
    return (EPOCH + datetime.timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def found(value):
    """A value as compact JSON, shortened."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"


# Column: its type, and whether a row needs it.
TABLE = {
    "event_id": (text, True),
    "occurred_at": (time, True),
    "customer_no": (integer, True),
    "amount": (money, True),
    "country": (text, False),
    "is_test": (truth, False),
}
