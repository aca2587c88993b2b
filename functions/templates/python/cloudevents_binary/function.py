"""What becomes of one CloudEvent in binary mode, and a server that answers with it."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(event, data):
    """The status, the attributes and the data of the event that goes back; 204 leaves nothing, 422 makes a dead letter.

    `event` has the attributes without `ce-`: id, source, type, subject and so on.
    """
    if not data:
        return 204, {}, b""
    try:
        value = json.loads(data)
    except ValueError as error:
        return 422, {}, f"expected JSON: {error}".encode()
    if not isinstance(value, dict):
        return 422, {}, b"expected a JSON object"
    attributes = {"specversion": "1.0", "id": event["id"], "source": "/my-function", "type": "my-function.counted"}
    return 200, attributes, json.dumps({**value, "fields": len(value)}, ensure_ascii=False).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Connections stay open between events.
    disable_nagle_algorithm = True

    def do_POST(self):
        event = {name[3:].lower(): value for name, value in self.headers.items() if name.lower().startswith("ce-")}
        status, attributes, data = answer(event, self.rfile.read(int(self.headers.get("content-length") or 0)))
        self.send_response(status)
        for name, value in attributes.items():
            self.send_header(f"ce-{name}", value)
        if attributes:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000"))
    ThreadingHTTPServer(address, Handler).serve_forever()
