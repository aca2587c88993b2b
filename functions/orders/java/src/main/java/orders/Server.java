package orders;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.function.Function;

/** Serves the orders' verdicts under the contract {@code json}: one POST is one batch, one verdict a record goes back. */
public final class Server {

    private static final JsonMapper JSON =
            JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

    private final Function<JsonNode, Verdict> judge;

    private Server(Function<JsonNode, Verdict> judge) {
        this.judge = judge;
    }

    public static void main(String[] arguments) throws IOException {
        String host = Optional.ofNullable(System.getenv("HOST")).orElse("127.0.0.1");
        String port = Optional.ofNullable(System.getenv("PORT")).orElse("3000");
        HttpServer server = start(new InetSocketAddress(host, Integer.parseInt(port)), Orders::verdict);
        System.out.printf("orders listens on http://%s:%d/%n",
                server.getAddress().getAddress().getHostAddress(), server.getAddress().getPort());
    }

    static HttpServer start(InetSocketAddress address, Function<JsonNode, Verdict> judge) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // Else an answer waits until the one before is acknowledged.
        HttpServer server = HttpServer.create(address, 128);
        server.createContext("/", new Server(judge)::handle);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
        return server;
    }

    private void handle(HttpExchange exchange) throws IOException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        try {
            List<JsonNode> records = batch(body);
            write(exchange, 200, Map.of("results", records.stream().map(judge).toList()));
        } catch (IllegalArgumentException | JsonProcessingException error) {
            write(exchange, 400, Map.of("error", "expected a batch of records as JSON: " + error.getMessage()));
        } catch (RuntimeException bug) { // fnbridge retries, then finds the record that causes it.
            bug.printStackTrace();
            write(exchange, 500, Map.of("error", bug.toString()));
        }
    }

    private static List<JsonNode> batch(byte[] body) throws IOException {
        JsonNode records = JSON.readTree(body).path("records");
        if (!records.isArray()) {
            throw new IllegalArgumentException("no list of records");
        }
        List<JsonNode> batch = new ArrayList<>(records.size());
        for (JsonNode sent : records) {
            if (!sent.path("id").isTextual()) {
                throw new IllegalArgumentException("a record without an id");
            }
            batch.add(sent);
        }
        return batch;
    }

    private static void write(HttpExchange exchange, int status, Object document) throws IOException {
        byte[] body = JSON.writeValueAsBytes(document);
        exchange.getResponseHeaders().set("content-type", "application/json");
        exchange.sendResponseHeaders(status, body.length);
        try (exchange) {
            exchange.getResponseBody().write(body);
        }
    }
}
