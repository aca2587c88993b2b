"""Checks the handler on events as documented, and the packaged custom runtime over HTTP."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import index  # noqa: E402: the package has orders.py beside it, the repository one folder further

ORDER = {"order_id": "o-1", "customer_id": "c-2", "currency": "eur", "items": [{"sku": "a", "quantity": 2, "price_cents": 5}]}
CLEAN = {**ORDER, "currency": "EUR", "customer": {"country": "SG", "tier": "silver"}, "units": 2, "total_cents": 10, "shipping": "standard"}


def data(value, offset=25):
    return {"topic": "orders", "partition": 7, "offset": offset, "timestamp": 1655952591589,
            "headers": {"headers": [], "isReadOnly": False}, "key": "k", "value": value}


def event(value, offset=25):
    """One message as EventBridge sends it."""
    return {"specversion": "1.0", "id": "8e215af8-0000-4000-8000-000000000000", "source": "acs:alikafka", "type": "alikafka:Topic:Message",
            "subject": "acs:alikafka:alikafka_pre-cn-0001:topic:orders", "datacontenttype": "application/json; charset=utf-8",
            "time": "2022-06-23T02:49:51.589Z", "aliyunaccountid": "1", "data": data(value, offset)}


def text(**change):
    return json.dumps({**ORDER, **change})


class Handler(unittest.TestCase):
    def call(self, messages):
        return json.loads(index.handler(json.dumps(messages).encode(), None))

    def test_events_of_each_documented_shape_become_the_same_orders(self):
        shapes = {
            "objects": [event(text())],
            "JSON text": [json.dumps(event(text()))],
            "RawData": [data(text())],
            "RawData as JSON text": [json.dumps(data(text()))],
        }
        for shape, messages in shapes.items():
            with self.subTest(shape):
                self.assertEqual(self.call(messages), [CLEAN])

    def test_each_order_is_an_element_in_order(self):
        self.assertEqual([order["order_id"] for order in self.call([event(text()), event(text(order_id="o-2"), 26)])], ["o-1", "o-2"])

    def test_tombstones_and_test_orders_leave_nothing(self):
        self.assertEqual(self.call([event(None), event(text(test=True), 26)]), [])

    def test_an_order_that_cannot_be_used_fails_the_call_with_its_place_and_reason(self):
        for value, reason in [
            (text(currency="euro"), 'orders/7/26: currency: expected a three-letter code, found "euro"'),
            ("{", 'orders/7/26: expected JSON, found "{"'),
            (text(customer_id="c-404"), "orders/7/26: customer_id: no such customer yet; to be called again in 2000 ms"),
        ]:
            with self.subTest(value), self.assertRaises(index.Refused) as refused:
                self.call([event(text()), event(value, 26)])
            self.assertEqual(str(refused.exception), reason)

    def test_the_contract_json_gets_a_verdict_a_record(self):
        records = [{"id": "orders/7/25", "value": ORDER}, {"id": "orders/7/26", "value": 7}, {"id": "orders/7/27", "value": None}]
        results = self.call({"pipeline": "orders", "batch": "orders/7/25-27", "records": records})["results"]
        self.assertEqual([(result["id"], result["action"]) for result in results],
                         [("orders/7/25", "deliver"), ("orders/7/26", "dead_letter"), ("orders/7/27", "drop")])
        self.assertEqual(results[0]["records"], [{"value": CLEAN}])


class CustomRuntime(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        code = cls.enterClassContext(tempfile.TemporaryDirectory())
        subprocess.run([HERE / "package", f"{code}/orders.zip"], check=True)
        with zipfile.ZipFile(f"{code}/orders.zip") as package:
            package.extractall(code)
        server = subprocess.Popen(
            [sys.executable, "server.py"],
            cwd=code, env={"PATH": os.environ["PATH"], "FC_SERVER_PORT": "0"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.stdout.close)
        cls.addClassCleanup(server.kill)
        port = re.search(r"port (\d+)", server.stdout.readline())[1]
        cls.connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        cls.addClassCleanup(cls.connection.close)

    def post(self, path, body="", headers={}):
        self.connection.request("POST", path, body, {"x-fc-request-id": "1-68aa", "content-type": "application/octet-stream", **headers})
        answer = self.connection.getresponse()
        return answer.status, answer.headers.get("x-fc-status"), answer.read().decode()

    def test_an_instance_is_initialized_and_invoked(self):
        self.assertEqual(self.post("/initialize", headers={"x-fc-control-path": "/initialize"}), (200, None, ""))
        status, failed, body = self.post("/invoke", json.dumps([event(text())]), {"x-fc-control-path": "/invoke"})
        self.assertEqual((status, failed, json.loads(body)), (200, None, [CLEAN]))

    def test_a_failed_event_says_so_in_a_header_and_in_its_body(self):
        status, failed, body = self.post("/invoke", json.dumps([event("{")]), {"x-fc-control-path": "/invoke"})
        self.assertEqual((status, failed), (404, "404"))
        failure = json.loads(body)
        self.assertEqual((failure["errorType"], failure["errorMessage"]), ("Refused", 'orders/7/25: expected JSON, found "{"'))
        self.assertTrue(any("index.py" in line for line in failure["stackTrace"]))

    def test_a_trigger_s_request_fails_as_a_web_server_s(self):
        status, failed, body = self.post("/", json.dumps([event("{")]))
        self.assertEqual((status, failed), (500, None))
        self.assertIn("expected JSON", body)

    def test_a_trigger_takes_the_contract_json(self):
        batch = {"records": [{"id": "orders/0/1", "value": ORDER}]}
        status, _, body = self.post("/orders", json.dumps(batch))
        self.assertEqual((status, json.loads(body)["results"][0]["action"]), (200, "deliver"))


if __name__ == "__main__":
    unittest.main()
