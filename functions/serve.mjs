// Serves the function of a JavaScript file, with nothing but Node: `verdict(record)` under the contract `json`, where one POST is one
// batch and one verdict a record goes back; `handler(event, context)` as Lambda and Function Compute call it.
//
//     node functions/serve.mjs functions/orders/javascript/orders.js [json | aws_lambda | aliyun_fc]

import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const CONTRACTS = {
  json: { export: "verdict", answer: verdicts },
  aws_lambda: { export: "handler", answer: lambda },
  aliyun_fc: { export: "handler", answer: functionCompute },
};

async function verdicts(verdict, body) {
  let records;
  try {
    records = batch(body);
  } catch (error) {
    return [400, { error: `expected a batch of records as JSON: ${error.message}` }];
  }
  try {
    const results = [];
    for (const record of records) results.push({ id: record.id, ...(await verdict(record)) });
    return [200, { results }];
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

async function lambda(handler, body) {
  try {
    return [200, (await handler(JSON.parse(body), {})) ?? null];
  } catch (error) {
    return [200, failure(error), { "x-amz-function-error": "Unhandled" }];
  }
}

async function functionCompute(handler, body) {
  try {
    return [200, await handler(body, {})];
  } catch (error) {
    return [200, failure(error), { "x-fc-error-type": "UnhandledInvocationError" }];
  }
}

function failure(error) {
  console.error(error);
  return { errorMessage: String(error?.message ?? error), errorType: error?.name ?? "Error" };
}

function createServer(answer) {
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [status, document, headers = {}] = await answer(Buffer.concat(chunks));
    const isText = typeof document === "string" || Buffer.isBuffer(document);
    const body = Buffer.from(isText ? document : JSON.stringify(document ?? null));
    response.writeHead(status, { "content-type": "application/json", "content-length": body.length, ...headers });
    response.end(body);
  });
  server.keepAliveTimeout = 60_000; // Connections stay open between batches.
  return server;
}

// Under `node -e`, as fnbridge runs it, there is no script among the arguments.
const [file, name = "json"] = process.argv.slice(import.meta.url.endsWith("/[eval1]") ? 1 : 2);
const contract = CONTRACTS[name];
if (!file || !contract) {
  console.error(`expected a file and one of ${Object.keys(CONTRACTS).join(", ")}, found ${file ?? "no file"} and ${name}`);
  process.exit(2);
}
const module = await import(pathToFileURL(path.resolve(file)));
const serves = module[contract.export] ?? module.default?.[contract.export];
if (typeof serves !== "function") {
  console.error(`expected ${file} to export a function ${contract.export}`);
  process.exit(2);
}
const server = createServer((body) => contract.answer(serves, body));
server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`${path.basename(file)} listens on http://${address}:${port}/`);
});
