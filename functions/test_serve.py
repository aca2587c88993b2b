"""Checks the server over HTTP: what a function of its own gets and answers."""

import contextlib
import http.client
import io
import json
import pathlib
import tempfile
import threading
import unittest

import serve


class Serve(unittest.TestCase):
    def serve(self, verdict):
        server = serve.Server(("127.0.0.1", 0), serve.batches(verdict))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        connection = http.client.HTTPConnection(*server.server_address, timeout=10)
        self.addCleanup(connection.close)

        def post(body):
            connection.request("POST", "/", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), connection.sock

        return post

    def test_a_function_gets_each_record_and_its_verdicts_carry_the_ids(self):
        seen = []
        post = self.serve(lambda record: seen.append(record) or {"action": "drop"})
        records = [{"id": f"t/0/{n}", "key": "k", "value": n, "attempt": 2} for n in range(3)]
        status, document, _ = post(json.dumps({"records": records}))
        self.assertEqual((status, seen), (200, records))
        self.assertEqual(document["results"], [{"id": record["id"], "action": "drop"} for record in records])

    def test_one_connection_takes_batch_after_batch(self):
        post = self.serve(lambda record: {"action": "drop"})
        batch = '{"records":[{"id":"t/0/0"}]}'
        (*first, socket), (*second, same_socket) = post(batch), post(batch)
        self.assertEqual(first, second)
        self.assertIs(same_socket, socket)

    def test_a_bug_in_a_function_is_a_500_that_names_it_and_its_traceback_is_shown(self):
        post = self.serve(lambda record: 1 / 0)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status, document, _ = post('{"records":[{"id":"t/0/0"}]}')
        self.assertEqual((status, document), (500, {"error": "ZeroDivisionError('division by zero')"}))
        self.assertIn("test_serve.py", said.getvalue())

    def test_an_answer_that_is_no_json_is_a_bug_too(self):
        post = self.serve(lambda record: {"action": "deliver", "records": [{"value": {1, 2}}]})
        with contextlib.redirect_stderr(io.StringIO()):
            status, document, _ = post('{"records":[{"id":"t/0/0"}]}')
        self.assertEqual(status, 500)
        self.assertIn("not JSON serializable", document["error"])

    def test_a_function_may_import_what_lies_beside_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "beside_it.py").write_text("ACTION = 'drop'\n")
            (path / "mine.py").write_text("import beside_it\ndef verdict(record):\n    return {'action': beside_it.ACTION}\n")
            self.assertEqual(serve.load(path / "mine.py")({"id": "t/0/0"}), {"action": "drop"})


if __name__ == "__main__":
    unittest.main()
