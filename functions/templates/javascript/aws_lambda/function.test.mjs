import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { handler } from "./function.mjs";

async function call(...values) {
  const records = values.map((value, offset) => ({
    topic: "my-topic",
    partition: 0,
    offset,
    value: value === null ? null : Buffer.from(value).toString("base64"),
  }));
  const log = mock.method(console, "log", () => {});
  try {
    const { batchItemFailures } = await handler({ eventSource: "SelfManagedKafka", records: { "my-topic-0": records } });
    const said = log.mock.calls.map(({ arguments: [line] }) => line);
    return [batchItemFailures.map(({ itemIdentifier }) => itemIdentifier.offset), said];
  } finally {
    log.mock.restore();
  }
}

test("an object is done with", async () => {
  assert.deepEqual(await call('{"id":7}'), [[], ['{"id":7,"fields":1}']]);
});

test("a tombstone is done with", async () => {
  assert.deepEqual(await call(null), [[], []]);
});

test("only what is no object has failed", async () => {
  const [failed, said] = await call("{}", "[1,2]", "{", "{}");
  assert.deepEqual(failed, [1, 2]);
  assert.ok(said.includes("my-topic-0/1: expected a JSON object"));
});
