"""The life of an http.server server under ownhands.compat: threads, shutdown, sockets, what goes out while it runs."""
import contextlib
import functools
import http.server
import itertools
import os
import queue
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import unittest
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from unittest import mock

from nose2.tools import params

from ownhands import compat
from ownhands.compat_server import Room
from tests.engines import wait_for
from tests.programs import ROOT
from tests.test_compat import CLOSE, Quiet, doing, request

TIMEOUT = 10  # seconds after which a test that hangs fails
BOTH = (compat.HTTPServer, compat.ThreadingHTTPServer)


@contextmanager
def serving(handler: Any, server_class: Any = compat.ThreadingHTTPServer, **attributes: Any):
    """A server on a free port, its serve_forever in a thread; `raised` on it is what serve_forever raised."""
    server = type("Server", (server_class,), {"handle_error": lambda *_: None} | attributes)(("127.0.0.1", 0), handler)
    server.raised = None

    def serve():
        try:
            server.serve_forever(0.01)
        except BaseException as error:
            server.raised = error
    server.thread = threading.Thread(target=serve)
    server.thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.thread.join(TIMEOUT)
        server.server_close()


def get(server: Any, path: str = "/", method: str = "GET", **options: Any) -> tuple[int, bytes]:
    connection = HTTPConnection(*server.server_address, timeout=TIMEOUT)
    try:
        connection.request(method, path, **options)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def connect(server: Any, octets: bytes) -> socket.socket:
    connection = socket.create_connection(server.server_address, TIMEOUT)
    connection.sendall(octets)
    return connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        octets = connection.recv(65536)
        if not octets:
            break
        received += octets
    return received


def say(self):
    self.answer(b"hi")


class ThreadTest(unittest.TestCase):
    def test_of_the_plain_server_is_serve_forevers(self):
        with serving(doing(lambda self: self.answer(b"%d" % threading.get_ident())), compat.HTTPServer) as server:
            for _ in range(3):
                self.assertEqual(get(server), (200, b"%d" % server.thread.ident))

    def test_of_the_plain_server_serves_one_request_at_a_time(self):
        def method(self):
            if self.path == "/first":
                started.set()
                second.wait(TIMEOUT)
                order.append("first")
            else:
                order.append("second")
            self.answer(b"")
        started, second, order = threading.Event(), threading.Event(), []
        with serving(doing(method), compat.HTTPServer) as server:
            with connect(server, request("GET /first HTTP/1.1", CLOSE)) as one:
                self.assertTrue(started.wait(TIMEOUT))
                with connect(server, request("GET /second HTTP/1.1", CLOSE)) as two:
                    second.set()
                    read_until(one, b"never")
                    read_until(two, b"never")
        self.assertEqual(order, ["first", "second"])

    def test_of_the_plain_server_is_not_held_by_an_idle_connection(self):
        with serving(doing(say), compat.HTTPServer) as server, connect(server, request()) as idle:
            self.assertTrue(read_until(idle, b"hi"))
            self.assertEqual(get(server), (200, b"hi"))

    @params(compat.ThreadingHTTPServer, type("Mixed", (socketserver.ThreadingMixIn, compat.HTTPServer), {}))
    def test_of_others_serve_beside_each_other(self, server_class):
        barrier = threading.Barrier(3, timeout=TIMEOUT)
        results = []
        with serving(doing(lambda self: (barrier.wait(), self.answer(b"ok"))), server_class) as server:
            clients = [threading.Thread(target=lambda: results.append(get(server))) for _ in range(3)]
            for client in clients:
                client.start()
            for client in clients:
                client.join(TIMEOUT)
        self.assertEqual(results, [(200, b"ok")] * 3)


