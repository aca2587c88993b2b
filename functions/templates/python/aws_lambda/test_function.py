import base64
import contextlib
import io
import json
import unittest

from function import handler


def event(*values):
    records = [{"topic": "my-topic", "partition": 0, "offset": offset,
                "value": None if value is None else base64.b64encode(value).decode()} for offset, value in enumerate(values)]
    return {"eventSource": "SelfManagedKafka", "records": {"my-topic-0": records}}


def call(*values):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        failed = handler(event(*values), None)["batchItemFailures"]
    return [failure["itemIdentifier"]["offset"] for failure in failed], said.getvalue()


class Handler(unittest.TestCase):
    def test_an_object_is_done_with(self):
        failed, said = call(b'{"id":7}')
        self.assertEqual((failed, json.loads(said)), ([], {"id": 7, "fields": 1}))

    def test_a_tombstone_is_done_with(self):
        self.assertEqual(call(None), ([], ""))

    def test_only_what_is_no_object_has_failed(self):
        failed, said = call(b"{}", b"[1,2]", b"{", b"{}")
        self.assertEqual(failed, [1, 2])
        self.assertIn("my-topic-0/1: expected a JSON object", said)


if __name__ == "__main__":
    unittest.main()
