"""A log that fails: the client gets its answer, and the server goes on."""
import contextlib
import io
import logging
import socket
import unittest
from unittest.mock import patch

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler
from ownhands.logs import log

from .turns import GET, Session, statuses


class Failing(RequestHandler):
    def do_GET(self, request):
        raise ValueError("a fault of the handler")


class LogTest(unittest.TestCase):
    def setUp(self):
        self.logger, self.shown = logging.getLogger("ownhands"), io.StringIO()
        self.enterContext(contextlib.redirect_stderr(self.shown))
        self.enterContext(patch.object(self.logger, "propagate", False))
        self.logger.addFilter(self.fail_to_filter)
        self.addCleanup(self.logger.removeFilter, self.fail_to_filter)
        self.addCleanup(self.logger.setLevel, self.logger.level)
        self.logger.setLevel(logging.DEBUG)

    def fail_to_filter(self, record):
        raise RuntimeError("a fault of the log")

    @params("debug", "info", "warning", "error", "exception")
    def test_raises_nothing(self, level):
        getattr(log, level)("a line of %s", level)
        self.assertIn("a fault of the log", self.shown.getvalue())

    def test_shows_nothing_where_logging_is_told_so(self):
        with patch("logging.raiseExceptions", False):
            log.info("a line")
        self.assertEqual(self.shown.getvalue(), "")

    def test_the_client_gets_its_answer(self):
        session = Session(Failing)
        session.send(GET)
        self.assertEqual((statuses(session.replies()), session.is_over), ([500], False))

    def test_the_server_goes_on(self):
        with HTTPServer("127.0.0.1", 0, Failing, max_threads=1) as server:
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", server.server_address[1]), 5) as client:
                    client.sendall(GET)
                    self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 500 "))


class CallerTest(unittest.TestCase):
    def test_a_line_is_said_to_come_from_where_it_was_logged(self):
        with self.assertLogs("ownhands") as logs:
            log.warning("a line")
        self.assertEqual(logs.records[0].filename, "test_logs.py")


class HandleErrorTest(unittest.TestCase):
    def test_one_that_fails_is_logged_and_its_connection_ends(self):
        class Server(HTTPServer):
            def handle_error(self, request, client_address):
                raise RuntimeError

        session = Session(Failing)
        session.handler.server = Server(handler=Failing)
        with self.assertLogs("ownhands", "ERROR"):
            session.handler.take_step(lambda: 1 / 0)
        self.assertTrue(session.is_over)


if __name__ == "__main__":
    unittest.main()