class LifeTest(unittest.TestCase):
    @params(*BOTH)
    def test_may_be_stopped_and_go_on(self, server_class):
        with serving(doing(say), server_class) as server:
            get(server)
            server.shutdown()
            server.thread.join(TIMEOUT)
            server.thread = threading.Thread(target=server.serve_forever)
            server.thread.start()
            self.assertEqual(get(server), (200, b"hi"))

    @params(*BOTH)
    def test_may_be_stopped_before_it_has_begun(self, server_class):
        server = server_class(("127.0.0.1", 0), doing(say))
        stopper = threading.Thread(target=server.shutdown)
        stopper.start()
        while not server._BaseServer__shutdown_request:
            pass
        server.serve_forever()
        stopper.join(TIMEOUT)
        server.server_close()
        self.assertFalse(stopper.is_alive())

    def test_stops_while_a_handler_goes_on(self):
        def method(self):
            started.set()
            go_on.wait(TIMEOUT)
            self.answer(b"done")
        started, go_on = threading.Event(), threading.Event()
        with serving(doing(method)) as server, connect(server, request(fields=CLOSE)) as client:
            self.assertTrue(started.wait(TIMEOUT))
            server.shutdown()
            server.thread.join(TIMEOUT)
            self.assertFalse(server.thread.is_alive())
            go_on.set()
            self.assertTrue(read_until(client, b"done").endswith(b"done"))

    def test_is_stopped_by_a_handler(self):
        with serving(doing(lambda self: (self.server.shutdown(), self.answer(b"bye")))) as server:
            self.assertEqual(get(server), (200, b"bye"))
            server.thread.join(TIMEOUT)
            self.assertFalse(server.thread.is_alive())

    def test_sends_what_is_not_flushed_also_behind_a_pause(self):
        def method(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
            go_on.wait(TIMEOUT)
        go_on = threading.Event()
        with serving(doing(method)) as server:
            self.addCleanup(go_on.set)
            wait_for(lambda: server._room is not None and server._room.flusher_sleeps)
            with connect(server, request()) as client:
                client.settimeout(TIMEOUT / 2)
                self.assertTrue(read_until(client, b"first").endswith(b"first"))
            go_on.set()

    @mock.patch.object(Room, "start_flusher")  # which would send it in a moment
    def test_sends_what_was_written_before_it_ends(self, _):
        def method(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nbye")
            self.server.shutdown()
            go_on.wait(TIMEOUT)
        go_on = threading.Event()
        with serving(doing(method)) as server, connect(server, request()) as client:
            self.addCleanup(go_on.set)
            client.settimeout(TIMEOUT / 2)
            self.assertTrue(read_until(client, b"bye").endswith(b"bye"))

    @params("sys.exit(3)", "os.kill(os.getpid(), signal.SIGINT)", "self.server.shutdown()")
    def test_of_a_program_ends_behind_its_last_answer(self, ending):
        program = ("import os, signal, sys\nfrom ownhands.compat import *\n"
                   "signal.signal(signal.SIGINT, lambda *_: sys.exit(3))\n"
                   "class H(BaseHTTPRequestHandler):\n log_message = lambda *_: None\n"
                   f" def do_GET(self): self.wfile.write(b'HTTP/1.1 200 OK\\r\\n\\r\\nbye'); {ending}\n"
                   f"s = {'Threading' if 'exit' not in ending else ''}HTTPServer(('127.0.0.1', 0), H)\n"
                   "print(s.server_port, flush=True); s.serve_forever(); sys.exit(3)")
        with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
            self.addCleanup(process.kill)
            with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), TIMEOUT) as client:
                client.sendall(request())
                self.assertTrue(read_until(client, b"bye").endswith(b"bye"))
            self.assertEqual(process.wait(TIMEOUT), 3)

    def test_whoever_accepts_too_late_does_not_wait(self):
        with serving(doing(say)) as server:
            get(server)
            room = server._room
            server.shutdown()
            server.thread.join(TIMEOUT)
            self.assertIsNone(server.socket.gettimeout())
            self.assertRaises(OSError, room.get_request)

    @unittest.skipUnless(hasattr(os, "fork"), "no other process has the listener")
    @params(*BOTH)
    def test_lets_no_other_process_wait_that_accepts(self, server_class):
        with serving(doing(say), server_class) as server:
            get(server)
            server.shutdown()
            server.thread.join(TIMEOUT)
            self.assertFalse(os.get_blocking(server.fileno()))
            with connect(server, request(fields=CLOSE)) as client:
                server.handle_request()  # waits by itself
                self.assertTrue(read_until(client, b"hi").endswith(b"hi"))

    @params(*[(server_class, name) for server_class in BOTH for name in ("ownhands-monitor", "ownhands-flusher")])
    def test_says_so_where_it_has_no_thread(self, server_class, name):
        def start(thread):
            if thread.name == name:
                raise RuntimeError("can't start new thread")
            real_start(thread)
        real_start = threading.Thread.start
        with type("Server", (server_class,), {"daemon_threads": False})(("127.0.0.1", 0), doing(say)) as server:
            with mock.patch.object(threading.Thread, "start", start), self.assertRaisesRegex(RuntimeError, "new thread"):
                server.serve_forever()
            self.assertIsNone(server.socket.gettimeout())
        wait_for(lambda: not any(thread.name.startswith("ownhands") for thread in threading.enumerate()))

    def test_closes_when_its_handlers_are_through(self):
        def method(self):
            started.set()
            go_on.wait(TIMEOUT)
            through.append(1)
        started, go_on, through = threading.Event(), threading.Event(), []
        with serving(doing(method), daemon_threads=False) as server, connect(server, request(fields=CLOSE)):
            self.assertTrue(started.wait(TIMEOUT))
            server.shutdown()
            threading.Timer(0.01, go_on.set).start()
            server.server_close()
            self.assertEqual(through, [1])

    def test_ends_behind_its_handlers_where_their_threads_are_no_daemons(self):
        program = ("import threading, time, socket\nfrom ownhands.compat import *\nstarted = threading.Event()\n"
                   "class H(BaseHTTPRequestHandler):\n"
                   " def do_GET(self):\n"
                   "  started.set(); threading.main_thread().join(); time.sleep(0.1); print('through', end='')\n"
                   "class S(ThreadingHTTPServer): daemon_threads = False\n"
                   "s = S(('127.0.0.1', 0), H)\nthreading.Thread(target=s.serve_forever, daemon=True).start()\n"
                   "client = socket.create_connection(s.server_address)\n"
                   "client.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); started.wait()")
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=TIMEOUT)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"through", b""))

    def test_may_be_closed_without_being_stopped(self):
        with serving(doing(say), daemon_threads=False) as server:
            get(server)
            server.server_close()
            server.thread.join(TIMEOUT)
            self.assertFalse(server.thread.is_alive())

    @params(*BOTH)
    def test_closes_idle_connections_when_it_stops(self, server_class):
        with serving(doing(say), server_class) as server, connect(server, request()) as idle:
            read_until(idle, b"hi")
            server.shutdown()
            self.assertEqual(idle.recv(1), b"")

    @params(SystemExit(3), KeyboardInterrupt())
    def test_ends_with_what_a_handler_of_the_plain_server_raises(self, error):
        def method(self):
            raise error
        with serving(doing(method), compat.HTTPServer) as server:
            with connect(server, request()) as client:
                self.assertEqual(client.recv(1), b"")
            server.thread.join(TIMEOUT)
            self.assertIs(server.raised, error)

    def test_ends_with_what_handle_error_of_the_plain_server_raises(self):
        def handle_error(self, *_):
            raise
        with serving(doing(lambda self: 1 / 0), compat.HTTPServer, handle_error=handle_error) as server:
            with connect(server, request()) as client:
                client.recv(1)
            server.thread.join(TIMEOUT)
            self.assertIsInstance(server.raised, ZeroDivisionError)

    @params(SystemExit(3), KeyboardInterrupt(), ZeroDivisionError())
    def test_goes_on_whatever_a_handler_of_others_raises(self, error):
        def method(self):
            if self.path == "/bad":
                raise error
            self.answer(b"hi")
        with serving(doing(method)) as server:
            with connect(server, request("GET /bad HTTP/1.1")) as client:
                client.recv(1)
            self.assertEqual(get(server), (200, b"hi"))

    @params(*BOTH)
    def test_takes_service_actions(self, server_class):
        taken = threading.Event()
        with serving(doing(say), server_class, service_actions=lambda self: taken.set()) as server:
            self.assertTrue(taken.wait(TIMEOUT))
            self.assertEqual(get(server), (200, b"hi"))

    @params(*itertools.product(BOTH, ["service_actions", "shutdown_request"]))
    def test_takes_what_is_set_on_the_object(self, server_class, name):
        taken = threading.Event()

        def bind(self):
            super(type(self), self).server_bind()
            setattr(self, name, lambda *_: taken.set())

        with serving(doing(say), server_class, server_bind=bind) as server, connect(server, request(fields=CLOSE)):
            self.assertTrue(taken.wait(TIMEOUT))

    @params("verify_request", "shutdown_request")
    def test_ends_with_what_a_signal_handler_raises(self, name):
        def interrupted(self, *arguments):
            sys.exit(7)

        with serving(doing(say), compat.HTTPServer, **{name: interrupted}) as server:
            with connect(server, request(fields=CLOSE)):
                server.thread.join(TIMEOUT)
            self.assertIs(type(server.raised), SystemExit)

    def test_ends_with_what_service_actions_raise(self):
        for server_class in BOTH:
            with serving(doing(say), server_class, service_actions=lambda self: 1 / 0) as server:
                server.thread.join(TIMEOUT)
                self.assertIsInstance(server.raised, ZeroDivisionError)

    @params("HTTPServer", "ThreadingHTTPServer")
    def test_ends_with_ctrl_c(self, name):
        program = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be ignored here
                   f"from ownhands.compat import *\ns = {name}(('127.0.0.1', 0), BaseHTTPRequestHandler)\n"
                   "try: print('up', flush=True); s.serve_forever()\nexcept KeyboardInterrupt: print('bye')\n"
                   "s.server_close()")
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual((said, errors, process.returncode), (b"bye\n", b"", 0))


