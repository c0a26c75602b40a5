"""A protocol of one's own, with the standard library's StreamRequestHandler as it is: each line comes back reversed.

    python examples/plain_socketserver.py --port 8000
    nc localhost 8000
"""
from socketserver import StreamRequestHandler

from _options import options  # --host and --port
from ownhands import HTTPServer


class Reverse(StreamRequestHandler):
    timeout = 60  # seconds without a line; this handler keeps its thread while it waits

    def handle(self) -> None:
        try:
            while line := self.rfile.readline(1000):
                self.wfile.write(line.rstrip(b"\r\n")[::-1] + b"\n")
        except OSError:
            pass  # the client was silent for too long, or has gone


if __name__ == "__main__":
    HTTPServer(**options(__doc__), handler=Reverse).serve()
