// What becomes of one record's bytes, and a server that answers with it.

import http from "node:http";
import { pathToFileURL } from "node:url";

// The status and the body: 200 delivers it, 204 leaves nothing, 422 makes the record a dead letter.
export function answer(body) {
  if (body.length === 0) return [204, ""];
  let value;
  try {
    value = JSON.parse(body);
  } catch (error) {
    return [422, `expected JSON: ${error.message}`];
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [422, "expected a JSON object"];
  return [200, JSON.stringify({ ...value, fields: Object.keys(value).length })];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [status, body] = answer(Buffer.concat(chunks).toString());
    response.writeHead(status, { "content-length": Buffer.byteLength(body) });
    response.end(body);
  });
  server.keepAliveTimeout = 60_000; // Connections stay open between records.
  server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1");
}
