"""Checks what the cases don't show: each type at its bounds."""

import unittest

import warehouse


class Types(unittest.TestCase):
    def refused(self, kind, *values):
        for value in values:
            with self.subTest(kind.__name__, value=value), self.assertRaises(warehouse.Untyped):
                kind(value)

    def test_a_whole_number_has_64_bits(self):
        self.assertEqual(warehouse.integer(str(2**63 - 1)), 2**63 - 1)
        self.assertEqual(warehouse.integer(-(2**63)), -(2**63))
        self.assertEqual(warehouse.integer(2.0), 2)
        self.refused(warehouse.integer, 2**63, "9" * 19 + "9", "1_000", "٣", True, float("inf"), [], "0x10")

    def test_an_amount_is_exact(self):
        for value, exact in [(0.1, "0.10"), ("-0", "0.00"), ("1" + "0" * 15 + "." + "0" * 40, "1000000000000000.00"), ("1e2", "100.00"), (10**15, "1000000000000000.00"), ("-0.01", "-0.01"), ("9999999999999999.99", "9999999999999999.99")]:
            with self.subTest(value):
                self.assertEqual(warehouse.money(value), exact)
        self.refused(warehouse.money, "NaN", "Infinity", float("inf"), "1_0", "٣", 10**16, "0.001", None, {}, "1e999999999")

    def test_a_time_is_the_same_instant_whatever_its_offset(self):
        for value in ("2026-03-01T09:00:00.123Z", "2026-03-01T10:00:00.123+01:00", "2026-02-28T19:00:00.123-1400", 1772355600.123):
            with self.subTest(value):
                self.assertEqual(warehouse.time(value), "2026-03-01T09:00:00.123Z")
        self.refused(warehouse.time, "2026-03-01", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", True, float("inf"), float("nan"), "1772355600", [])

    def test_truth_comes_in_few_words(self):
        self.assertEqual([warehouse.truth(value) for value in (True, 1, "TRUE", "no", 0, False)], [True, True, True, False, False, False])
        self.refused(warehouse.truth, 2, "maybe", 1.0, [])


if __name__ == "__main__":
    unittest.main()
