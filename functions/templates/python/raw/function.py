"""What becomes of one record's bytes, and a server that answers with it."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(body):
    """The status and the body: 200 delivers it, 204 leaves nothing, 422 makes the record a dead letter."""
    if not body:
        return 204, b""
    try:
        value = json.loads(body)
    except ValueError as error:
        return 422, f"expected JSON: {error}".encode()
    if not isinstance(value, dict):
        return 422, b"expected a JSON object"
    return 200, json.dumps({**value, "fields": len(value)}, ensure_ascii=False).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Connections stay open between records.
    disable_nagle_algorithm = True

    def do_POST(self):
        status, body = answer(self.rfile.read(int(self.headers.get("content-length") or 0)))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000"))
    ThreadingHTTPServer(address, Handler).serve_forever()
