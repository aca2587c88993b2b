"""Cleans and enriches flights: one POST is one batch, one verdict a record goes back."""

import json
import math
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KM_PER_MILE = 1.609344


class Unusable(Exception):
    """A record that no later call can help; the text is the dead letter's reason."""


def verdict(record):
    """What becomes of one record."""
    try:
        flight = clean(record.get("value"))
    except Unusable as unusable:
        return {"id": record["id"], "action": "dead_letter", "reason": str(unusable)}
    if flight is None:
        return {"id": record["id"], "action": "drop"}
    return {"id": record["id"], "action": "deliver", "records": [{"value": enrich(flight)}]}


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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Connections stay open between batches.
    disable_nagle_algorithm = True
    wbufsize = -1  # Status line, headers and body leave in one write.

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            records = json.loads(body)["records"]
            if not all(isinstance(record["id"], str) for record in records):
                raise TypeError("an id that is not text")
        except (ValueError, KeyError, TypeError) as error:
            return self.answer(400, {"error": f"expected a batch of records as JSON: {error!r}"})
        try:
            return self.answer(200, {"results": [verdict(record) for record in records]})
        except Exception as error:  # A bug in the rules: fnbridge retries, then finds the record that causes it.
            return self.answer(500, {"error": repr(error)})

    def answer(self, status_code, document):
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        self.send_response(status_code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000"))), Handler)
    print(f"flights.py listens on http://{server.server_address[0]}:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
