"""CPython's own test_wsgiref, with make_server and its handler class replaced by ours. DIFFERENT is what may fail."""
import contextlib
import importlib
import io
import logging
import unittest
from typing import Any
from unittest import mock

from ownhands import wsgi
from ownhands.testing import MockConnection

OCTETS = "it compares every octet of an answer of wsgiref: HTTP/1.0, its Server field; ours speaks HTTP/1.1"
ERRORS = "it compares wsgiref's words for an exception, and its traceback on stderr; ours go through logging"
DIFFERENT = {
    "test_plain_hello": OCTETS,
    "test_validated_hello": OCTETS,
    "test_request_length": OCTETS,
    "test_bytes_validation": OCTETS + ", and the log line, which ours sends through logging",
    "test_simple_validation_error": ERRORS,
    "test_status_validation_errors": ERRORS,
    "test_wsgi_input": ERRORS,
    "test_cp1252_url": "its request target holds an octet that is not ASCII, which RFC 9112 3.2 does not allow: 400",
}


def run_amock(app: Any = None, data: bytes = b"GET / HTTP/1.0\n\n") -> tuple[bytes, str]:
    """The test's own, with ours for the mock server; the lines of its requests end with LF, ours take CRLF only."""
    lines = data.rstrip(b"\n").split(b"\n")
    connection = MockConnection(b"\r\n".join(line.rstrip(b"\r") for line in lines) + b"\r\n\r\n")
    said = io.StringIO()
    log = logging.StreamHandler(said)
    logging.getLogger("ownhands").addHandler(log)
    try:
        with contextlib.redirect_stderr(said), wsgi.make_server("127.0.0.1", 0, app or stock().hello_app) as server:
            server.on_connect(connection, ("127.0.0.1", 8888))
    finally:
        logging.getLogger("ownhands").removeHandler(log)
    return connection.sent, said.getvalue()


def stock() -> Any:
    """The module, not imported by name: a loader would find its tests here."""
    return importlib.import_module("test.test_wsgiref")


class Silent:
    """In place of the test's mixin, whose log_message is http.server's."""


class StockTest(unittest.TestCase):
    def test_fails_only_where_it_differs(self) -> None:
        replaced = {"run_amock": run_amock, "make_server": wsgi.make_server, "WSGIRequestHandler": wsgi.WSGIHandler,
                    "NoLogRequestHandler": Silent}
        result = unittest.TestResult()
        logger = logging.getLogger("ownhands")
        with mock.patch.multiple(stock(), **replaced), mock.patch.object(logger, "propagate", False):
            unittest.defaultTestLoader.loadTestsFromModule(stock()).run(result)
        failed = {getattr(test, "test_case", test).id().rpartition(".")[2]: trace
                  for test, trace in result.failures + result.errors}
        self.assertGreater(result.testsRun, 30)
        self.assertEqual(sorted(failed), sorted(DIFFERENT), "\n".join(failed.values()))


if __name__ == "__main__":
    unittest.main()
