package orders;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the cases that all languages share don't show: single rules at their edges, and the server. */
class OrdersTest {

    private static final JsonMapper JSON = new JsonMapper();

    private static ObjectNode order(String customerId, int items, int quantity, int priceCents) {
        ObjectNode sent = JSON.createObjectNode().put("id", "orders/0/7");
        ObjectNode order = sent.putObject("value");
        order.put("order_id", "o-1").put("customer_id", customerId).put("currency", "eur").putArray("items");
        for (int n = 0; n < items; n++) {
            order.withArray("items").addObject().put("sku", " a").put("quantity", quantity).put("price_cents", priceCents);
        }
        return sent;
    }

    @ParameterizedTest
    @CsvSource({"1, retry", "2, retry", "3, dead_letter", "4, dead_letter"})
    void anUnknownCustomerIsAskedForTwiceThenGivenUp(int attempt, String action) {
        assertEquals(action, Orders.verdict(order("c-404", 1, 1, 1).put("attempt", attempt)).action());
    }

    @ParameterizedTest
    @CsvSource({"49999, standard", "50000, express"})
    void expressBeginsAt500(int priceCents, String shipping) {
        Verdict verdict = Orders.verdict(order("c-2", 1, 1, priceCents));
        assertEquals(shipping, verdict.records().get(0).value().get("shipping").textValue());
    }

    @ParameterizedTest
    @CsvSource({"0, dead_letter", "1, deliver", "1000, deliver", "1001, dead_letter"})
    void quantitiesHaveBounds(int quantity, String action) {
        assertEquals(action, Orders.verdict(order("c-2", 1, quantity, 1)).action());
    }

    @ParameterizedTest
    @CsvSource({"100, deliver", "101, dead_letter"})
    void aHundredItemsAreAnOrderOneMoreIsNone(int items, String action) {
        assertEquals(action, Orders.verdict(order("c-2", items, 1, 1)).action());
    }

    @Test
    void theRecordItselfIsLeftAsItCame() {
        ObjectNode sent = order("c-2", 1, 1, 1);
        ObjectNode before = sent.deepCopy();
        assertEquals("EUR", Orders.verdict(sent).records().get(0).value().get("currency").textValue());
        assertEquals(before, sent);
    }

    @Test
    void aBugInTheRulesIsA500ThatNamesIt() throws Exception {
        HttpServer server = Server.start(new InetSocketAddress("127.0.0.1", 0), sent -> {
            throw new ArithmeticException("division by zero");
        });
        PrintStream talk = System.err;
        System.setErr(new PrintStream(new ByteArrayOutputStream(), true));
        try {
            URI uri = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/");
            String body = "{\"records\":[{\"id\":\"orders/0/7\"}]}";
            HttpResponse<String> answer = HttpClient.newHttpClient()
                    .send(HttpRequest.newBuilder(uri).POST(BodyPublishers.ofString(body)).build(), BodyHandlers.ofString());
            assertEquals(500, answer.statusCode());
            assertTrue(answer.body().contains("division by zero"), answer.body());
        } finally {
            System.setErr(talk);
            server.stop(0);
        }
    }
}
