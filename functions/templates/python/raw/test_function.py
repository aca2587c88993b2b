import unittest

from function import answer


class Answer(unittest.TestCase):
    def test_an_object_goes_on_with_the_number_of_its_fields(self):
        self.assertEqual(answer(b'{"id":7}'), (200, b'{"id": 7, "fields": 1}'))

    def test_a_tombstone_leaves_nothing(self):
        self.assertEqual(answer(b""), (204, b""))

    def test_what_is_no_object_is_refused(self):
        for body in (b"[1,2]", b"{"):
            self.assertEqual(answer(body)[0], 422)


if __name__ == "__main__":
    unittest.main()