class StageTest(unittest.TestCase):
    @params(*BOTH)
    def test_may_refuse_a_connection(self, server_class):
        with serving(doing(say), server_class, verify_request=lambda self, *_: False) as server:
            with connect(server, b"") as client:
                self.assertEqual(client.recv(1), b"")

    @params(*BOTH)
    def test_may_close_it_its_own_way(self, server_class):
        closed = threading.Event()

        def shutdown_request(self, request):
            closed.set()
            server_class.shutdown_request(self, request)
        with serving(doing(say), server_class, shutdown_request=shutdown_request) as server:
            self.assertEqual(get(server), (200, b"hi"))
            self.assertTrue(closed.wait(TIMEOUT))

    @params(*BOTH)
    def test_may_keep_a_connection(self, server_class):
        kept = queue.Queue()
        with serving(doing(say), server_class, shutdown_request=lambda self, connection: kept.put(connection)) as server:
            with connect(server, request(fields=CLOSE)) as client:
                connection = kept.get(timeout=TIMEOUT)
                wait_for(lambda: connection.gettimeout() is None)
                read_until(client, b"hi")
                client.sendall(b"more")
                with connection:
                    self.assertEqual(connection.recv(4), b"more")

    def test_may_read_to_its_end_and_holds_up_nobody(self):
        def shutdown_request(self, connection):
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(BlockingIOError):
                while connection.recv(4096):
                    pass
            self.close_request(connection)

        with serving(doing(say), shutdown_request=shutdown_request) as server:
            with connect(server, request() + request(fields=CLOSE)) as client:
                read_until(client, b"no such end")
                self.assertEqual(get(server), (200, b"hi"))

    @params(*BOTH, type("Forking", (socketserver.ForkingMixIn, compat.HTTPServer), {}))
    def test_may_serve_requests_one_by_one(self, server_class):
        with server_class(("127.0.0.1", 0), doing(say)) as server:
            with connect(server, request(fields=CLOSE)) as client:
                server.handle_request()
                self.assertTrue(read_until(client, b"hi").endswith(b"hi"))

    def test_may_wait_for_a_request_in_vain(self):
        seen = []
        server_class = type("Waiting", (compat.HTTPServer,), {"timeout": 0, "handle_timeout": lambda _: seen.append(1)})
        with server_class(("127.0.0.1", 0), Quiet) as server:
            server.handle_request()
        self.assertEqual(seen, [1])

    def test_knows_its_name(self):
        with compat.HTTPServer(("127.0.0.1", 0), Quiet) as server:
            self.assertEqual((server.server_name, server.server_port),
                             (socket.getfqdn("127.0.0.1"), server.socket.getsockname()[1]))
            self.assertEqual(server.fileno(), server.socket.fileno())

    def test_may_be_bound_late(self):
        server = compat.HTTPServer(("127.0.0.1", 0), doing(say), bind_and_activate=False)
        server.server_bind()
        server.server_activate()
        with connect(server, request(fields=CLOSE)) as client, server:
            server.handle_request()
            self.assertTrue(read_until(client, b"hi").endswith(b"hi"))


