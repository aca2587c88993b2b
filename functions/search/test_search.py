"""Checks what the cases don't show: bounds, and markup that is broken."""

import unittest

import search


def body(description):
    return search.document("p-1", {"title": "t", "description": description})["body"]


class Documents(unittest.TestCase):
    def test_a_long_body_is_cut(self):
        self.assertEqual(len(body("é" * (search.LONGEST_BODY + 1))), search.LONGEST_BODY)

    def test_broken_markup_loses_no_text(self):
        for markup in ("<p>left <b>open", "</b>left open", "left <open", "</script>left open"):
            with self.subTest(markup):
                self.assertIn("left", body(markup))

    def test_letters_of_one_word_stay_together(self):
        self.assertEqual(body("<b>T</b>ea"), "Tea")

    def test_an_id_has_bounds(self):
        self.assertEqual(search.entry(None, {"product_id": "p" * 128, "title": "t"})[0], "p" * 128)
        for unusable in ("p" * 129, "", "p-1\n"):
            with self.subTest(unusable), self.assertRaises(search.Unusable):
                search.entry(None, {"product_id": unusable, "title": "t"})


if __name__ == "__main__":
    unittest.main()
