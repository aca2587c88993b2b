// The JavaScript libraries' end: reads what fnbridge sends with each library as its users do, and says in the answer what it read.
'use strict';

const http = require('node:http');
const { CloudEvent, HTTP } = require('cloudevents');
const { Webhook } = require('standardwebhooks');

function answer(request, body) {
  const query = new URL(request.url, 'http://localhost').searchParams;
  if (request.headers['webhook-signature']) return webhook(query.get('secret'), request.headers, body);
  const read = HTTP.toEvent({ headers: request.headers, body });
  return reply(query.get('answer'), (Array.isArray(read) ? read : [read]).map(told));
}

function told(event) {
  const { data, data_base64: base64, ...attributes } = event.toJSON();
  const stated = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const texts = Object.fromEntries(stated.map(([name, value]) => [name, String(value)]));
  return new CloudEvent({
    id: event.id,
    source: '/counterparts/javascript',
    type: 'counterpart.read',
    partitionkey: 'p 50%',
    datacontenttype: 'application/json',
    data: { attributes: texts, data: base64 ? { base64 } : data ?? null },
  });
}

function reply(kind, events) {
  if (kind === 'batch') {
    return { status: 200, headers: { 'content-type': 'application/cloudevents-batch+json' }, body: JSON.stringify(events) };
  }
  return { status: 200, ...{ binary: HTTP.binary, structured: HTTP.structured }[kind](events[0]) };
}

function webhook(secret, headers, body) {
  try {
    new Webhook(secret).verify(body, headers);
    return { status: 204 };
  } catch (error) {
    return { status: 401, body: error.message };
  }
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    // The SDK takes text, bytes where the data are no text, and nothing where there are none.
    const isText = !/octet-stream/.test(request.headers['content-type'] ?? '');
    const read = body.length === 0 ? undefined : isText ? body.toString() : body;
    let said;
    try {
      said = answer(request, read);
    } catch (error) {
      said = { status: 500, body: error.stack };
    }
    response.writeHead(said.status, said.headers ?? {});
    response.end(said.body);
  });
});
server.listen(Number(process.env.PORT), '127.0.0.1');
