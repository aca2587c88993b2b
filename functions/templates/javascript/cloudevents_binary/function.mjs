// What becomes of one CloudEvent in binary mode, and a server that answers with it.

import http from "node:http";
import { pathToFileURL } from "node:url";

// The status, the attributes and the data of the event that goes back; 204 leaves nothing, 422 makes a dead letter.
// `event` has the attributes without `ce-`: id, source, type, subject and so on.
export function answer(event, data) {
  if (data.length === 0) return [204, {}, ""];
  let value;
  try {
    value = JSON.parse(data);
  } catch (error) {
    return [422, {}, `expected JSON: ${error.message}`];
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [422, {}, "expected a JSON object"];
  const attributes = { specversion: "1.0", id: event.id, source: "/my-function", type: "my-function.counted" };
  return [200, attributes, JSON.stringify({ ...value, fields: Object.keys(value).length })];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const attributes = Object.entries(request.headers).filter(([name]) => name.startsWith("ce-"));
    const event = Object.fromEntries(attributes.map(([name, value]) => [name.slice(3), value]));
    const [status, answered, data] = answer(event, Buffer.concat(chunks).toString());
    const headers = Object.entries(answered).map(([name, value]) => [`ce-${name}`, value]);
    if (headers.length > 0) headers.push(["content-type", "application/json"]);
    response.writeHead(status, { ...Object.fromEntries(headers), "content-length": Buffer.byteLength(data) });
    response.end(data);
  });
  server.keepAliveTimeout = 60_000; // Connections stay open between events.
  server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1");
}
