// Cleans and enriches orders: what becomes of one record.

// Whom orders come from; a function in earnest keeps a cache of its customer service.
const CUSTOMERS = new Map([
  ["c-1", { country: "DE", tier: "gold" }],
  ["c-2", { country: "SG", tier: "silver" }],
  ["c-3", { country: "BR", tier: "basic" }],
]);

const EXPRESS_FROM_CENTS = 50_000;
const ATTEMPTS_FOR_A_CUSTOMER = 3;
const RETRY_AFTER_MS = 2_000;

// An order that no later call can help; the message is the dead letter's reason.
class Unusable extends Error {}

// What becomes of one record.
export function verdict({ id, value, attempt = 1 }) {
  let order;
  try {
    order = clean(value);
  } catch (error) {
    if (error instanceof Unusable) return { id, action: "dead_letter", reason: error.message };
    throw error;
  }
  if (order === null) return { id, action: "drop" };
  const customer = CUSTOMERS.get(order.customer_id);
  if (customer) return { id, action: "deliver", records: [{ value: enrich(order, customer) }] };
  // A customer is often created moments after the first order.
  if (attempt < ATTEMPTS_FOR_A_CUSTOMER) return { id, action: "retry", after_ms: RETRY_AFTER_MS };
  const reason = `customer_id: found no customer ${found(order.customer_id)} in ${ATTEMPTS_FOR_A_CUSTOMER} attempts`;
  return { id, action: "dead_letter", reason };
}

// The order with tidy fields; null if there is nothing to do for it.
function clean(value) {
  if (value === null || value === undefined) return null;
  if (!isObject(value)) throw new Unusable(`expected an order as a JSON object, found ${found(value)}`);
  if (value.test === true) return null;
  const { items } = value;
  if (!Array.isArray(items) || items.length < 1 || items.length > 100) {
    throw new Unusable(`items: expected a list of 1 to 100 items, found ${found(items)}`);
  }
  return {
    ...value,
    order_id: text(value, "order_id"),
    customer_id: text(value, "customer_id"),
    currency: currency(value),
    items: items.map((item, n) => cleanItem(item, `items[${n}]`)),
  };
}

function cleanItem(item, at) {
  if (!isObject(item)) throw new Unusable(`${at}: expected an item as a JSON object, found ${found(item)}`);
  return {
    ...item,
    sku: text(item, "sku", `${at}.`),
    quantity: whole(item, "quantity", `${at}.`, 1, 1_000),
    price_cents: whole(item, "price_cents", `${at}.`, 0, 100_000_000),
  };
}

// The order with what is known of its customer, and what can be computed from it.
function enrich(order, customer) {
  const sum = (amount) => order.items.reduce((total, item) => total + amount(item), 0);
  const total = sum((item) => item.quantity * item.price_cents);
  return {
    ...order,
    customer,
    units: sum((item) => item.quantity),
    total_cents: total,
    shipping: customer.tier === "gold" || total >= EXPRESS_FROM_CENTS ? "express" : "standard",
  };
}

function text(value, name, at = "") {
  const tidy = typeof value[name] === "string" ? value[name].trim() : "";
  if (!tidy) throw new Unusable(`${at}${name}: expected text, found ${found(value[name])}`);
  return tidy;
}

function currency({ currency: code }) {
  if (typeof code !== "string" || !/^[A-Za-z]{3}$/.test(code)) {
    throw new Unusable(`currency: expected a three-letter code, found ${found(code)}`);
  }
  return code.toUpperCase();
}

function whole(value, name, at, least, most) {
  const number = value[name];
  if (!Number.isInteger(number) || number < least || number > most) {
    throw new Unusable(`${at}${name}: expected a whole number from ${least} to ${most}, found ${found(number)}`);
  }
  return number;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// A value as compact JSON, shortened.
function found(value) {
  if (value === undefined) return "nothing";
  const characters = [...JSON.stringify(value)];
  return characters.length <= 60 ? characters.join("") : `${characters.slice(0, 60).join("")}…`;
}
