"""Checks the rules against cases.json, and the server over HTTP."""

import http.client
import json
import pathlib
import threading
import unittest

import flights

CASES = json.loads((pathlib.Path(__file__).parent.parent / "cases.json").read_text())


def expected(case):
    if "deliver" in case:
        return {"id": "flights/0/7", "action": "deliver", "records": [{"value": case["deliver"]}]}
    if "dead_letter" in case:
        return {"id": "flights/0/7", "action": "dead_letter", "reason": case["dead_letter"]}
    return {"id": "flights/0/7", "action": "drop"}


class Rules(unittest.TestCase):
    def test_every_case_gets_its_verdict(self):
        for case in CASES:
            with self.subTest(case["name"]):
                self.assertEqual(flights.verdict({"id": "flights/0/7", "value": case["value"]}), expected(case))


class Http(unittest.TestCase):
    def setUp(self):
        self.server = flights.Server(("127.0.0.1", 0), flights.Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.connection = http.client.HTTPConnection(*self.server.server_address, timeout=10)

    def tearDown(self):
        self.connection.close()
        self.server.shutdown()
        self.server.server_close()

    def post(self, body):
        self.connection.request("POST", "/", body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def test_a_batch_gets_one_verdict_a_record_in_order_on_one_connection(self):
        batch = json.dumps({"records": [{"id": f"flights/0/{n}", "value": case["value"]} for n, case in enumerate(CASES)]})
        status, first = self.post(batch)
        socket = self.connection.sock
        self.assertEqual(status, 200)
        self.assertEqual([result["id"] for result in first["results"]], [f"flights/0/{n}" for n in range(len(CASES))])
        self.assertEqual(self.post(batch), (200, first))
        self.assertIs(self.connection.sock, socket)

    def test_what_is_no_batch_is_refused(self):
        for body in ("", "{", "[]", "{}", '{"records":7}', '{"records":[{"value":1}]}', '{"records":[null]}'):
            with self.subTest(body):
                status, document = self.post(body)
                self.assertEqual(status, 400)
                self.assertIn("expected a batch of records", document["error"])


if __name__ == "__main__":
    unittest.main()
