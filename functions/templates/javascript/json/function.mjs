// What becomes of one record.

export function verdict({ value }) {
  if (value === null) return { action: "drop" };
  if (typeof value !== "object" || Array.isArray(value)) {
    return { action: "dead_letter", reason: `expected a JSON object, found ${JSON.stringify(value).slice(0, 60)}` };
  }
  return { action: "deliver", records: [{ value: { ...value, fields: Object.keys(value).length } }] };
}
