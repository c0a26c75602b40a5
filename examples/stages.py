"""Replaces two stages: on_connect, to show the octets that pass, and on_request, to answer every method alike.

    python examples/stages.py --port 8000
    curl -v -X BREW http://localhost:8000/pot
"""
from typing import Any

from _options import options  # --host and --port
from ownhands import HTTPServer, Request, RequestHandler, Response


class Wiretap:
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:  # close, and what a socket has besides
        return getattr(self.connection, name)

    def recv(self, size: int) -> bytes:
        print("<", octets := self.connection.recv(size), flush=True)
        return bytes(octets)

    def send(self, octets: bytes) -> int:
        print(">", octets, flush=True)
        return int(self.connection.send(octets))


class TappedServer(HTTPServer):
    def on_connect(self, connection: Any, client_address: Any = None) -> None:
        super().on_connect(Wiretap(connection), client_address)


class Mirror(RequestHandler):
    def on_request(self, request: Request) -> Response:
        return Response(f"You sent {request.method} to {request.target}\n")


if __name__ == "__main__":
    TappedServer(**options(__doc__), handler=Mirror).serve()
