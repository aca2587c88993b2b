"""What the cases that all languages share don't show: single rules at their edges."""

import copy
import unittest

import orders


def order(**change):
    return {"order_id": "o-1", "customer_id": "c-2", "currency": "eur", "items": [item()], **change}


def item(**change):
    return {"sku": " a", "quantity": 1, "price_cents": 100, **change}


def action(value, attempt=1):
    return orders.verdict({"id": "orders/0/7", "value": value, "attempt": attempt})["action"]


class Rules(unittest.TestCase):
    def test_an_unknown_customer_is_asked_for_twice_then_given_up(self):
        actions = [action(order(customer_id="c-404"), attempt) for attempt in (1, 2, 3, 4)]
        self.assertEqual(actions, ["retry", "retry", "dead_letter", "dead_letter"])

    def test_a_record_without_an_attempt_is_the_first_one(self):
        self.assertEqual(orders.verdict({"value": order(customer_id="c-404")})["action"], "retry")

    def test_express_begins_at_500(self):
        def shipping(price_cents):
            return orders.verdict({"value": order(items=[item(price_cents=price_cents)])})["records"][0]["value"]["shipping"]

        self.assertEqual((shipping(49_999), shipping(50_000)), ("standard", "express"))

    def test_quantities_have_bounds(self):
        actions = [action(order(items=[item(quantity=quantity)])) for quantity in (0, 1, 1000, 1001)]
        self.assertEqual(actions, ["dead_letter", "deliver", "deliver", "dead_letter"])

    def test_a_hundred_items_are_an_order_one_more_is_none(self):
        self.assertEqual([action(order(items=[item()] * count)) for count in (100, 101)], ["deliver", "dead_letter"])

    def test_a_number_beyond_all_bounds_is_no_quantity(self):
        self.assertEqual(action(order(items=[item(quantity=float("inf"))])), "dead_letter")

    def test_the_record_itself_is_left_as_it_came(self):
        value = order()
        before = copy.deepcopy(value)
        self.assertEqual(orders.verdict({"value": value})["records"][0]["value"]["currency"], "EUR")
        self.assertEqual(value, before)


if __name__ == "__main__":
    unittest.main()
