"""What programs do with http.server that nobody has promised them, and that works: ownhands.compat lets it work, too."""
import contextlib
import contextvars
import math
import select
import socket
import struct
import threading
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import compat
from ownhands.compat_output import Output
from ownhands.compat_server import Room
from tests.engines import wait_for
from ownhands.testing import MockConnection
from tests.test_compat import CLOSE, Quiet, doing, request, serve
from tests.turns import Wire
from tests.test_compat_server import BOTH, TIMEOUT, connect, get, read_until, say, serving


class ReadingTest(unittest.TestCase):
    """Behind its request: to notice that the client leaves, or to wait while another thread writes the answer."""

    def test_waits_once_the_answer_has_begun(self):
        def method(self):
            self.send_response(200)
            self.end_headers()
            answers.append(self.wfile)
            seen.append(self.rfile.read(1))
        answers, seen = [], []
        with serving(doing(method)) as server, connect(server, request()) as client:
            wait_for(lambda: answers)
            answers[0].write(b"pushed")
            answers[0].flush()
            self.assertTrue(read_until(client, b"pushed").endswith(b"pushed"))
            self.assertEqual(seen, [])
            client.close()
            wait_for(lambda: seen)
        self.assertEqual(seen, [b""])

    def test_knows_that_while_it_is_sent(self):
        seen = []
        output = Output(mock.Mock(take_continue=bytes, send_all=lambda _: seen.append(output.has_begun)), "GET")
        output.write(b"HTTP/1.1 200 OK\r\n\r\n")
        output.flush()
        self.assertEqual(seen, [True])

    @params(("", b""), ("Content-Length: 2\r\n", b"ab"))
    def test_waits_on_a_connection_that_was_taken(self, fields, body):
        def method(self):
            self.rfile.read(len(body))
            self.connection.settimeout(0.01)
            try:
                seen.append(self.rfile.read(1))
            except TimeoutError as error:
                seen.append(type(error))
            self.answer(b"done")
        seen = []
        with serving(doing(method)) as server, connect(server, request("POST / HTTP/1.1", fields, body)) as client:
            self.assertTrue(read_until(client, b"done").endswith(b"done"))
        self.assertEqual(seen, [TimeoutError])

    def test_ends_with_the_request_before_that(self):
        def method(self):
            self.answer(self.rfile.read())
        with serving(doing(method)) as server:
            self.assertEqual(get(server), (200, b""))

    def test_takes_what_came_with_the_request(self):
        def method(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.rfile.read(4))
        with serving(doing(method)) as server, connect(server, request() + b"more") as client:
            self.assertTrue(read_until(client, b"\r\n\r\nmore").endswith(b"\r\n\r\nmore"))

    def test_ends_the_connection_with_the_answer(self):
        def method(self):
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(self.rfile.read(4))
        with serving(doing(method)) as server, connect(server, request() + b"more") as client:
            self.assertTrue(read_until(client, b"never").endswith(b"\r\n\r\nmore"))

    def test_takes_more_at_once_than_was_asked_for(self):
        class Wide(MockConnection):  # as a connection over TLS, which gives whole records
            def recv(self, size):
                return super().recv(1 << 20)

            def settimeout(self, seconds):
                pass

            setblocking = settimeout

        def method(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.rfile.read(20_000))
        sent, errors = serve(doing(method), [request(), b"x" * 20_000], Wide)
        self.assertEqual((sent[-20_001:], errors), (b"\n" + b"x" * 20_000, []))

    def test_takes_what_came_behind_a_content_that_is_read_as_it_comes(self):
        def method(self):
            self.rfile.read(1 << 21)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.rfile.read(4))
        octets = request("POST / HTTP/1.1", f"Content-Length: {1 << 21}\r\n", bytes(1 << 21))
        with serving(doing(method)) as server, connect(server, octets + b"more") as client:
            self.assertTrue(read_until(client, b"\r\n\r\nmore").endswith(b"\r\n\r\nmore"))


class SocketTest(unittest.TestCase):
    @params("wfile", "rfile.raw")
    def test_is_found_in_the_files(self, name):
        def method(self):
            file = self.rfile.raw if name == "rfile.raw" else self.wfile
            file._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
            self.answer(b"%d" % file._sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER))
        with serving(doing(method)) as server:
            self.assertEqual(get(server), (200, b"1"))

    def test_can_be_waited_for(self):
        def method(self):
            self.answer(b"%d" % len(select.select([self.rfile], [], [], 0.01)[0]))
        with serving(doing(method)) as server:
            self.assertEqual(get(server), (200, b"0"))

    def test_is_none_to_read_a_content_from(self):
        with serving(doing(lambda self: self.rfile.fileno())) as server:
            self.assertEqual(get(server, method="POST", body=b"ab")[0], 500)


