"""Runs the function in the Functions Framework as it is, and posts events to it with the CloudEvents SDK. The suite `functions` runs this
in a virtual environment that has both.
"""

import http.client
import json
import pathlib
import socket
import subprocess
import sys
import time
import unittest

from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_SECONDS = 30
ORDER = {"order_id": "o-1", "customer_id": "c-2", "currency": "eur", "items": [{"sku": "a", "quantity": 2, "price_cents": 5}]}


def event(order):
    """A record as an event: its id says where it stands in Kafka."""
    return CloudEvent({"type": "dev.knative.kafka.event", "source": "/fnbridge#orders", "id": "partition:3/offset:42", "subject": "partition:3#42",
                       "key": "k", "datacontenttype": "application/json"}, order)


class Hosted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with socket.create_server(("127.0.0.1", 0)) as free:
            cls.port = free.getsockname()[1]
        framework = subprocess.Popen(
            [pathlib.Path(sys.executable).parent / "functions-framework", "--source", HERE / "main.py", "--target", "receive",
             "--host", "127.0.0.1", "--port", str(cls.port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        cls.addClassCleanup(framework.wait)
        cls.addClassCleanup(framework.terminate)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", cls.port), timeout=1).close()
                return
            except OSError:
                if framework.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError(f"the framework does not listen; it ended with {framework.poll()}") from None
                time.sleep(0.05)

    def post(self, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        self.addCleanup(connection.close)
        connection.request("POST", "/", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def test_an_order_in_either_mode_is_answered_with_an_event(self):
        for mode in (to_binary, to_structured):
            with self.subTest(mode.__name__):
                status, headers, body = self.post(*mode(event(ORDER)))
                self.assertEqual(status, 200, body)
                reply = from_http(headers, body)
                self.assertEqual((reply["type"], reply["id"], reply["subject"]), ("orders.clean", "partition:3/offset:42", "o-1"))
                self.assertEqual((reply.data["currency"], reply.data["total_cents"]), ("EUR", 10))

    def test_what_becomes_of_an_order_without_a_reply_is_the_status(self):
        for order, expected, said in [
            ({**ORDER, "test": True}, 204, b""),
            ({**ORDER, "currency": "euro"}, 422, b"expected a three-letter code"),
            ({**ORDER, "customer_id": "c-404"}, 425, b"no such customer yet"),
        ]:
            with self.subTest(expected):
                status, _, body = self.post(*to_binary(event(order)))
                self.assertEqual(status, expected, body)
                self.assertIn(said, body)

    def test_a_tombstone_which_is_an_event_without_data_is_dropped(self):
        headers, _ = to_binary(event(ORDER))
        structured = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1"}
        for headers, body in [(headers, b""), ({"content-type": "application/cloudevents+json"}, json.dumps(structured))]:
            with self.subTest(body):
                status, _, said = self.post(headers, body)
                self.assertEqual(status, 204, said)

    def test_what_is_no_event_is_refused(self):
        for headers, body in [({}, b"{}"), ({"content-type": "application/cloudevents+json"}, b"{"), ({"content-type": "application/json"}, json.dumps(ORDER))]:
            with self.subTest(body):
                self.assertEqual(self.post(headers, body)[0], 400)


if __name__ == "__main__":
    unittest.main()
