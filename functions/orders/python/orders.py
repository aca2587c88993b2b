"""Cleans and enriches orders: what becomes of one record."""

import json
import re

# Whom orders come from; a function in earnest keeps a cache of its customer service.
CUSTOMERS = {
    "c-1": {"country": "DE", "tier": "gold"},
    "c-2": {"country": "SG", "tier": "silver"},
    "c-3": {"country": "BR", "tier": "basic"},
}

EXPRESS_FROM_CENTS = 50_000
ATTEMPTS_FOR_A_CUSTOMER = 3
RETRY_AFTER_MS = 2_000


class Unusable(Exception):
    """An order that no later call can help; the text is the dead letter's reason."""


def verdict(record):
    """What becomes of one record."""
    try:
        order = clean(record.get("value"))
    except Unusable as unusable:
        return {"action": "dead_letter", "reason": str(unusable)}
    if order is None:
        return {"action": "drop"}
    customer = CUSTOMERS.get(order["customer_id"])
    if customer is not None:
        return {"action": "deliver", "records": [{"value": enrich(order, customer)}]}
    # A customer is often created moments after the first order.
    if record.get("attempt", 1) < ATTEMPTS_FOR_A_CUSTOMER:
        return {"action": "retry", "after_ms": RETRY_AFTER_MS}
    reason = f"customer_id: found no customer {found(order['customer_id'])} in {ATTEMPTS_FOR_A_CUSTOMER} attempts"
    return {"action": "dead_letter", "reason": reason}


def clean(value):
    """The order with tidy fields; None if there is nothing to do for it."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unusable(f"expected an order as a JSON object, found {found(value)}")
    if value.get("test") is True:
        return None
    items = value.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= 100:
        raise Unusable(f"items: expected a list of 1 to 100 items, found {field(value, 'items')}")
    return {
        **value,
        "order_id": text(value, "order_id"),
        "customer_id": text(value, "customer_id"),
        "currency": currency(value),
        "items": [item(value, f"items[{n}]") for n, value in enumerate(items)],
    }


def item(value, at):
    if not isinstance(value, dict):
        raise Unusable(f"{at}: expected an item as a JSON object, found {found(value)}")
    return {
        **value,
        "sku": text(value, "sku", f"{at}."),
        "quantity": whole(value, "quantity", f"{at}.", 1, 1_000),
        "price_cents": whole(value, "price_cents", f"{at}.", 0, 100_000_000),
    }


def enrich(order, customer):
    """The order with what is known of its customer, and what can be computed from it."""
    total = sum(item["quantity"] * item["price_cents"] for item in order["items"])
    is_express = customer["tier"] == "gold" or total >= EXPRESS_FROM_CENTS
    return {
        **order,
        "customer": customer,
        "units": sum(item["quantity"] for item in order["items"]),
        "total_cents": total,
        "shipping": "express" if is_express else "standard",
    }


def text(value, name, at=""):
    tidy = value[name].strip() if isinstance(value.get(name), str) else ""
    if not tidy:
        raise Unusable(f"{at}{name}: expected text, found {field(value, name)}")
    return tidy


def currency(value):
    code = value.get("currency")
    if not isinstance(code, str) or not re.fullmatch("[A-Za-z]{3}", code):
        raise Unusable(f"currency: expected a three-letter code, found {field(value, 'currency')}")
    return code.upper()


def whole(value, name, at, least, most):
    number = value.get(name)
    is_whole = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
    if isinstance(number, bool) or not is_whole or not least <= number <= most:
        raise Unusable(f"{at}{name}: expected a whole number from {least} to {most}, found {field(value, name)}")
    return int(number)


def field(value, name):
    return found(value[name]) if name in value else "nothing"


def found(value):
    """A value as compact JSON, shortened."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
