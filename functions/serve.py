"""Serves the function of a Python file, with nothing but Python: `verdict(record)` under the contract `json`, where one POST is one batch
and one verdict a record goes back; `handler(event, context)` as Lambda and Function Compute call it.

    python3 functions/serve.py functions/orders/python/orders.py [json | aws_lambda | aliyun_fc]
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


def answer_as_lambda(handler, body):
    """The same of Lambda's Invoke API: a handler that fails is a 200 whose header says so."""
    try:
        return 200, as_json(handler(json.loads(body), None)), {}
    except Exception as error:
        return 200, failure(error), {"x-amz-function-error": "Unhandled"}


def answer_as_function_compute(handler, body):
    """The same of Function Compute: the event comes as bytes, and text goes back as it is."""
    try:
        answered = handler(body, None)
        text = answered.encode() if isinstance(answered, str) else answered
        return 200, text if isinstance(text, bytes) else as_json(text), {}
    except Exception as error:
        return 200, failure(error), {"x-fc-error-type": "UnhandledInvocationError"}


def failure(error):
    traceback.print_exc()
    return as_json({"errorMessage": str(error), "errorType": type(error).__name__})


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


def batches(function, answer=answer):
    """A handler that answers batches with what this function makes of them."""

    class Batches(Handler):
        def do_POST(self):
            self.answer(*answer(function, self.body()))

    return Batches


CONTRACTS = {
    "json": ("verdict", answer),
    "aws_lambda": ("handler", answer_as_lambda),
    "aliyun_fc": ("handler", answer_as_function_compute),
}


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def load(path, name="verdict"):
    """A function of a Python file, which may import what lies beside it."""
    path = pathlib.Path(path).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def main():
    path, contract = (sys.argv[1:] + ["json"])[:2] if len(sys.argv) in (2, 3) else (None, None)
    if contract not in CONTRACTS:
        sys.exit(__doc__)
    name, answer = CONTRACTS[contract]
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000"))
    server = Server(address, batches(load(path, name), answer))
    print(f"{pathlib.Path(path).name} listens on http://{server.server_address[0]}:{server.server_address[1]}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
