// Checks the rules against cases.json, and the server over HTTP.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const test = require("node:test");

const { server, verdict } = require("./flights.js");
const cases = require("../cases.json");

function expected({ deliver, dead_letter: reason }) {
  const id = "flights/0/7";
  if (deliver) return { id, action: "deliver", records: [{ value: deliver }] };
  return reason ? { id, action: "dead_letter", reason } : { id, action: "drop" };
}

for (const example of cases) {
  test(example.name, () => assert.deepEqual(verdict({ id: "flights/0/7", value: example.value }), expected(example)));
}

async function listening(t) {
  const started = server().listen(0, "127.0.0.1");
  await once(started, "listening");
  t.after(() => {
    started.close();
    started.closeAllConnections?.();
  });
  return `http://127.0.0.1:${started.address().port}/`;
}

test("a batch gets one verdict a record, in order", async (t) => {
  const url = await listening(t);
  const records = cases.map(({ value }, n) => ({ id: `flights/0/${n}`, value }));
  const answer = await fetch(url, { method: "POST", body: JSON.stringify({ records }) });
  assert.equal(answer.status, 200);
  const { results } = await answer.json();
  assert.deepEqual(results.map(({ id }) => id), records.map(({ id }) => id));
});

test("what is no batch is refused", async (t) => {
  const url = await listening(t);
  for (const body of ["", "{", "[]", "{}", '{"records":7}', '{"records":[{"value":1}]}', '{"records":[null]}']) {
    const answer = await fetch(url, { method: "POST", body });
    assert.equal(answer.status, 400, body);
    assert.match((await answer.json()).error, /expected a batch of records/);
  }
});
