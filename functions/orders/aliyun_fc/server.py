"""The same function in a custom runtime: an HTTP server that Function Compute starts, and sends events to.

`POST /initialize` comes once, `POST /invoke` for each event; an HTTP trigger's request comes with its own path. A failed event is
answered the way that Function Compute asks for: status 404 with `x-fc-status: 404`.
"""

import json
import os
import sys
import traceback

import index
import serve


class Handler(serve.Handler):
    def do_POST(self):
        event = self.body()
        # Function Compute tells a control path from a trigger's by this header.
        control_path = self.headers.get("x-fc-control-path", self.path)
        try:
            if control_path == "/initialize":
                index.initialize(self.headers)
                self.answer(200, b"")
            else:
                self.answer(200, index.handler(event, self.headers).encode())
        except Exception as error:
            request_id = self.headers.get("x-fc-request-id", "")
            print(f"FC Invoke End RequestId: {request_id}, Error: {error!r}", file=sys.stderr, flush=True)
            stack = traceback.format_exc().splitlines()
            failure = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": stack})
            is_event = control_path in ("/invoke", "/initialize")
            self.answer(404 if is_event else 500, failure.encode(), {"x-fc-status": "404"} if is_event else {})


if __name__ == "__main__":
    server = serve.Server(("0.0.0.0", int(os.environ.get("FC_SERVER_PORT", "9000"))), Handler)
    print(f"orders listens on port {server.server_address[1]}", flush=True)
    server.serve_forever()
