import json
import unittest

from function import answer

EVENT = {"specversion": "1.0", "id": "partition:0/offset:7", "source": "/fnbridge/my-function#my-topic", "type": "dev.knative.kafka.event"}


class Answer(unittest.TestCase):
    def test_an_object_becomes_an_event_with_the_number_of_its_fields(self):
        status, attributes, data = answer(EVENT, b'{"id":7}')
        self.assertEqual((status, json.loads(data)), (200, {"id": 7, "fields": 1}))
        self.assertEqual((attributes["id"], attributes["type"]), (EVENT["id"], "my-function.counted"))

    def test_an_event_without_data_leaves_nothing(self):
        self.assertEqual(answer(EVENT, b""), (204, {}, b""))

    def test_what_is_no_object_is_refused(self):
        for data in (b"[1,2]", b"{"):
            self.assertEqual(answer(EVENT, data)[0], 422)


if __name__ == "__main__":
    unittest.main()
