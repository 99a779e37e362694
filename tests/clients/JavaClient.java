// Java's own HTTP client at the JSON gateway: java JavaClient.java URL
//
// It prefers HTTP/2, so to a plain URL each of its requests asks for an upgrade to h2c, those with a
// body too. What it is answered is printed, line by line.

import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.Iterator;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

public class JavaClient {
    private final HttpClient client;
    private final String url;

    JavaClient(String url) throws Exception {
        this.url = url;
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, new TrustManager[] {new TrustsAnybody()}, null);
        client = HttpClient.newBuilder().sslContext(tls).build();
    }

    public static void main(String[] arguments) throws Exception {
        JavaClient java = new JavaClient(arguments[0]);
        java.get("/version");
        java.get("/health");
        java.get("/nowhere");
        java.post("/v3/kv/put", pair("java", "one"));
        java.post("/v3/kv/put", pair("java", "x".repeat(100_000)));
        java.post("/v3/kv/range", "{\"key\":\"" + base64("java") + "\",\"keys_only\":true}");
        java.post("/v3/kv/range", "{}");
        java.post("/v3/kv/range", "x");
        java.post("/v3/lease/keepalive", "{\"ID\":\"5\"}{\"ID\":\"6\"}");
        java.watch();
        for (int count = 0; count < 50; count++) {
            java.post("/v3/kv/deleterange", "{\"key\":\"" + base64("java" + count) + "\"}");
        }
    }

    private void get(String path) throws Exception {
        tell(client.send(to(path).build(), HttpResponse.BodyHandlers.ofString()));
    }

    private void post(String path, String body) throws Exception {
        HttpRequest request = to(path).POST(HttpRequest.BodyPublishers.ofString(body)).build();
        tell(client.send(request, HttpResponse.BodyHandlers.ofString()));
    }

    private void watch() throws Exception {
        String create = "{\"create_request\":{\"key\":\"" + base64("watched") + "\"}}";
        HttpRequest request = to("/v3/watch").POST(HttpRequest.BodyPublishers.ofString(create)).build();
        HttpResponse<Stream<String>> answer =
            client.send(request, HttpResponse.BodyHandlers.ofLines());
        try (Stream<String> lines = answer.body()) {
            Iterator<String> messages = lines.iterator();
            System.out.println(answer.statusCode() + " " + messages.next());
            post("/v3/kv/put", pair("watched", "two"));
            System.out.println(messages.next());
        }
    }

    private HttpRequest.Builder to(String path) {
        return HttpRequest.newBuilder(URI.create(url + path));
    }

    private static void tell(HttpResponse<String> answer) {
        System.out.println(answer.version() + " " + answer.statusCode() + " " + answer.body().strip());
    }

    private static String pair(String key, String value) {
        return "{\"key\":\"" + base64(key) + "\",\"value\":\"" + base64(value) + "\"}";
    }

    private static String base64(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes());
    }

    private static class TrustsAnybody extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String type) {}

        public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}

        public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

        public void checkServerTrusted(X509Certificate[] chain, String type) {}

        public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}

        public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
