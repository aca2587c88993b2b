package orders;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;

/** What becomes of one record. */
@JsonInclude(JsonInclude.Include.NON_NULL)
record Verdict(String id, String action, List<Result> records, @JsonProperty("after_ms") Integer afterMs, String reason) {

    record Result(JsonNode value) {}

    static Verdict deliver(String id, JsonNode value) {
        return new Verdict(id, "deliver", List.of(new Result(value)), null, null);
    }

    static Verdict drop(String id) {
        return new Verdict(id, "drop", null, null, null);
    }

    static Verdict retry(String id, int afterMs) {
        return new Verdict(id, "retry", null, afterMs, null);
    }

    static Verdict deadLetter(String id, String reason) {
        return new Verdict(id, "dead_letter", null, null, reason);
    }
}
