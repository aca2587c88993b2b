"""Checks what the cases don't show: the title's bound."""

import unittest

import alert


class Title(unittest.TestCase):
    def test_a_title_is_cut_at_its_bound_and_the_text_is_kept_whole(self):
        for length in (alert.LONGEST_TITLE - 3, alert.LONGEST_TITLE - 2):
            with self.subTest(length):
                said = alert.alert_of({"service": "s", "level": "error", "message": "é" * length})
                self.assertEqual(len(said["title"]), alert.LONGEST_TITLE)
                self.assertEqual(said["title"].endswith("…"), length > alert.LONGEST_TITLE - 3)
                self.assertEqual(said["text"], "é" * length)

    def test_a_title_is_the_first_line_that_says_something(self):
        self.assertEqual(alert.alert_of({"service": "s", "level": "error", "message": "\n\n first \n second"})["title"], "s: first")

    def test_no_level_is_both_quiet_and_loud(self):
        self.assertEqual(alert.QUIET & alert.SEVERITIES.keys(), set())


if __name__ == "__main__":
    unittest.main()
