import unittest

from function import verdict


class Verdict(unittest.TestCase):
    def test_an_object_goes_on_with_the_number_of_its_fields(self):
        answered = verdict({"id": "my-topic/0/7", "value": {"id": 7}})
        self.assertEqual(answered, {"action": "deliver", "records": [{"value": {"id": 7, "fields": 1}}]})

    def test_a_tombstone_is_dropped(self):
        self.assertEqual(verdict({"id": "my-topic/0/7", "value": None}), {"action": "drop"})

    def test_what_is_no_object_is_a_dead_letter(self):
        answered = verdict({"id": "my-topic/0/7", "value": [1, 2]})
        self.assertEqual(answered, {"action": "dead_letter", "reason": "expected a JSON object, found [1,2]"})


if __name__ == "__main__":
    unittest.main()
