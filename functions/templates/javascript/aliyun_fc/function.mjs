// A handler on Function Compute 3.0 for Kafka events, with a verdict a record for fnbridge's contract `aliyun_fc`.

// What becomes of each message of an event.
export async function handler(event) {
  return JSON.stringify({ results: JSON.parse(event).map(({ data }) => verdict(data)) });
}

function verdict(data) {
  const id = `${data.topic}/${data.partition}/${data.offset}`;
  if (data.value == null) return { id, action: "drop" };
  let value;
  try {
    value = JSON.parse(data.value);
  } catch (error) {
    return { id, action: "dead_letter", reason: `expected JSON: ${error.message}` };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return { id, action: "dead_letter", reason: `expected a JSON object, found ${JSON.stringify(value).slice(0, 60)}` };
  }
  return { id, action: "deliver", records: [{ value: { ...value, fields: Object.keys(value).length } }] };
}
