"""What the tests of WSGI share: applications, and octets through a handler that calls them."""
import copy
import logging
from typing import Any
from unittest import mock

from ownhands import HTTPServer
from ownhands.testing import MockConnection
from ownhands.wsgi import WSGIHandler

TEXT = [("Content-Type", "text/plain")]


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [*TEXT])  # a list of its own: a server may change it, and wsgiref's does
    return [b"hello"]


def answering(result: Any, status: str = "200 OK", headers: Any = TEXT) -> Any:
    """An application that starts the response and returns this."""
    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, copy.copy(headers))
        return result
    return application


def server_for(application: Any, **knobs: Any) -> HTTPServer:
    return HTTPServer(handler=WSGIHandler, application=staticmethod(application), **knobs)


def send(application: Any, octets: bytes | list[Any], **knobs: Any) -> MockConnection:
    connection = MockConnection(octets)
    server_for(application, **knobs).on_connect(connection, ("192.0.2.1", 4711))
    return connection


def head(target: str = "/", method: str = "GET", fields: str = "", version: str = "1.1") -> bytes:
    return f"{method} {target} HTTP/{version}\r\nHost: example.com\r\n{fields}\r\n".encode("latin-1")


def without_log(function: Any) -> Any:
    """For tests of what is logged as an error, which is not their subject."""
    return mock.patch.object(logging.getLogger("ownhands"), "disabled", True)(function)


class Namespace:
    application = staticmethod(hello)


def make() -> Any:
    return hello
