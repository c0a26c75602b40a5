"""The life of a server: started and stopped again, by whomever, and what is left behind it."""
import socket
import socketserver
import threading
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler

from .engines import PATIENCE
from .folders import open_descriptors
from .turns import GET


class LifeTest(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer("127.0.0.1", 0)
        self.addCleanup(self.server.stop)

    def is_served(self):
        with socket.create_connection(self.server.server_address, PATIENCE) as client:
            client.sendall(GET)
            return client.recv(12) == b"HTTP/1.1 200"

    def in_background(self, call):
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread

    def assert_ends(self, thread):
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_it_says_where_before_it_is_open(self):
        self.assertEqual(HTTPServer("127.0.0.1", 8000).url, "http://127.0.0.1:8000/")

    def test_a_second_start_changes_nothing(self):
        self.server.start()
        engines, url = self.server._engines, self.server.url
        self.server.start()
        self.assertEqual((self.server._engines, self.server.url), (engines, url))
        self.assertTrue(self.is_served())

    def test_a_second_serve_forever_waits_for_the_end(self):
        self.server.start()
        thread = self.in_background(self.server.serve_forever)
        thread.join(0.01)
        self.assertTrue(thread.is_alive())
        self.server.stop()
        self.assert_ends(thread)

    def test_after_a_stop_it_can_serve_forever(self):
        self.server.start()
        self.server.stop()
        self.server.open()  # so that a client can connect already
        thread = self.in_background(self.server.serve_forever)
        self.assertTrue(self.is_served())
        self.server.stop()
        self.assert_ends(thread)

    def test_a_port_that_is_taken_can_be_tried_again(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            self.server.server_address = other.getsockname()
            self.assertRaises(OSError, self.server.serve_forever)
        self.server.start()
        self.assertTrue(self.is_served())

    def test_nothing_is_left_open(self):
        before = open_descriptors()
        self.server.start()
        self.server.stop()
        self.assertEqual(open_descriptors(), before)

    def test_a_server_close_that_fails_does_not_keep_it_from_ending(self):
        class Failing(HTTPServer):
            def server_close(self):
                super().server_close()
                self.socket = mock.Mock()
                raise ZeroDivisionError

        server = Failing("127.0.0.1", 0)
        with self.assertLogs("ownhands", "ERROR"):
            server.start()
            self.assert_ends(self.in_background(server.stop))

    @params((RequestHandler, False), (socketserver.StreamRequestHandler, True))
    def test_whose_setup_may_wait(self, handler, may_wait):
        self.assertIs(HTTPServer(handler=handler).setup_may_wait, may_wait)