class ExitTest(unittest.TestCase):
    @params(request(fields=CLOSE), request())
    def test_from_closing_ends_a_serial_server(self, octets):
        def close(self, connection):
            compat.HTTPServer.shutdown_request(self, connection)
            sys.exit(3)

        with serving(doing(say), compat.HTTPServer, shutdown_request=close) as server:
            with connect(server, octets) as client:
                read_until(client, b"hi")
                client.shutdown(socket.SHUT_WR)
                read_until(client, b"no such end")
            server.thread.join(TIMEOUT)
            self.assertIs(type(server.raised), SystemExit)


class MakerTest(unittest.TestCase):
    class Named(Quiet):
        def __init__(self, *arguments, name):
            self.name = name
            super().__init__(*arguments)

        def do_GET(self):
            self.answer(self.name)

    class Classic(Quiet):
        def handle(self):
            super().handle()

        do_GET = say

    def test_has_done_what_it_does_around_the_request(self):
        class Around(Quiet):
            def __init__(self, *arguments):
                seen.append("before")
                super().__init__(*arguments)
                seen.append("behind")
                over.set()

            def do_GET(self):
                seen.append("request")
                self.answer(b"hi")
        seen, over = [], threading.Event()
        with serving(Around) as server:
            self.assertEqual(get(server), (200, b"hi"))
            self.assertTrue(over.wait(TIMEOUT))
        self.assertEqual(seen, ["before", "request", "behind"])

    @params(functools.partial(Named, name=b"hi"), lambda *arguments: MakerTest.Named(*arguments, name=b"hi"),
            lambda *arguments: MakerTest.Classic(*arguments), Classic)
    def test_of_handlers_may_be_anything(self, maker):
        for server_class in BOTH:
            with serving(maker, server_class) as server:
                self.assertEqual([get(server), get(server)], [(200, b"hi")] * 2)

    @params(*BOTH)
    def test_that_is_a_function_for_a_classic_class_ends_connections_too(self, server_class):
        class Endless(MakerTest.Classic):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hi")

        with serving(lambda *arguments: Endless(*arguments), server_class) as server, \
                connect(server, b"GET / HTTP/1.0\r\n\r\n") as client:
            self.assertTrue(read_until(client, b"no such end").endswith(b"hi"))

    def test_that_is_a_function_for_a_classic_class_is_called_by_one_thread(self):
        class Slow(MakerTest.Classic):
            def do_GET(self):
                threads.append(threading.current_thread().name)
                time.sleep(0.02)
                self.answer(b"hi")

        threads = []
        with serving(lambda *arguments: Slow(*arguments), compat.HTTPServer) as server:
            clients = [connect(server, request(fields=CLOSE)) for _ in range(3)]
            for client in clients:
                with client:
                    self.assertTrue(read_until(client, b"hi").endswith(b"hi"))
        self.assertEqual(len(set(threads)), 1)

    @params(True, False)
    def test_finds_files(self, is_head):
        handler = functools.partial(type("Files", (compat.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}),
                                    directory=ROOT / "ownhands")
        with serving(handler) as server:
            content = (ROOT / "ownhands/compat.py").read_bytes()
            self.assertEqual(get(server, "/compat.py", "HEAD" if is_head else "GET"),
                             (200, b"" if is_head else content))


