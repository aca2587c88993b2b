import json
import unittest

from function import handler


def call(value):
    message = {"specversion": "1.0", "type": "alikafka:Topic:Message",
               "data": {"topic": "my-topic", "partition": 0, "offset": 7, "key": "k", "value": value}}
    (result,) = json.loads(handler(json.dumps([message]).encode(), None))["results"]
    return result


class Handler(unittest.TestCase):
    def test_an_object_goes_on_with_the_number_of_its_fields(self):
        records = [{"value": {"id": 7, "fields": 1}}]
        self.assertEqual(call('{"id":7}'), {"id": "my-topic/0/7", "action": "deliver", "records": records})

    def test_a_tombstone_is_dropped(self):
        self.assertEqual(call(None)["action"], "drop")

    def test_what_is_no_object_is_a_dead_letter(self):
        self.assertEqual(call("[1, 2]")["reason"], "expected a JSON object, found [1,2]")
        self.assertEqual(call("{")["action"], "dead_letter")


if __name__ == "__main__":
    unittest.main()
