// What the cases that all languages share don't show: single rules at their edges, and the server.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mock, test } from "node:test";

import { verdict } from "./orders.js";
import { createServer } from "./server.js";

const order = (change = {}) => ({
  order_id: "o-1",
  customer_id: "c-2",
  currency: "EUR",
  items: [{ sku: "a", quantity: 1, price_cents: 100 }],
  ...change,
});

const judge = (value, attempt) => verdict({ id: "orders/0/7", value, attempt });

test("a verdict carries the record's id", () => {
  for (const value of [order(), null, "no order", order({ customer_id: "c-404" })]) {
    assert.equal(judge(value).id, "orders/0/7");
  }
});

test("the record itself is left as it came", () => {
  const value = Object.freeze(order({ currency: "eur", items: [Object.freeze({ sku: " a", quantity: 1, price_cents: 1 })] }));
  assert.equal(judge(value).records[0].value.currency, "EUR");
  assert.equal(value.currency, "eur");
});

test("express begins at 500.00", () => {
  const shipping = (price_cents) => judge(order({ items: [{ sku: "a", quantity: 1, price_cents }] })).records[0].value.shipping;
  assert.equal(shipping(49_999), "standard");
  assert.equal(shipping(50_000), "express");
});

test("quantities have bounds", () => {
  const action = (quantity) => judge(order({ items: [{ sku: "a", quantity, price_cents: 1 }] })).action;
  assert.deepEqual([0, 1, 1000, 1001].map(action), ["dead_letter", "deliver", "deliver", "dead_letter"]);
});

test("a hundred items are an order, one more is none", () => {
  const action = (count) => judge(order({ items: Array(count).fill(order().items[0]) })).action;
  assert.deepEqual([action(100), action(101)], ["deliver", "dead_letter"]);
});

test("an unknown customer is asked for twice, then given up", () => {
  const action = (attempt) => judge(order({ customer_id: "c-404" }), attempt).action;
  assert.deepEqual([1, 2, 3, 4].map(action), ["retry", "retry", "dead_letter", "dead_letter"]);
});

test("a bug in the rules is a 500 that names it", async (t) => {
  mock.method(console, "error", () => {});
  const server = createServer(() => {
    throw new RangeError("division by zero");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    mock.restoreAll();
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${server.address().port}/`;
  const answer = await fetch(url, { method: "POST", body: '{"records":[{"id":"orders/0/7","value":{}}]}' });
  assert.equal(answer.status, 500);
  assert.match((await answer.json()).error, /division by zero/);
});
