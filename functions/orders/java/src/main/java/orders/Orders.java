package orders;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/** Cleans and enriches orders. */
final class Orders {

    private record Customer(String country, String tier) {}

    /** An order that no later call can help; the message is the dead letter's reason. */
    private static final class Unusable extends Exception {
        private static final long serialVersionUID = 1;

        Unusable(String reason) {
            super(reason);
        }
    }

    /** Whom orders come from; a function in earnest keeps a cache of its customer service. */
    private static final Map<String, Customer> CUSTOMERS = Map.of(
            "c-1", new Customer("DE", "gold"),
            "c-2", new Customer("SG", "silver"),
            "c-3", new Customer("BR", "basic"));

    private static final long EXPRESS_FROM_CENTS = 50_000;
    private static final int ATTEMPTS_FOR_A_CUSTOMER = 3;
    private static final int RETRY_AFTER_MS = 2_000;
    private static final Pattern THREE_LETTERS = Pattern.compile("[A-Za-z]{3}");

    private Orders() {}

    /** What becomes of one record. */
    static Verdict verdict(JsonNode sent) {
        String id = sent.get("id").textValue();
        try {
            return clean(sent.path("value"))
                    .map(order -> judged(id, order, sent.path("attempt").asInt(1)))
                    .orElseGet(() -> Verdict.drop(id));
        } catch (Unusable unusable) {
            return Verdict.deadLetter(id, unusable.getMessage());
        }
    }

    private static Verdict judged(String id, ObjectNode order, int attempt) {
        JsonNode customerId = order.get("customer_id");
        Customer customer = CUSTOMERS.get(customerId.textValue());
        if (customer != null) {
            return Verdict.deliver(id, enrich(order, customer));
        }
        // A customer is often created moments after the first order.
        if (attempt < ATTEMPTS_FOR_A_CUSTOMER) {
            return Verdict.retry(id, RETRY_AFTER_MS);
        }
        return Verdict.deadLetter(id, "customer_id: found no customer %s in %d attempts"
                .formatted(found(customerId), ATTEMPTS_FOR_A_CUSTOMER));
    }

    /** The order with tidy fields; nothing if there is nothing to do for it. */
    private static Optional<ObjectNode> clean(JsonNode value) throws Unusable {
        if (value.isNull() || value.isMissingNode()) {
            return Optional.empty();
        }
        if (!(value instanceof ObjectNode order)) {
            throw new Unusable("expected an order as a JSON object, found " + found(value));
        }
        if (order.path("test").isBoolean() && order.path("test").booleanValue()) {
            return Optional.empty();
        }
        JsonNode items = order.path("items");
        if (!items.isArray() || items.isEmpty() || items.size() > 100) {
            throw new Unusable("items: expected a list of 1 to 100 items, found " + found(items));
        }
        ObjectNode tidy = copy(order);
        tidy.put("order_id", text(order, "order_id", ""));
        tidy.put("customer_id", text(order, "customer_id", ""));
        tidy.put("currency", currency(order));
        ArrayNode tidyItems = tidy.putArray("items");
        for (int n = 0; n < items.size(); n++) {
            tidyItems.add(item(items.get(n), "items[" + n + "]"));
        }
        return Optional.of(tidy);
    }

    private static ObjectNode item(JsonNode value, String at) throws Unusable {
        if (!(value instanceof ObjectNode item)) {
            throw new Unusable(at + ": expected an item as a JSON object, found " + found(value));
        }
        ObjectNode tidy = copy(item);
        tidy.put("sku", text(item, "sku", at + "."));
        tidy.put("quantity", whole(item, "quantity", at + ".", 1, 1_000));
        tidy.put("price_cents", whole(item, "price_cents", at + ".", 0, 100_000_000));
        return tidy;
    }

    /** The order with what is known of its customer, and what can be computed from it. */
    private static ObjectNode enrich(ObjectNode order, Customer customer) {
        long units = 0;
        long total = 0;
        for (JsonNode item : order.get("items")) {
            long quantity = item.get("quantity").longValue();
            units += quantity;
            total += quantity * item.get("price_cents").longValue();
        }
        boolean isExpress = customer.tier().equals("gold") || total >= EXPRESS_FROM_CENTS;
        ObjectNode rich = copy(order);
        rich.putObject("customer").put("country", customer.country()).put("tier", customer.tier());
        return rich.put("units", units).put("total_cents", total).put("shipping", isExpress ? "express" : "standard");
    }

    private static String text(ObjectNode value, String name, String at) throws Unusable {
        JsonNode said = value.path(name);
        if (!said.isTextual() || said.textValue().isBlank()) {
            throw new Unusable(at + name + ": expected text, found " + found(said));
        }
        return said.textValue().strip();
    }

    private static String currency(ObjectNode value) throws Unusable {
        JsonNode code = value.path("currency");
        if (!code.isTextual() || !THREE_LETTERS.matcher(code.textValue()).matches()) {
            throw new Unusable("currency: expected a three-letter code, found " + found(code));
        }
        return code.textValue().toUpperCase(Locale.ROOT);
    }

    private static long whole(ObjectNode value, String name, String at, long least, long most) throws Unusable {
        JsonNode said = value.path(name);
        double number = said.isNumber() ? said.doubleValue() : Double.NaN;
        if (number != Math.rint(number) || number < least || number > most) {
            throw new Unusable("%s%s: expected a whole number from %d to %d, found %s"
                    .formatted(at, name, least, most, found(said)));
        }
        return (long) number;
    }

    /** A copy of the object, not of what is in it, so that the record stays as it came. */
    private static ObjectNode copy(ObjectNode value) {
        ObjectNode copy = value.objectNode();
        copy.setAll(value);
        return copy;
    }

    /** A value as compact JSON, shortened. */
    private static String found(JsonNode value) {
        if (value instanceof MissingNode) {
            return "nothing";
        }
        String text = value.toString();
        if (text.codePointCount(0, text.length()) <= 60) {
            return text;
        }
        return text.substring(0, text.offsetByCodePoints(0, 60)) + "…";
    }
}
