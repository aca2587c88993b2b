// Serves the orders' verdicts under the contract `json`: one POST is one batch, one verdict a record goes back.

import http from "node:http";
import { pathToFileURL } from "node:url";

import { verdict } from "./orders.js";

export function createServer(judge = verdict) {
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [status, document] = answer(judge, Buffer.concat(chunks).toString());
    const body = Buffer.from(JSON.stringify(document));
    response.writeHead(status, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
  });
  server.keepAliveTimeout = 60_000; // Connections stay open between batches.
  return server;
}

// The status and the document that a batch gets.
function answer(judge, body) {
  let records;
  try {
    records = batch(body);
  } catch (error) {
    return [400, { error: `expected a batch of records as JSON: ${error.message}` }];
  }
  try {
    return [200, { results: records.map(judge) }];
  } catch (error) {
    // A bug in the rules: fnbridge retries, then finds the record that causes it.
    console.error(error);
    return [500, { error: String(error) }];
  }
}

function batch(body) {
  const { records } = JSON.parse(body);
  if (!Array.isArray(records)) throw new TypeError("no list of records");
  if (!records.every((record) => typeof record?.id === "string")) throw new TypeError("a record without an id");
  return records;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = createServer().listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1", () => {
    const { address, port } = server.address();
    console.log(`orders listens on http://${address}:${port}/`);
  });
}
