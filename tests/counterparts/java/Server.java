import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.standardwebhooks.Webhook;
import com.standardwebhooks.exceptions.WebhookVerificationException;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonFormat;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.net.http.HttpHeaders;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/** The Java libraries' end: reads what fnbridge sends with each library as its users do, and says in the answer what it read. */
public final class Server {
    private static final ObjectMapper JSON = new ObjectMapper().registerModule(JsonFormat.getCloudEventJacksonModule());
    private static final String BATCH = "application/cloudevents-batch+json";

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Server::serve);
        server.start();
    }

    private static void serve(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            try {
                if (exchange.getRequestHeaders().containsKey("webhook-signature")) {
                    verify(exchange, body);
                } else {
                    reply(exchange, read(exchange, body).stream().map(Server::told).collect(Collectors.toList()));
                }
            } catch (Exception error) {
                StringWriter trace = new StringWriter();
                error.printStackTrace(new PrintWriter(trace));
                answer(exchange, 500, trace.toString().getBytes(StandardCharsets.UTF_8));
            }
        }
    }

    private static List<CloudEvent> read(HttpExchange exchange, byte[] body) throws IOException {
        String kind = String.valueOf(exchange.getRequestHeaders().getFirst("content-type"));
        if (kind.startsWith(BATCH)) {
            return Arrays.asList(JSON.readValue(body, CloudEvent[].class));
        }
        return List.of(HttpMessageFactory.createReaderFromMultimap(exchange.getRequestHeaders(), body).toEvent());
    }

    private static CloudEvent told(CloudEvent event) {
        Map<String, String> attributes = new TreeMap<>();
        for (String name : event.getAttributeNames()) {
            Object value = event.getAttribute(name);
            if (value != null) {
                attributes.put(name, value.toString());
            }
        }
        for (String name : event.getExtensionNames()) {
            attributes.put(name, String.valueOf(event.getExtension(name)));
        }
        ObjectNode read = JSON.createObjectNode();
        read.set("attributes", JSON.valueToTree(attributes));
        try {
            read.set("data", data(event));
            return CloudEventBuilder.v1()
                .withId(event.getId())
                .withSource(URI.create("/counterparts/java"))
                .withType("counterpart.read")
                .withExtension("partitionkey", "p 50%")
                .withData("application/json", JSON.writeValueAsBytes(read))
                .build();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private static JsonNode data(CloudEvent event) throws IOException {
        if (event.getData() == null) {
            return JSON.nullNode();
        }
        byte[] bytes = event.getData().toBytes();
        String kind = event.getDataContentType();
        if (kind == null || kind.endsWith("json")) {
            return JSON.readTree(bytes);
        }
        if (kind.endsWith("octet-stream")) {
            return JSON.createObjectNode().put("base64", bytes);
        }
        return JSON.getNodeFactory().textNode(new String(bytes, StandardCharsets.UTF_8));
    }

    private static void reply(HttpExchange exchange, List<CloudEvent> replies) throws IOException {
        String kind = query(exchange, "answer");
        if (kind.equals("batch")) {
            exchange.getResponseHeaders().set("content-type", BATCH);
            answer(exchange, 200, JSON.writeValueAsBytes(replies));
            return;
        }
        List<byte[]> sent = new ArrayList<>();
        var writer = HttpMessageFactory.createWriter(exchange.getResponseHeaders()::set, sent::add);
        if (kind.equals("binary")) {
            writer.writeBinary(replies.get(0));
        } else {
            writer.writeStructured(replies.get(0), JsonFormat.CONTENT_TYPE);
        }
        answer(exchange, 200, sent.get(0));
    }

    private static void verify(HttpExchange exchange, byte[] body) throws IOException {
        HttpHeaders headers = HttpHeaders.of(exchange.getRequestHeaders(), (name, value) -> true);
        try {
            new Webhook(query(exchange, "secret")).verify(new String(body, StandardCharsets.UTF_8), headers);
            exchange.sendResponseHeaders(204, -1);
        } catch (WebhookVerificationException error) {
            answer(exchange, 401, error.getMessage().getBytes(StandardCharsets.UTF_8));
        }
    }

    private static String query(HttpExchange exchange, String name) {
        for (String pair : exchange.getRequestURI().getRawQuery().split("&")) {
            if (pair.startsWith(name + "=")) {
                return URLDecoder.decode(pair.substring(name.length() + 1), StandardCharsets.UTF_8);
            }
        }
        throw new IllegalArgumentException("the query lacks " + name);
    }

    private static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
    }
}
