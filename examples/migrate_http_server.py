"""A program made for http.server: one import is another, all else is as it was.

    python examples/migrate_http_server.py --port 8000
    curl http://localhost:8000/
    curl --data hello http://localhost:8000/

Without changing it: python -m ownhands.run program.py
What would keep it on the slow path: python -m ownhands.run --check program.py
"""
from _options import options  # --host and --port
from ownhands.compat import BaseHTTPRequestHandler, ThreadingHTTPServer  # was: from http.server import ...


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"Hi there!\n")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    address = options(__doc__)
    server = ThreadingHTTPServer((address["host"], address["port"]), Echo)
    print("Serving on http://{}:{}/".format(*server.server_address), flush=True)
    server.serve_forever()
