import assert from "node:assert/strict";
import { test } from "node:test";

import { verdict } from "./function.mjs";

const judge = (value) => verdict({ id: "my-topic/0/7", value });

test("an object goes on with the number of its fields", () => {
  assert.deepEqual(judge({ id: 7 }), { action: "deliver", records: [{ value: { id: 7, fields: 1 } }] });
});

test("a tombstone is dropped", () => {
  assert.deepEqual(judge(null), { action: "drop" });
});

test("what is no object is a dead letter", () => {
  assert.deepEqual(judge([1, 2]), { action: "dead_letter", reason: "expected a JSON object, found [1,2]" });
});
