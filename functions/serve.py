"""Serves the `verdict(record)` of a Python file under the contract `json`: one POST is one batch, one verdict a record goes back.

    python3 functions/serve.py functions/orders/python/orders.py
"""

import importlib.util
import json
import os
import pathlib
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(verdict, body):
    """The status and the body that a batch gets."""
    try:
        records = batch(body)
    except (ValueError, KeyError, TypeError) as error:
        return 400, as_json({"error": f"expected a batch of records as JSON: {error!r}"})
    try:
        return 200, as_json({"results": [{"id": record["id"], **verdict(record)} for record in records]})
    except Exception as error:  # A bug in the rules: fnbridge retries, then finds the record that causes it.
        traceback.print_exc()
        return 500, as_json({"error": repr(error)})


def batch(body):
    records = json.loads(body, parse_constant=refuse)["records"]
    if not isinstance(records, list) or not all(isinstance(record["id"], str) for record in records):
        raise TypeError("records: expected a list, each with an id that is text")
    return records


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def as_json(document):
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Connections stay open between batches.
    disable_nagle_algorithm = True
    wbufsize = -1  # Status line, headers and body leave in one write.

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def batches(verdict):
    """A handler that answers batches with these verdicts."""

    class Batches(Handler):
        def do_POST(self):
            self.answer(*answer(verdict, self.body()))

    return Batches


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def load(path):
    """The `verdict` of a Python file, which may import what lies beside it."""
    path = pathlib.Path(path).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verdict


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000"))
    server = Server(address, batches(load(sys.argv[1])))
    print(f"{sys.argv[1]} listens on http://{server.server_address[0]}:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
