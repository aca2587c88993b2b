"""Shapes product records into documents for a search index: what becomes of one record.

A result's key is the document's id and its value the document; no value deletes it. That is what a compacted topic keeps, and what
sink connectors for Elasticsearch, OpenSearch and others take.
"""

import json
import re
from html.parser import HTMLParser

LONGEST_BODY = 10_000


class Unusable(Exception):
    """A record that no later call can help; the text is the dead letter's reason."""


def verdict(record):
    """What becomes of one record."""
    try:
        key, document = entry(record.get("key"), record["value"])
    except Unusable as unusable:
        return {"action": "dead_letter", "reason": str(unusable)}
    return {"action": "deliver", "records": [{"key": key, "value": document}]}


def entry(key, product):
    """The document's id, and the document; None where it has to go."""
    if product is None:
        if not isinstance(key, str) or not key:
            raise Unusable("expected the key of a tombstone to say which document has to go, found none")
        return key, None
    if not isinstance(product, dict):
        raise Unusable(f"expected a product as a JSON object, found {found(product)}")
    document_id = product.get("product_id", key)
    if not isinstance(document_id, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", document_id):
        raise Unusable(f"product_id: expected 1 to 128 letters, digits, '.', '_' or '-', found {found(document_id)}")
    if key is not None and key != document_id:
        raise Unusable(f"product_id: expected the record's key {found(key)}, found {found(document_id)}")
    if product.get("deleted") is True:
        return document_id, None
    return document_id, document(document_id, product)


def document(document_id, product):
    title = plain(product.get("title"), "title")
    if not title:
        raise Unusable(f"title: expected text, found {found(product['title']) if 'title' in product else 'nothing'}")
    result = {"id": document_id, "title": title, "body": plain(product.get("description"), "description")[:LONGEST_BODY]}
    result["tags"] = tags(product.get("tags"))
    price = product.get("price")
    if price is not None:
        if isinstance(price, bool) or not isinstance(price, (int, float)) or price < 0:
            raise Unusable(f"price: expected a number from 0, found {found(price)}")
        result["price"] = price
    return result


def tags(value):
    """Lower-case, each once, in order, from a list or from text with commas."""
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise Unusable(f"tags: expected a list of text, found {found(value)}")
    return sorted({part.strip().lower() for part in parts} - {""})


def plain(value, name):
    """Text without markup and with single spaces."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unusable(f"{name}: expected text, found {found(value)}")
    markup = Text()
    markup.feed(value)
    markup.close()
    return " ".join("".join(markup.pieces).split())


class Text(HTMLParser):
    """Collects what a reader of the page would see."""

    UNSEEN = {"script", "style"}
    INLINE = {"a", "abbr", "b", "code", "em", "i", "mark", "small", "span", "strong", "sub", "sup", "u"}

    def __init__(self):
        super().__init__()
        self.pieces = []
        self.unseen = 0

    def handle_starttag(self, tag, attrs):
        self.unseen += tag in self.UNSEEN
        self.pieces.append("" if tag in self.INLINE else " ")

    def handle_endtag(self, tag):
        self.unseen -= tag in self.UNSEEN and self.unseen > 0
        self.pieces.append("" if tag in self.INLINE else " ")

    def handle_data(self, data):
        if not self.unseen:
            self.pieces.append(data)


def found(value):
    """A value as compact JSON, shortened."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
