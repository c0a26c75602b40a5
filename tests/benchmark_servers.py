"""The servers that benchmark.py measures, each doing the same small job: `benchmark_servers.py NAME PORT`.

GET / gives ten octets, POST / the content back. The last ones differ in what a handler does, for ownhands and a pool.
"""
import logging
import socket
import sys
import threading
import time
from pathlib import Path

HELLO = b"Hi there!\n"
HEAD = b"HTTP/1.1 200 OK\r\nServer: Bare/1\r\nDate: Tue, 24 Nov 2026 10:04:43 GMT\r\nContent-Type: text/plain\r\n"
REPLY = HEAD + b"Content-Length: 10\r\n\r\n" + HELLO
BACKLOG = 1024


def work(path):
    """What a path stands for: /sleep/20 sleeps so many milliseconds, /compute/20 keeps the processor busy as long."""
    _, kind, milliseconds = path.split("/")
    if kind == "sleep":
        time.sleep(float(milliseconds) / 1000)
    else:
        end = time.thread_time() + float(milliseconds) / 1000
        while time.thread_time() < end:
            sum(range(100))


def wsgi(environ, start_response):
    body = HELLO
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b"" if scope["method"] == "POST" else HELLO
    more = scope["method"] == "POST"
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def ownhands(port):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from ownhands import HTTPServer, RequestHandler, Response

    class Handler(RequestHandler):
        def do_GET(self, request):
            if request.target != "/":
                if request.target.startswith(("/sleep/", "/compute/")):
                    work(request.target)
            return Response(HELLO, content_type="text/plain")

        def do_POST(self, request):
            return Response(request.content, content_type="text/plain")

    HTTPServer("127.0.0.1", port, Handler).serve()


def http_server(port):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *args):
            pass

        def do_GET(self):
            self.answer(HELLO)

        def do_POST(self):
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        request_queue_size = BACKLOG

    Server(("127.0.0.1", port), Handler).serve_forever()


def listen(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve_bare(connection):
    """The loop that bounds what threads can do: recv, sendall, nothing parsed, nothing checked."""
    with connection:
        try:
            while octets := connection.recv(65536):
                connection.sendall(REPLY)
                if b" HTTP/1.0\r\n" in octets:
                    break
        except OSError:
            pass


def bare_threads(port):
    """A thread for each connection."""
    listener = listen(port)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_bare, args=(connection,), daemon=True).start()


def pool_64(port):
    """A plain pool of 64 threads, fed by a queue: what handlers that sleep get elsewhere."""
    from waitress import serve
    serve(slow_wsgi, host="127.0.0.1", port=port, threads=64, backlog=BACKLOG)


def slow_wsgi(environ, start_response):
    work(environ["PATH_INFO"])
    return wsgi(environ, start_response)


def waitress(port):
    from waitress import serve
    serve(wsgi, host="127.0.0.1", port=port, threads=8, backlog=BACKLOG, connection_limit=20000)


def cheroot(port):
    from cheroot.wsgi import Server
    Server(("127.0.0.1", port), wsgi, numthreads=10, request_queue_size=BACKLOG).start()


def bjoern(port):
    import bjoern
    bjoern.run(wsgi, "127.0.0.1", port)


def fastpysgi(port):
    import fastpysgi
    fastpysgi.run(wsgi, host="127.0.0.1", port=port, loglevel=0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    globals()[sys.argv[1].replace(".", "_").replace("-", "_")](int(sys.argv[2]))
