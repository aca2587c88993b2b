import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;

class FunctionTest {
  private static JsonNode json(String text) throws JsonProcessingException {
    return new ObjectMapper().readTree(text);
  }

  @Test
  void aBatchGetsAVerdictARecord() throws JsonProcessingException {
    String batch = "{\"records\":[{\"id\":\"t/0/1\",\"value\":{\"id\":7}},{\"id\":\"t/0/2\",\"value\":null},{\"id\":\"t/0/3\",\"value\":[1,2]}]}";
    String expected =
        "{\"results\":[{\"id\":\"t/0/1\",\"action\":\"deliver\",\"records\":[{\"value\":{\"id\":7,\"fields\":1}}]},"
            + "{\"id\":\"t/0/2\",\"action\":\"drop\"},"
            + "{\"id\":\"t/0/3\",\"action\":\"dead_letter\",\"reason\":\"expected a JSON object, found [1,2]\"}]}";
    assertEquals(json(expected).toString(), Server.answer(json(batch)).toString());
  }

  @Test
  void whatIsNoBatchIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> Server.answer(json("{}")));
  }
}
