import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** Answers a batch with one verdict a record. */
public final class Server {
  private static final ObjectMapper JSON = new ObjectMapper();

  private Server() {}

  public static void main(String[] args) throws IOException {
    System.setProperty("sun.net.httpserver.nodelay", "true");
    String host = System.getenv().getOrDefault("HOST", "127.0.0.1");
    int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "3000"));
    HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext("/", Server::serve);
    server.start();
  }

  private static void serve(HttpExchange exchange) throws IOException {
    int status = 200;
    ObjectNode answer = JSON.createObjectNode();
    try {
      answer = answer(JSON.readTree(exchange.getRequestBody()));
    } catch (IOException | IllegalArgumentException noBatch) {
      status = 400;
      answer.put("error", "expected a batch of records as JSON: " + noBatch.getMessage());
    } catch (RuntimeException bug) {
      status = 500; // fnbridge retries, then finds the record that causes it.
      bug.printStackTrace();
      answer.put("error", bug.toString());
    }
    byte[] body = JSON.writeValueAsBytes(answer);
    exchange.getResponseHeaders().set("content-type", "application/json");
    exchange.sendResponseHeaders(status, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }

  static ObjectNode answer(JsonNode batch) {
    if (!batch.path("records").isArray()) {
      throw new IllegalArgumentException("no list of records");
    }
    ObjectNode answer = JSON.createObjectNode();
    ArrayNode results = answer.putArray("results");
    batch.path("records").forEach(record -> results.add(Function.verdict(record)));
    return answer;
  }
}
