import assert from "node:assert/strict";
import { test } from "node:test";

import { answer } from "./function.mjs";

const event = { specversion: "1.0", id: "partition:0/offset:7", source: "/fnbridge/my-function#my-topic", type: "dev.knative.kafka.event" };

test("an object becomes an event with the number of its fields", () => {
  const [status, attributes, data] = answer(event, '{"id":7}');
  assert.deepEqual([status, JSON.parse(data)], [200, { id: 7, fields: 1 }]);
  assert.deepEqual([attributes.id, attributes.type], [event.id, "my-function.counted"]);
});

test("an event without data leaves nothing", () => {
  assert.deepEqual(answer(event, ""), [204, {}, ""]);
});

test("what is no object is refused", () => {
  for (const data of ["[1,2]", "null", "{"]) assert.equal(answer(event, data)[0], 422);
});
