// Cleans and enriches flights: one POST is one batch, one verdict a record goes back.
"use strict";

const http = require("node:http");

const KM_PER_MILE = 1.609344;

// A record that no later call can help; the message is the dead letter's reason.
class Unusable extends Error {}

// What becomes of one record.
function verdict({ id, value }) {
  try {
    const flight = clean(value);
    if (flight === null) return { id, action: "drop" };
    return { id, action: "deliver", records: [{ value: enrich(flight) }] };
  } catch (error) {
    if (error instanceof Unusable) return { id, action: "dead_letter", reason: error.message };
    throw error;
  }
}

// The flight with tidy fields; null if it never arrived.
function clean(value) {
  if (value === null || value === undefined) return null;
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new Unusable(`expected a flight as a JSON object, found ${found(value)}`);
  }
  if (value.delay === null) return null;
  if (typeof value.delay !== "number") {
    throw new Unusable(`delay: expected minutes as a number, or null for a flight that never arrived, found ${found(value.delay)}`);
  }
  if (typeof value.distance !== "number" || value.distance <= 0) {
    throw new Unusable(`distance: expected miles as a number above 0, found ${found(value.distance)}`);
  }
  const flight = { ...value };
  for (const name of ["origin", "destination"]) {
    if (value[name] !== undefined && value[name] !== null) flight[name] = airport(name, value[name]);
  }
  return flight;
}

// The flight with what can be computed from it.
function enrich(flight) {
  const result = { ...flight, status: status(flight.delay), distance_km: Math.floor(flight.distance * KM_PER_MILE + 0.5) };
  if (flight.origin && flight.destination) result.route = `${flight.origin}-${flight.destination}`;
  return result;
}

function status(delayMinutes) {
  if (delayMinutes <= -15) return "early";
  if (delayMinutes < 15) return "on time";
  return delayMinutes < 120 ? "late" : "very late";
}

function airport(name, value) {
  const code = typeof value === "string" ? value.trim().toUpperCase() : "";
  if (!/^[A-Z]{3}$/.test(code)) throw new Unusable(`${name}: expected an airport's three-letter code, found ${found(value)}`);
  return code;
}

// A value as compact JSON, shortened.
function found(value) {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}

function batch(body) {
  const { records } = JSON.parse(body);
  if (!Array.isArray(records)) throw new TypeError("no array of records");
  if (!records.every((record) => typeof record?.id === "string")) throw new TypeError("a record without an id");
  return records;
}

function respond(body) {
  let records;
  try {
    records = batch(body);
  } catch (error) {
    return [400, { error: `expected a batch of records as JSON: ${error.message}` }];
  }
  try {
    return [200, { results: records.map(verdict) }];
  } catch (error) {
    // A bug in the rules: fnbridge retries, then finds the record that causes it.
    return [500, { error: String(error) }];
  }
}

function server() {
  const created = http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const [status, document] = respond(Buffer.concat(chunks).toString("utf8"));
      const body = Buffer.from(JSON.stringify(document));
      response.writeHead(status, { "content-type": "application/json", "content-length": body.length });
      response.end(body);
    });
  });
  created.keepAliveTimeout = 60_000; // Connections stay open between batches.
  return created;
}

if (require.main === module) {
  const listening = server().listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1", () => {
    const { address, port } = listening.address();
    console.log(`flights.js listens on http://${address}:${port}/`);
  });
}

module.exports = { server, verdict };