class WhileItRunsTest(unittest.TestCase):
    """What a handler writes arrives while it goes on, flushed or not."""

    @params((True, compat.HTTPServer), (False, compat.HTTPServer), (True, compat.ThreadingHTTPServer),
            (False, compat.ThreadingHTTPServer))
    def test_arrives(self, flushes, server_class):
        def method(self):
            for piece in (b"HTTP/1.1 200 OK\r\n\r\none", b"two", b"three"):
                self.wfile.write(piece)
                if flushes:
                    self.wfile.flush()
                arrived.acquire(timeout=TIMEOUT)
        arrived = threading.Semaphore(0)
        with serving(doing(method), server_class) as server, connect(server, request()) as client:
            for piece in (b"one", b"two", b"three"):
                self.assertTrue(read_until(client, piece).endswith(piece))
                arrived.release()

    def test_arrives_behind_a_head_of_bare_line_feeds(self):
        def method(self):
            self.wfile.write(b"HTTP/1.1 200 OK\nX-A: b\n\none")
            self.wfile.flush()
            arrived.wait(TIMEOUT)
        arrived = threading.Event()
        with serving(doing(method)) as server, connect(server, request()) as client:
            self.assertTrue(read_until(client, b"one").endswith(b"\n\none"))
            arrived.set()

    @params(*BOTH)
    def test_is_much(self, server_class):
        content = bytes(range(256)) * 20_000

        def method(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for start in range(0, len(content), 70_001):
                self.wfile.write(content[start:start + 70_001])
        with serving(doing(method), server_class) as server:
            self.assertEqual([get(server), get(server)], [(200, content)] * 2)

    def test_is_written_by_another_thread(self):
        def method(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            wfiles.append(self.wfile)
            there.set()
            done.wait(TIMEOUT)
        wfiles, there, done = [], threading.Event(), threading.Event()
        with serving(doing(method)) as server, connect(server, request()) as client:
            self.assertTrue(there.wait(TIMEOUT))
            wfiles[0].write(b"from elsewhere")
            self.assertTrue(read_until(client, b"elsewhere").endswith(b"\r\n\r\nfrom elsewhere"))
            done.set()

    @params(*BOTH)
    def test_gives_up_a_client_that_takes_nothing(self, server_class):
        def method(self):
            try:
                while True:
                    self.wfile.write(b"x" * 100_000)
            except TimeoutError:
                gave_up.set()
                raise
        gave_up = threading.Event()
        with serving(doing(method, timeout=0.1), server_class) as server, connect(server, request()):
            self.assertTrue(gave_up.wait(TIMEOUT))


class ConnectionTest(unittest.TestCase):
    """A handler that takes the connection itself."""

    @params("CONNECT x:80 HTTP/1.1", "GET / HTTP/1.1")
    def test_may_be_used_for_another_protocol(self, line):
        def method(self):
            self.send_response_only(200 if self.command == "CONNECT" else 101)
            self.end_headers()
            self.wfile.write(b"> ")
            for word in iter(self.rfile.readline, b"bye\n"):
                self.connection.sendall(word.upper())
        handler = doing(method, do_CONNECT=method)
        fields = "Connection: Upgrade\r\nUpgrade: shout\r\n" if line.startswith("GET") else ""
        data = request(line, fields).replace(b"Host: x\r\n", b"Host: x:80\r\n") + b"one\n"
        with serving(handler) as server, connect(server, data) as client:
            self.assertTrue(read_until(client, b"ONE\n").endswith(b"\r\n\r\n> ONE\n"))
            client.sendall(b"two\nbye\n")
            self.assertEqual(read_until(client, b"never"), b"TWO\n")

    @params(*[(server_class, line) for server_class in BOTH for line in ("CONNECT x:80 HTTP/1.1", "GET / HTTP/1.1")])
    def test_is_served_on_from_files_of_the_handlers_own(self, server_class, line):
        def method(self):
            if self.path == "/inside":
                return self.answer(b"inside")
            self.send_response(200 if self.command == "CONNECT" else 101)
            self.end_headers()
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.close_connection = False

        def finish(self):
            Quiet.finish(self)
            closed.append(self.wfile.closed)
        handler = doing(method, do_CONNECT=method, finish=finish)
        fields = "Connection: Upgrade\r\nUpgrade: x\r\n" if line.startswith("GET") else ""
        closed = []
        with serving(handler, server_class) as server:
            with connect(server, request(line, fields).replace(b": x\r\n\r\n", b": x:80\r\n\r\n")) as client:
                read_until(client, b"\r\n\r\n")
                for connection in ("", CLOSE):
                    client.sendall(request("GET /inside HTTP/1.1", connection))
                    self.assertTrue(read_until(client, b"inside").endswith(b"\r\n\r\ninside"))
                self.assertEqual(client.recv(1), b"")
            self.assertEqual(get(server, "/inside"), (200, b"inside"))
        self.assertEqual(closed[0], True)

    def test_may_be_written_to_behind_the_head(self):
        def method(self):
            self.send_response(200)
            self.end_headers()
            self.connection.sendall(b"one")
            self.wfile.write(b"two")
            self.request.sendall(b"three")
            os.write(self.wfile.fileno(), b"four")
        with serving(doing(method)) as server:
            self.assertEqual(get(server), (200, b"onetwothreefour"))

    def test_may_be_written_to_in_the_middle_of_the_head(self):
        def method(self):
            self.send_response(200)
            self.flush_headers()
            self.connection.sendall(b"Content-Length: 2\r\n\r\nhi")
        with serving(doing(method)) as server:
            self.assertEqual(get(server), (200, b"hi"))

    def test_may_be_used_behind_a_wfile_that_was_closed(self):
        def method(self):
            self.answer(b"hi")
            self.wfile.close()
            self.connection.getpeername()
        with serving(doing(method)) as server:
            self.assertEqual(get(server), (200, b"hi"))

    def test_may_be_asked_and_goes_on(self):
        with serving(doing(lambda self: self.answer(str(self.connection.getpeername()).encode()))) as server:
            with connect(server, request()) as client:
                name = str(client.getsockname()).encode()
                read_until(client, name)
                client.sendall(request(fields=CLOSE))
                self.assertTrue(read_until(client, name).endswith(name))

    def test_may_be_closed(self):
        with serving(doing(lambda self: self.connection.close())) as server:
            with connect(server, request()) as client:
                self.assertEqual(client.recv(1), b"")
            with connect(server, request()) as client:
                self.assertEqual(client.recv(1), b"")

    def test_that_asks_for_another_protocol_in_vain_goes_on(self):
        with serving(doing(say)) as server:
            with connect(server, request(fields="Connection: Upgrade\r\nUpgrade: h2c\r\n") * 2) as client:
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_until(client, b"never").count(b"200 OK"), 2)


class TLSTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            import trustme
        except ImportError:
            raise unittest.SkipTest("trustme is not installed") from None
        authority = trustme.CA()
        cls.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.certificate = authority.issue_cert("localhost")
        cls.certificate.configure_cert(cls.server_context)
        cls.client_context = ssl.create_default_context()
        authority.configure_trust(cls.client_context)

    def wrap(self, server):
        get(server)  # it serves by now
        server.socket = self.server_context.wrap_socket(server.socket, server_side=True)

    def get(self, server):
        connection = HTTPSConnection("localhost", server.server_port, timeout=TIMEOUT, context=self.client_context)
        connection.request("GET", "/")
        content = connection.getresponse().read()
        connection.request("GET", "/")
        again = connection.getresponse().read()
        connection.close()
        return content, again

    @params(*BOTH)
    def test_wraps_the_listener_before(self, server_class):
        def bind(self):
            super(type(self), self).server_bind()
            self.socket = TLSTest.server_context.wrap_socket(self.socket, server_side=True)
        with serving(doing(say), server_class, server_bind=bind) as server:
            self.assertEqual(self.get(server), (b"hi", b"hi"))

    @params(*BOTH)
    def test_wraps_the_listener_while_it_serves(self, server_class):
        with serving(doing(say), server_class) as server:
            self.wrap(server)
            self.assertEqual(self.get(server), (b"hi", b"hi"))

    @params(*BOTH)
    def test_is_not_held_by_half_a_handshake(self, server_class):
        with serving(doing(say), server_class) as server:
            self.wrap(server)
            with connect(server, b"\x16\x03\x01"):
                self.assertEqual(self.get(server), (b"hi", b"hi"))

    @unittest.skipUnless(hasattr(http.server, "HTTPSServer"), "http.server has it from Python 3.14 on")
    @params("HTTPSServer", "ThreadingHTTPSServer")
    def test_has_a_class_of_its_own(self, name):
        server_class = getattr(compat, name)
        with self.certificate.private_key_and_cert_chain_pem.tempfile() as certfile:
            make = functools.partialmethod(server_class.__init__, certfile=certfile)
            with serving(doing(say), server_class, __init__=make) as server, connect(server, b"\x16\x03\x01"):
                self.assertEqual(self.get(server), (b"hi", b"hi"))

    def test_may_begin_within_a_tunnel(self):
        def do_CONNECT(self):
            self.send_response(200)
            self.end_headers()
            self.inner = TLSTest.server_context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.inner.makefile("rb"), self.inner.makefile("wb")
            self.close_connection = False  # whatever version the client speaks

        def finish(self):
            Quiet.finish(self)
            self.inner.close()
        with serving(doing(say, do_CONNECT=do_CONNECT, finish=finish)) as server:
            connection = HTTPSConnection(*server.server_address, timeout=TIMEOUT, context=self.client_context)
            connection.set_tunnel("localhost", 80)
            self.addCleanup(connection.close)
            for _ in range(2):
                connection.request("GET", "/")
                self.assertEqual(connection.getresponse().read(), b"hi")

    def test_gives_the_handler_an_ssl_socket(self):
        def method(self):
            self.answer(str([isinstance(each, ssl.SSLSocket) for each in (self.connection, self.request)]).encode())

        with serving(doing(method)) as server:
            self.wrap(server)
            self.assertEqual(self.get(server)[0], b"[True, True]")

    def test_gives_all_stages_the_same_socket(self):
        def method(self):
            self.answer(str(self.request in self.server.known).encode())

        def verify(self, connection, client_address):
            self.known = {*getattr(self, "known", ()), connection}
            return True

        def close(self, connection):
            closed.put(connection in self.known)
            compat.ThreadingHTTPServer.shutdown_request(self, connection)

        closed = queue.Queue()
        with serving(doing(method), verify_request=verify, shutdown_request=close) as server:
            self.wrap(server)
            self.assertEqual(self.get(server)[0], b"True")
        self.assertEqual([closed.get(timeout=TIMEOUT) for _ in range(2)], [True, True])

    def test_lets_the_handler_ask(self):
        with serving(doing(lambda self: self.answer(self.connection.version().encode()))) as server:
            self.wrap(server)
            self.assertEqual(self.get(server), (b"TLSv1.3", b"TLSv1.3"))


class ClassicTest(unittest.TestCase):
    def test_forks(self):
        server_class = type("Forking", (socketserver.ForkingMixIn, compat.HTTPServer), {})
        with serving(doing(lambda self: self.answer(b"%d" % os.getpid())), server_class) as server:
            status, content = get(server, headers={"Connection": "close"})  # the child has the client's end as well
            self.assertEqual(status, 200)
            self.assertNotEqual(int(content), os.getpid())

    @params(http.server.BaseHTTPRequestHandler, Quiet)
    def test_handler_may_be_served_by_socketserver(self, base):
        handler = type("Handler", (base,), {"do_GET": lambda self: Quiet.answer(self, b"hi"), "log_message": lambda *_: None})
        with serving(handler, socketserver.ThreadingTCPServer) as server:
            self.assertEqual(get(server), (200, b"hi"))
