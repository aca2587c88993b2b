"""Runs the packaged handlers in AWS's own runtime client (awslambdaric), with boto3 and Powertools as they are.

What is ours is the other end: the Runtime API that the client asks for events, and a queue that speaks SQS's JSON protocol. The suite
`functions` runs this in a virtual environment that has the three packages.
"""

import base64
import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import serve  # noqa: E402: only the other end of the test needs it

PATIENCE_SECONDS = 30
ORDER = {"order_id": "o-1", "customer_id": "c-2", "currency": "eur", "items": [{"sku": "a", "quantity": 2, "price_cents": 5}]}
NEXT = "/2018-06-01/runtime/invocation/next"


class Cloud(serve.Server):
    """Lambda's Runtime API and a queue, on one port."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Requests)
        self.events, self.answers = queue.Queue(), queue.Queue()
        self.sent, self.refuses = [], set()

    def handle_error(self, request, client_address):
        """The client is ended while it waits for an event."""

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"


class Requests(serve.Handler):
    def do_GET(self):
        if self.path != NEXT:
            return self.send(404, {})
        request_id, event = self.server.events.get()
        self.send(200, event, {"Lambda-Runtime-Aws-Request-Id": request_id, "Lambda-Runtime-Deadline-Ms": "4102444800000"})

    def do_POST(self):
        document = json.loads(self.body() or "null")
        if self.path.startswith("/2018-06-01/runtime/"):
            self.server.answers.put((self.path.removeprefix("/2018-06-01/runtime/"), document))
            return self.send(202, {"status": "OK"})
        operation = self.headers["x-amz-target"]
        if operation == "AmazonSQS.SendMessageBatch":
            return self.send(200, self.take(document["Entries"]))
        if operation == "AmazonSQS.SendMessage":
            taken = self.take([{**document, "Id": "0"}])
            return self.send(200, taken["Successful"][0]) if taken["Successful"] else self.send(500, {"__type": "InternalError"})
        self.send(404, {})

    def take(self, entries):
        taken = {"Successful": [], "Failed": []}
        for entry in entries:
            order = json.loads(entry["MessageBody"])
            if order["order_id"] in self.server.refuses:
                taken["Failed"].append({"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"})
            else:
                self.server.sent.append(order)
                taken["Successful"].append({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "-"})
        return taken

    def send(self, status, document, headers={}):
        self.answer(status, json.dumps(document).encode(), headers)


def msk_event(*values, partition=0, offset=100):
    """An event as a mapping of MSK sends it: header values as signed bytes."""
    records = [
        {"topic": "orders", "partition": partition, "offset": offset + n, "timestamp": 1545084650987, "timestampType": "CREATE_TIME",
         "key": base64.b64encode(b"k").decode(), "value": None if value is None else base64.b64encode(value).decode(),
         "headers": [{"source": [-61, -85]}]}
        for n, value in enumerate(values)
    ]
    return {"eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:eu-central-1:123456789012:cluster/c/1",
            "bootstrapServers": "b-1:9094,b-2:9094", "records": {f"orders-{partition}": records}}


def order(**change):
    return json.dumps({**ORDER, **change}).encode()


class Hosted:
    """What every handler has to do; the classes below say which one."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        code = cls.stack.enter_context(tempfile.TemporaryDirectory())
        subprocess.run([HERE / "package", f"{code}/orders.zip"], check=True)
        with zipfile.ZipFile(f"{code}/orders.zip") as package:
            package.extractall(code)
        cls.cloud = Cloud()
        threading.Thread(target=cls.cloud.serve_forever, args=(0.01,), daemon=True).start()
        cls.stack.callback(cls.cloud.server_close)
        cls.stack.callback(cls.cloud.shutdown)
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": cls.cloud.address,
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_ENDPOINT_URL_SQS": f"http://{cls.cloud.address}",
            "ORDERS_QUEUE_URL": f"http://{cls.cloud.address}/123456789012/orders",
            "PYTHONPATH": code,
            "LAMBDA_TASK_ROOT": code,
        }
        cls.log = cls.stack.enter_context(tempfile.TemporaryFile("w+"))
        client = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", cls.handler],
            cwd=code, env=environment, stdin=subprocess.DEVNULL, stdout=cls.log, stderr=subprocess.STDOUT,
        )
        cls.stack.callback(client.wait)
        cls.stack.callback(client.kill)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.cloud.sent.clear()
        self.cloud.refuses.clear()

    def invoke(self, event):
        """What the runtime client says about an event: a response or an error, and the document."""
        self.cloud.events.put((self.id(), event))
        try:
            path, document = self.cloud.answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            self.fail(f"no answer within {PATIENCE_SECONDS} s; the client said:\n{self.said()}")
        *_, request_id, kind = path.split("/")
        self.assertEqual(request_id, self.id(), self.said())
        return kind, document

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def failures(self, event):
        kind, document = self.invoke(event)
        self.assertEqual(kind, "response", document)
        self.assertEqual(document.keys(), {"batchItemFailures"})
        return [(failure["itemIdentifier"]["partition"], failure["itemIdentifier"]["offset"]) for failure in document["batchItemFailures"]]

    def test_clean_orders_go_to_the_queue_and_none_failed(self):
        self.assertEqual(self.failures(msk_event(order(), order(order_id="o-2"))), [])
        self.assertEqual([sent["order_id"] for sent in self.cloud.sent], ["o-1", "o-2"])
        self.assertEqual(self.cloud.sent[0]["total_cents"], 10)

    def test_a_self_managed_cluster_s_event_is_read_the_same(self):
        event = msk_event(order())
        del event["eventSourceArn"]
        self.assertEqual(self.failures({**event, "eventSource": "SelfManagedKafka"}), [])
        self.assertEqual(len(self.cloud.sent), 1)

    def test_tombstones_and_test_orders_are_dropped(self):
        self.assertEqual(self.failures(msk_event(None, order(test=True))), [])
        self.assertEqual(self.cloud.sent, [])

    def test_what_cannot_be_used_is_listed_alone_and_the_log_says_why(self):
        event = msk_event(order(), order(currency="euro"), b"{", b"\xff", order(customer_id="c-404"), order(order_id="o-2"), partition=3)
        self.assertEqual(self.failures(event), [("orders-3", 101), ("orders-3", 102), ("orders-3", 103), ("orders-3", 104)])
        self.assertEqual([sent["order_id"] for sent in self.cloud.sent], ["o-1", "o-2"])
        if self.logs_reasons:
            self.assertIn("currency: expected a three-letter code", self.said())

    def test_partitions_are_told_apart(self):
        event = msk_event(order(), b"{")
        event["records"].update(msk_event(b"{", order(), partition=1)["records"])
        self.assertEqual(self.failures(event), [("orders-0", 101), ("orders-1", 100)])

    def test_what_the_queue_did_not_take_is_listed(self):
        self.cloud.refuses.add("o-2")
        self.assertEqual(self.failures(msk_event(order(), order(order_id="o-2"), order(order_id="o-3"))), [("orders-0", 101)])
        self.assertEqual([sent["order_id"] for sent in self.cloud.sent], ["o-1", "o-3"])

    def test_a_batch_larger_than_a_call_to_the_queue_goes_in_order(self):
        names = [f"o-{n}" for n in range(25)]
        self.assertEqual(self.failures(msk_event(*[order(order_id=name) for name in names])), [])
        self.assertEqual([sent["order_id"] for sent in self.cloud.sent], names)

    def test_an_event_whose_records_all_failed_lists_them(self):
        self.assertEqual(self.failures(msk_event(b"{", b"[")), [("orders-0", 100), ("orders-0", 101)])


class OurHandler(Hosted, unittest.TestCase):
    handler = "handler.handler"
    logs_reasons = True

    def test_an_event_of_another_kind_is_a_function_error(self):
        kind, document = self.invoke({"Records": []})
        self.assertEqual((kind, document["errorType"]), ("error", "KeyError"))


class PowertoolsHandler(Hosted, unittest.TestCase):
    handler = "with_powertools.handler"
    logs_reasons = False

    def test_an_event_of_another_kind_is_a_function_error(self):
        kind, document = self.invoke({"Records": []})
        self.assertEqual((kind, document["errorType"]), ("error", "UnexpectedBatchTypeError"))


if __name__ == "__main__":
    unittest.main()
