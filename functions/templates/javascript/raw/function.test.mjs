import assert from "node:assert/strict";
import { test } from "node:test";

import { answer } from "./function.mjs";

test("an object goes on with the number of its fields", () => {
  assert.deepEqual(answer('{"id":7}'), [200, '{"id":7,"fields":1}']);
});

test("a tombstone leaves nothing", () => {
  assert.deepEqual(answer(""), [204, ""]);
});

test("what is no object is refused", () => {
  for (const body of ["[1,2]", "null", "{"]) assert.equal(answer(body)[0], 422);
});
