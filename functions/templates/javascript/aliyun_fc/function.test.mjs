import assert from "node:assert/strict";
import { test } from "node:test";

import { handler } from "./function.mjs";

async function call(value) {
  const data = { topic: "my-topic", partition: 0, offset: 7, key: "k", value };
  const event = [{ specversion: "1.0", type: "alikafka:Topic:Message", data }];
  return JSON.parse(await handler(Buffer.from(JSON.stringify(event)))).results;
}

test("an object goes on with the number of its fields", async () => {
  const records = [{ value: { id: 7, fields: 1 } }];
  assert.deepEqual(await call('{"id":7}'), [{ id: "my-topic/0/7", action: "deliver", records }]);
});

test("a tombstone is dropped", async () => {
  assert.deepEqual(await call(null), [{ id: "my-topic/0/7", action: "drop" }]);
});

test("what is no object is a dead letter", async () => {
  const [{ reason }] = await call("[1, 2]");
  assert.equal(reason, "expected a JSON object, found [1,2]");
  assert.equal((await call("{"))[0].action, "dead_letter");
});
