import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** What becomes of one record. */
final class Function {
  private static final int SHOWN = 60;

  private Function() {}

  static ObjectNode verdict(JsonNode record) {
    ObjectNode verdict = JsonNodeFactory.instance.objectNode().put("id", record.path("id").asText());
    JsonNode value = record.path("value");
    if (value.isNull()) {
      return verdict.put("action", "drop");
    }
    if (!value.isObject()) {
      String found = value.toString();
      found = found.substring(0, Math.min(SHOWN, found.length()));
      return verdict.put("action", "dead_letter").put("reason", "expected a JSON object, found " + found);
    }
    ObjectNode result = value.deepCopy();
    verdict.put("action", "deliver").putArray("records").addObject().set("value", result.put("fields", value.size()));
    return verdict;
  }
}
