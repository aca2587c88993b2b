// A handler on AWS Lambda for Kafka events, of an event source mapping or of fnbridge's contract `aws_lambda`.

// Which records failed; only those come again.
export async function handler(event) {
  const batchItemFailures = [];
  for (const [partition, records] of Object.entries(event.records)) {
    for (const record of records) {
      try {
        handle(valueOf(record));
      } catch (error) {
        console.log(`${partition}/${record.offset}: ${error.message}`);
        batchItemFailures.push({ itemIdentifier: { partition, offset: record.offset } });
      }
    }
  }
  return { batchItemFailures };
}

function valueOf({ value }) {
  return value == null ? null : JSON.parse(Buffer.from(value, "base64").toString());
}

// What is done with one record.
function handle(value) {
  if (value === null) return;
  if (typeof value !== "object" || Array.isArray(value)) throw new TypeError("expected a JSON object");
  console.log(JSON.stringify({ ...value, fields: Object.keys(value).length }));
}
