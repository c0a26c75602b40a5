"""What clients send, and applications make of it, fills no memory that outlives the exchange: octets are counted."""
import gc
import tracemalloc
import unittest
from typing import Any

from nose2.tools import params

from ownhands import HTTPServer, Request, RequestHandler, Response
from ownhands.compat import BaseHTTPRequestHandler, ThreadingHTTPServer
from ownhands.testing import MockConnection
from ownhands.wsgi import WSGIHandler

from .applications import TEXT, answering, server_for
from .turns import Session

SIZE = 20_000  # octets of what is long, and each time another
ROUNDS = 50


def long_name(number: int) -> str:
    return f"A{number:x}".ljust(SIZE, "b")


def head(number: int) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n{long_name(number)}: x\r\n\r\n".encode()


def longest(names: Any) -> str:
    return max(names, key=len).removeprefix("HTTP_")


def reflecting(answer: Any) -> Any:
    """An application that begins its answer with what `answer` makes of the longest name."""
    def application(environ: Any, start_response: Any) -> Any:
        start_response(*answer(longest(environ)))
        return [b"x"]
    return application


class Type(RequestHandler):
    def on_request(self, request: Request) -> Response:
        return Response(b"x", content_type=longest(request.fields))


class Keyword(RequestHandler):
    def on_request(self, request: Request) -> Response:
        return Response(b"x", **{longest(request.fields): "x"}).with_fields(**{longest(request.fields): "y"})


class Unchanged(RequestHandler):
    def on_request(self, request: Request) -> Response:
        return Response.file(__file__, **{longest(request.fields): "x"})


class Reason(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404, longest(self.headers))

    def log_message(self, *_: Any) -> None:
        pass


def on_connect_of_compat(connection: Any, client_address: Any) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Reason, bind_and_activate=False) as server:
        server.finish_request(connection, client_address)


class KeptTest(unittest.TestCase):
    @params(
        server_for(answering([b"x"])).on_connect,
        server_for(reflecting(lambda name: ("200 OK", [(name, "x")]))).on_connect,
        server_for(reflecting(lambda name: ("200 OK", [("X", name)]))).on_connect,
        server_for(reflecting(lambda name: (f"200 {name}", TEXT))).on_connect,
        HTTPServer(handler=Type).on_connect, HTTPServer(handler=Keyword).on_connect,
        HTTPServer(handler=Unchanged).on_connect,
        on_connect_of_compat)
    def test_nothing_long_is_kept(self, on_connect: Any) -> None:
        def serve(number: int) -> None:
            connection = MockConnection(head(number))
            on_connect(connection, ("192.0.2.1", 4711))
            self.assertIn(b"\r\n\r\n", connection.sent)

        serve(0)  # what is imported and made once
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(1, ROUNDS):
            serve(number)
        gc.collect()
        self.assertLess(tracemalloc.get_traced_memory()[0], ROUNDS * SIZE // 4)

    def test_nor_while_a_connection_is_idle(self) -> None:
        session = Session(WSGIHandler, application=staticmethod(answering([b"x"])))
        session.send(head(1))
        self.assertTrue(session.handler.is_idle)
        self.assertLess(len(repr(vars(session.handler))), SIZE)


if __name__ == "__main__":
    unittest.main()