class StopTest(unittest.TestCase):
    @params(*BOTH)
    def test_from_a_handler_by_what_socketservers_loop_looks_at(self, server_class):
        def method(self):
            self.server._BaseServer__shutdown_request = True
            self.answer(b"bye")
        with serving(doing(method), server_class) as server:
            self.assertEqual(get(server), (200, b"bye"))
            server.thread.join(TIMEOUT)
            self.assertFalse(server.thread.is_alive())
            self.assertTrue(server._BaseServer__is_shut_down.is_set())

    def test_behind_a_change_to_a_class_that_socketserver_serves(self):
        class Classic(Quiet):
            def setup(self):
                super().setup()

            do_GET = say
        with serving(doing(say)) as server:
            server.RequestHandlerClass = Classic
            self.assertEqual(get(server), (200, b"hi"))
            server.shutdown()
            server.thread.join(TIMEOUT)
            self.assertFalse(server.thread.is_alive())


class ContextTest(unittest.TestCase):
    def test_is_a_connections_own(self):
        def method(self):
            before = user.get()
            user.set(self.path)
            self.answer(before.encode())
        user = contextvars.ContextVar("user", default="nobody")
        with serving(doing(method)) as server:
            self.assertEqual([get(server, path)[1] for path in ("/a", "/b")], [b"nobody", b"nobody"])
            with connect(server, request("GET /a HTTP/1.1") + request("GET /b HTTP/1.1", CLOSE)) as client:
                self.assertTrue(read_until(client, b"never").endswith(b"/a"))


    def test_is_that_of_all_the_program_does_for_the_connection(self):
        class Handler(Quiet):
            def __init__(self, *arguments):
                seen.append(user.get())
                user.set("made")
                super().__init__(*arguments)

            def do_GET(self):
                seen.append(user.get())
                user.set("got")
                self.answer(b"hi")

            def finish(self):
                seen.append(user.get())
                super().finish()

        user, seen = contextvars.ContextVar("user", default="nobody"), []
        with serving(Handler) as server:
            self.assertEqual(get(server), (200, b"hi"))
            wait_for(lambda: len(seen) == 3)
        self.assertEqual(seen, ["nobody", "made", "got"])


class EndTest(unittest.TestCase):
    def test_is_shown_though_a_forked_child_holds_the_connection(self):
        server = compat.ThreadingHTTPServer(("127.0.0.1", 0), doing(say))
        self.addCleanup(server.server_close)
        wire = Wire()
        Room(server, is_serial=False).shutdown_request(wire)
        self.assertEqual((wire.is_shut_down, wire.is_closed), (True, True))


class AddressTest(unittest.TestCase):
    def test_is_http_servers_on_a_listener_for_both_families(self):
        address = ("::ffff:192.0.2.1", 5, 0, 0)
        server = compat.ThreadingHTTPServer(("127.0.0.1", 0), doing(say))
        self.addCleanup(server.server_close)
        room = Room(server, is_serial=False)
        with mock.patch.object(server, "socket", mock.Mock(spec=["accept", "close"], accept=lambda: (None, address))):
            self.assertEqual(room.get_request(), (None, address))


class LimitTest(unittest.TestCase):
    def test_is_the_timeout_of_the_class_alone(self):
        server = compat.ThreadingHTTPServer(("127.0.0.1", 0), doing(say, timeout=60))
        with contextlib.closing(server.socket):
            room = Room(server, is_serial=False)
            handler = room.RequestHandlerClass
        self.assertEqual((handler.content_timeout, handler.rate_grace, room.max_wait), (60, math.inf, math.inf))

    def test_of_a_target_is_http_servers(self):
        with serving(doing(say)) as server:
            self.assertEqual(get(server, "/" + 40_000 * "x"), (200, b"hi"))

    def test_of_threads_makes_nobody_wait(self):
        def method(self):
            waiting.append(self)
            go_on.wait(TIMEOUT)
            self.answer(b"hi")
        waiting, go_on = [], threading.Event()
        with serving(doing(method)) as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(server, request())) for _ in range(100)]
            wait_for(lambda: len(waiting) == len(clients))
            go_on.set()
            for client in clients:
                self.assertTrue(read_until(client, b"hi").endswith(b"hi"))
