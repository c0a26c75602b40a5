"""The server's wiring and life: knobs, handler classes of all kinds, addresses, start and stop."""
import contextlib
import functools
import io
import math
import queue
import select
import socket
import socketserver
import sys
import tempfile
import threading
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler, Response, UploadHandler
from ownhands.engine import EngineThread
from ownhands.listener import Acceptor
from ownhands.polling import WRITE
from ownhands.testing import MockClient, MockConnection

from .engines import PATIENCE, Block, wait_for

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Quiet(RequestHandler):
    """Says where it is asked from, and can be held."""

    block = None

    def do_GET(self, request):
        if self.block is not None and request.path == "/slow":
            self.block()
        return Response(f"{request.path}\n")


class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Greeter(socketserver.BaseRequestHandler):
    greeting = b"hello"

    def handle(self):
        self.request.sendall(self.greeting)


class ServerTest(unittest.TestCase):
    def serve(self, handler=Quiet, **knobs):
        server = HTTPServer("127.0.0.1", 0, handler, **knobs)
        server.start()
        self.addCleanup(server.stop)
        return server

    def connect(self, server, data=b""):
        client = socket.create_connection(server.server_address, PATIENCE)
        self.addCleanup(client.close)
        client.sendall(data)
        return client

    def read(self, client):
        """Everything until the other side closes."""
        with client.makefile("rb") as file:
            return file.read()

    def answer(self, client):
        """The next octets, a small answer's."""
        return client.recv(65536)

    def hold(self, **knobs):
        """A server one request of which is being answered, until the block is ended."""
        block = Block()
        self.addCleanup(block.end)
        server = self.serve(type("Held", (Quiet,), {"block": staticmethod(block)}), **knobs)
        client = self.connect(server, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        block.wait()
        return server, client, block


class Factory:
    """Makes handlers, and is no class or function."""

    def __call__(self, *arguments):
        return Greeter(*arguments)


class KnobTest(unittest.TestCase):
    def test_of_the_server(self):
        self.assertEqual(3, HTTPServer(max_threads=3).max_threads)

    def test_of_the_handler(self):
        server = HTTPServer(handler=Quiet, idle_timeout=1.5)
        self.assertEqual(1.5, server.RequestHandlerClass.idle_timeout)
        self.assertTrue(issubclass(server.RequestHandlerClass, Quiet))

    def test_another_servers_are_left_alone(self):
        HTTPServer(max_threads=3, handler=Quiet, idle_timeout=1.5)
        self.assertEqual((64, 75.0), (HTTPServer.max_threads, Quiet.idle_timeout))

    def test_of_both(self):
        server = HTTPServer(handler=Upper, timeout=2)
        self.assertEqual((2, 2), (server.timeout, server.RequestHandlerClass.timeout))

    def test_of_a_handler_class_behind_a_partial(self):
        server = HTTPServer(handler=functools.partial(Quiet), idle_timeout=1.5)
        self.assertEqual(1.5, server.RequestHandlerClass.func.idle_timeout)

    @params("max_thread", "serve", "url", "do_GET", "_engines", "on_request", "lane_count", "allowed_methods")
    def test_anything_else_is_an_error(self, name):
        with self.assertRaises(TypeError):
            HTTPServer(handler=Quiet, **{name: 1})

    @params(("max_thread", ": is it max_threads?"), ("max_header_size", ": is it max_head_size?"), ("worker", ""),
            ("volum", ": is it volume?"), ("path", ""), ("header", ""))
    def test_says_which_may_have_been_meant(self, name, hint):
        own = type("Own", (Quiet,), {"volume": 3})
        with self.assertRaises(TypeError) as caught:
            HTTPServer(handler=own, **{name: 1})
        self.assertEqual(f"{name!r} is not a setting of HTTPServer or of its handler{hint}", str(caught.exception))

    @params(0, -1, 2.5)
    def test_what_there_cannot_be_none_of_is_at_least_one(self, value):
        for name in ("max_threads", "max_connections"):
            with self.assertRaisesRegex(ValueError, rf"\A{name} is a whole number from 1 on, not {value}\Z"):
                HTTPServer(handler=Quiet, **{name: value})

    @params("max_threads", "max_content_size", "idle_timeout")
    def test_text_for_a_number_is_an_error(self, name):
        with self.assertRaisesRegex(TypeError, f"{name} is a number, not '4'"):
            HTTPServer(handler=Quiet, **{name: "4"})

    @params("max_threads", "max_content_size", "idle_timeout", "max_connections", "shutdown_timeout", "min_rate")
    def test_so_is_none_where_something_bounds(self, name):
        with self.assertRaisesRegex(TypeError, f"{name} is a number, not None"):
            HTTPServer(handler=Quiet, **{name: None})

    @params(("retries", None), ("retries", True), ("rate", object()))
    def test_a_programs_own_may_be_anything_but_text_for_a_number(self, name, value):
        own = type("Own", (Quiet,), {"retries": 3, "rate": 1.5})
        self.assertIs(value, getattr(HTTPServer(handler=own, **{name: value}).RequestHandlerClass, name))
        with self.assertRaises(TypeError):
            HTTPServer(handler=own, **{name: "4"})

    def test_a_name_that_http_server_has_may_be_a_programs_own(self):
        own = type("Own", (RequestHandler, type("Mixin", (), {"path": "/srv"})), {})
        self.assertEqual(HTTPServer(handler=own, path="/x").RequestHandlerClass.path, "/x")

    @params("cache", "max_upload")
    def test_of_handlers_of_files_some_are_a_number_or_none(self, name):
        HTTPServer(handler=type("Own", (UploadHandler,), {name: 5}), **{name: None})

    @params("max_requests", "lanes", "switch_interval")
    def test_others_are_a_number_or_none(self, name):
        HTTPServer(handler=Quiet, **{name: None})
        HTTPServer(handler=Quiet, **{name: 4})
        with self.assertRaisesRegex(TypeError, f"{name} is a number or None, not '4'"):
            HTTPServer(handler=Quiet, **{name: "4"})

    @params("timeout", "address_family", "socket_type", "allow_reuse_port")
    def test_what_means_nothing_here_is_an_error_too(self, name):
        with self.assertRaisesRegex(TypeError, "no keyword here"):
            HTTPServer(handler=Quiet, **{name: 1})

    @params((("127.0.0.1", 0), Quiet), ("", 0, None), ("", 0, "Quiet"), ("", 0, lambda environ, start_response: []))
    def test_arguments_of_another_kind_are_an_error(self, *arguments):
        with self.assertRaises(TypeError):
            HTTPServer(*arguments)

    def test_making_a_server_opens_nothing(self):
        threads = threading.active_count()
        with mock.patch.object(socket, "socket", side_effect=AssertionError):
            HTTPServer()
        self.assertEqual(threads, threading.active_count())


class AddressTest(ServerTest):
    def test_port_0_is_a_free_one_and_the_url_says_which(self):
        server = self.serve()
        self.assertEqual(f"http://127.0.0.1:{server.socket.getsockname()[1]}/", server.url)
        self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))

    def test_a_port_that_is_taken_is_said_in_one_line(self):
        port = self.serve().server_address[1]
        with self.assertRaises(SystemExit) as caught:
            HTTPServer("127.0.0.1", port).serve()
        self.assertRegex(caught.exception.code, rf"\Aownhands: cannot listen on 127\.0\.0\.1:{port}: [^\n]+\Z")

    @params("no.such.host.invalid", "./www", "a..b", "a" * 64)
    def test_so_is_a_host_that_does_not_exist(self, host):
        with self.assertRaises(SystemExit) as caught:
            HTTPServer(host, 1).serve()
        self.assertIn(f"cannot listen on {host}:1: ", caught.exception.code)

    @params("8000", RequestHandler, None, 80.0)
    def test_a_port_is_a_number(self, port):
        with self.assertRaisesRegex(TypeError, "port is a number, and the handler the third argument"):
            HTTPServer("127.0.0.1", port)

    def test_so_is_a_port_that_cannot_be(self):
        with self.assertRaises(SystemExit) as caught:
            HTTPServer("127.0.0.1", 70_000).serve()
        self.assertIn("127.0.0.1:70000: ", caught.exception.code)

    def test_a_port_that_was_just_used_is_used_again(self):
        server = self.serve()
        client = self.connect(server, GET)
        self.answer(client)
        server.stop()  # so the connection is in TIME_WAIT on this side
        again = HTTPServer("127.0.0.1", server.server_address[1], Quiet)
        again.start()
        again.stop()


class HandlerClassTest(ServerTest):
    @params(Greeter, functools.partial(Greeter), lambda *arguments: Greeter(*arguments), Factory())
    def test_a_base_request_handler(self, handler):
        self.assertEqual(b"hello", self.read(self.connect(self.serve(handler))))

    def test_a_stream_request_handler(self):
        client = self.connect(self.serve(Upper), b"one\n")
        self.assertEqual(b"ONE\n", self.answer(client))
        client.sendall(b"two\n")
        self.assertEqual(b"TWO\n", self.answer(client))

    def test_many_of_them_at_once(self):
        server = self.serve(Upper)
        clients = [self.connect(server, b"one\n") for _ in range(20)]
        self.assertEqual([b"ONE\n"] * 20, [self.answer(client) for client in clients])

    def test_more_of_them_than_connections_wait_in_the_backlog(self):
        server = self.serve(Upper, max_connections=1)
        first, second = self.connect(server, b"one\n"), self.connect(server, b"two\n")
        self.assertEqual(b"ONE\n", self.answer(first))
        self.assertEqual([], select.select([second], [], [], 0)[0])
        first.close()
        self.assertEqual(b"TWO\n", self.answer(second))

    def test_the_client_sees_the_end_though_somebody_else_holds_the_connection(self):
        class Sharing(socketserver.BaseRequestHandler):
            def handle(self):
                held.append(self.request.dup())  # as a child process would

        held: list[socket.socket] = []
        self.assertEqual(b"", self.read(self.connect(self.serve(Sharing))))
        held[0].close()

    def test_more_of_them_than_threads_wait_in_the_backlog(self):
        server = self.serve(Upper, max_threads=1)
        first, second = self.connect(server, b"one\n"), self.connect(server, b"two\n")
        self.assertEqual(b"ONE\n", self.answer(first))
        first.close()
        self.assertEqual(b"TWO\n", self.answer(second))

    @params(functools.partial(Quiet), lambda *arguments: Quiet(*arguments))
    def test_one_in_turns_that_is_no_class(self, handler):
        server = self.serve(handler, max_threads=1)
        idle = self.connect(server, GET)
        self.answer(idle)
        self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))

    @params(ValueError, SystemExit)
    def test_one_that_raises_harms_its_connection_alone(self, error):
        def handler(*arguments):
            if failing:
                raise error
            return Greeter(*arguments)

        failing = True
        server = self.serve(handler)
        with self.assertLogs("ownhands", "ERROR"):
            self.assertEqual(b"", self.read(self.connect(server)))
        failing = False
        self.assertEqual(b"hello", self.read(self.connect(server)))

    def test_a_handler_that_closes_its_connection_is_forgotten(self):
        class Closing(Quiet):
            def do_GET(self, request):
                self.connection.close()
                return "gone"

        self.assertEqual(b"", self.read(self.connect(self.serve(Closing), GET)))


class StageTest(ServerTest):
    def test_verify_request_turns_away(self):
        server = self.serve()
        server.verify_request = lambda request, client_address: False
        self.assertEqual(b"", self.read(self.connect(server)))

    def test_handle_error_hears_what_on_connect_raises(self):
        server, heard = self.serve(), []
        server.on_connect = mock.Mock(side_effect=ValueError)
        server.handle_error = lambda request, client_address: heard.append((sys.exc_info()[0], client_address))
        client = self.connect(server)
        self.assertEqual(b"", self.read(client))
        self.assertEqual([(ValueError, client.getsockname())], heard)

    def test_an_error_in_handle_error_harms_its_connection_alone(self):
        server = self.serve()
        server.on_connect = mock.Mock(side_effect=ValueError)
        server.handle_error = mock.Mock(side_effect=ValueError)
        with self.assertLogs("ownhands", "ERROR"):
            self.assertEqual(b"", self.read(self.connect(server)))
            server.stop()
        del server.on_connect, server.handle_error
        server.start()
        self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))

    def test_an_error_in_shutdown_request_is_heard_too(self):
        server, heard = self.serve(), threading.Event()
        server.shutdown_request = mock.Mock(side_effect=[ValueError, None])  # the socket is closed with its last use
        server.handle_error = lambda request, client_address: heard.set()
        self.answer(self.connect(server, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
        self.assertTrue(heard.wait(PATIENCE))

    def test_on_connect_takes_a_mock_and_no_address(self):
        connection = MockConnection(GET)
        HTTPServer(handler=Quiet).on_connect(connection, None)
        self.assertIn(b"200 OK", connection.sent)
        self.assertTrue(connection.is_closed)

    def test_on_connect_serves_a_socket_where_no_engine_runs(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.sendall(GET + GET)
        thread = threading.Thread(target=HTTPServer(handler=Quiet).on_connect, args=(theirs,))
        thread.start()
        self.assertIn(b"200 OK", ours.recv(65536))
        ours.shutdown(socket.SHUT_WR)
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())
        self.assertEqual(-1, theirs.fileno())

    def test_a_socket_given_by_hand_is_watched_by_a_server_that_runs(self):
        server = self.serve()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        server.on_connect(theirs)
        ours.sendall(GET)
        self.assertIn(b"200 OK", ours.recv(65536))

    def test_a_mock_is_served_on_the_calling_thread(self):
        reply = MockClient(HTTPServer(handler=Quiet))("/here")
        self.assertEqual((200, b"/here\n"), (reply.status, reply.content))


class HandleRequestTest(ServerTest):
    def test_serves_one_and_returns_though_its_client_stays(self):
        server = HTTPServer("127.0.0.1", 0, Quiet, linger_timeout=0.01)
        self.addCleanup(server.server_close)
        server.open()
        for _ in range(2):
            client = self.connect(server, GET)
            server.handle_request()
            self.assertTrue(self.read(client).endswith(b"/\n"))

    def test_serves_one_of_a_handler_that_a_function_makes(self):
        brief = type("Brief", (Quiet,), {"linger_timeout": 0.01})
        server = HTTPServer("127.0.0.1", 0, lambda *arguments: brief(*arguments))
        self.addCleanup(server.server_close)
        server.open()
        client = self.connect(server, GET + GET)
        server.handle_request()
        self.assertEqual(1, self.read(client).count(b"200 OK"))

    @params(Greeter, lambda *arguments: Greeter(*arguments))
    def test_serves_any_handler(self, handler):
        server = HTTPServer("127.0.0.1", 0, handler)
        self.addCleanup(server.server_close)
        server.open()
        client = self.connect(server)
        server.handle_request()
        self.assertEqual(b"hello", self.read(client))

    def test_calls_handle_timeout_where_nobody_comes(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        self.addCleanup(server.server_close)
        server.timeout = 0
        with mock.patch.object(server, "handle_timeout") as handle_timeout:
            server.handle_request()
        handle_timeout.assert_called_once_with()


class CopyTest(ServerTest):
    @unittest.skipUnless(hasattr(select, "epoll"), "only epoll finds it ready")
    def test_of_a_connection_that_its_handler_closes_keeps_nobody_awake(self):
        class Giver(Quiet):
            def do_GET(self, request):
                if request.path == "/copy":
                    copies.append(self.connection.dup())
                    self.connection.close()
                return super().do_GET(request)

        server, copies = self.serve(Giver), []
        slow, client = self.connect(server, GET), self.connect(server, GET)
        for each in slow, client:
            self.assertIn(b"200 OK", each.recv(65536))
        Giver.block = Block()
        self.addCleanup(Giver.block.end)
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        Giver.block.wait()
        client.sendall(b"GET /copy HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: copies)
        client.sendall(b"it is ready")
        poller = server._engines[0]._list.poller
        wait_for(lambda: select.select([copies[0]], [], [], 0)[0] and not select.select([poller], [], [], 0)[0])
        Giver.block.end()
        for _ in range(2):
            self.assertIn(b"200 OK", slow.recv(65536))
            slow.sendall(GET)
        self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))
        copies[0].close()


class LateTest(ServerTest):
    def test_a_connection_that_is_accepted_behind_the_end_is_closed(self):
        class Slow(HTTPServer):
            def verify_request(self, request, client_address):
                looking.set()
                return may_go_on.wait(PATIENCE)

        looking, may_go_on = threading.Event(), threading.Event()
        server = Slow("127.0.0.1", 0, Quiet, shutdown_timeout=0.01)
        server.start()
        client = self.connect(server, GET * 2)
        looking.wait(PATIENCE)
        with mock.patch("ownhands.stopping.GIVE_UP_AFTER", 0.05), mock.patch("ownhands.stopping.TIDY_FOR", 0):
            server.stop()
        may_go_on.set()
        with contextlib.suppress(ConnectionError):
            while client.recv(65536):
                pass


    def test_one_that_waits_for_a_thread_of_the_program_s_own_has_one_turn_behind_the_end(self):
        server, accepted = HTTPServer("127.0.0.1", 0, Quiet), queue.Queue()
        server.process_request = lambda *arguments: accepted.put(arguments)
        server.start()
        client = self.connect(server, GET)
        arguments = accepted.get(timeout=PATIENCE)
        server.stop()
        thread = threading.Thread(target=server.process_request_thread, args=arguments)
        thread.start()
        self.assertIn(b"200 OK", client.recv(65536))
        with contextlib.suppress(ConnectionError):
            client.sendall(GET)
            self.assertEqual(b"", client.recv(65536))
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())


class ClientAddressTest(ServerTest):
    @params((("::ffff:192.0.2.1", 5, 0, 0), ("192.0.2.1", 5)), (("2001:db8::1", 5, 0, 0), ("2001:db8::1", 5, 0, 0)),
            (("192.0.2.1", 5), ("192.0.2.1", 5)), ("/client", "/client"), (b"", b""), ((3, 5), (3, 5)))
    def test_is_the_same_on_a_listener_for_both_families(self, given, address):
        server = HTTPServer(handler=Quiet)
        server.socket = mock.Mock(spec=["accept"], accept=lambda: (None, given))
        self.assertEqual((None, address), server.get_request())


class GivenSocketTest(ServerTest):
    def test_its_port_is_the_servers(self):
        listener = socket.create_server(("127.0.0.1", 0))
        server = HTTPServer("127.0.0.1", handler=Quiet)
        server.socket = listener
        with server:
            self.assertEqual(f"http://127.0.0.1:{listener.getsockname()[1]}/", server.url)
            self.assertTrue(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_no_other_takes_its_place_the_next_time(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        server.socket = socket.create_server(("127.0.0.1", 0))
        with server:
            pass
        with self.assertRaisesRegex(RuntimeError, "set another one"):
            server.start()
        server.socket = socket.create_server(("127.0.0.1", 0))
        with server:
            self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))

    def test_one_that_was_asked_for_by_hand_is_the_servers(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        server.server_bind()
        for _ in range(2):
            with server:
                self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))

    @unittest.skipUnless(hasattr(socket, "AF_UNIX"), "the system has none")
    def test_a_client_of_a_unix_socket_has_no_address(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as client:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{folder}/server")
            listener.listen()
            server = HTTPServer("127.0.0.1", handler=Quiet)
            server.socket = listener
            client.bind(f"{folder}/client")
            client.settimeout(PATIENCE)
            with self.assertLogs("ownhands.access", "INFO") as logs, server:
                client.connect(f"{folder}/server")
                client.sendall(GET)
                self.assertIn(b"200 OK", client.recv(65536))
                self.assertEqual(f"unix:{folder}/server", server.url)
            server.socket = socket.create_server(("127.0.0.1", 0))
            with server:
                self.assertRegex(server.url, r"\Ahttp://127\.0\.0\.1:[0-9]+/\Z")
            self.assertIn("INFO:ownhands.access:- - - ", logs.output[0])


class FirstTurnTest(ServerTest):
    @params((Quiet, 0, True), (Quiet, 64, False), (Upper, math.inf, True))
    def test_is_not_taken_at_once_where_turns_are_slow(self, handler, turns, is_taken):
        server = HTTPServer("127.0.0.1", 0, handler)
        engine = mock.Mock(is_cautious=turns > 0)
        taken = mock.Mock()
        thread = EngineThread(mock.Mock(daemon=True), lambda: server._take_first_turn(taken), "a")
        thread.engine = engine
        thread.start()
        thread.join(PATIENCE)
        self.assertEqual((is_taken, taken if is_taken else None), (taken.take_turn.called, thread.connection))


class AcceptedTest(ServerTest):
    def test_a_timeout_that_get_request_has_set_stays(self):
        class Telling(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(str(self.request.gettimeout()).encode())

        class Hurried(HTTPServer):
            def get_request(self):
                connection, address = super().get_request()
                connection.settimeout(1.5)
                return connection, address

        with Hurried("127.0.0.1", 0, Telling) as server:
            self.assertEqual(b"1.5", self.read(self.connect(server)))


class LanesTest(unittest.TestCase):
    @params((3, 64, 9, 3), (3, 2, 9, 2), (0, 64, 9, 1), (3, 64, 2, 2))
    def test_or_as_one_says(self, lanes, max_threads, max_connections, count):
        server = HTTPServer(lanes=lanes, max_threads=max_threads, max_connections=max_connections)
        self.assertEqual(count, server.lane_count)

    def test_all_end_where_one_cannot_start(self):
        server = HTTPServer("127.0.0.1", 0, Quiet, lanes=2)
        starts = [EngineThread.start, mock.Mock(side_effect=RuntimeError("can't start new thread"))]
        with (mock.patch.object(EngineThread, "start", lambda thread: starts.pop(0)(thread)),
              self.assertRaisesRegex(RuntimeError, "new thread")):
            server.serve_forever()
        wait_for(lambda: not any(isinstance(thread, EngineThread) and thread.engine.clock is server.clock
                                 for thread in threading.enumerate()))

    def test_what_comes_by_hand_goes_to_the_emptier_one(self):
        server = HTTPServer("127.0.0.1", 0, Quiet, lanes=2)
        server.start()
        self.addCleanup(server.stop)
        for count in range(1, 5):
            ours, theirs = socket.socketpair()
            self.addCleanup(ours.close)
            server.on_connect(theirs)
            wait_for(lambda: sum(engine.connections for engine in server._engines) == 2 + count)  # noqa: B023
        self.assertEqual([3, 3], [engine.connections for engine in server._engines])

    @params((True, 8, 64, 1), (False, 8, 64, 8), (False, 32, 64, 8), (False, 8, 16, 2), (False, 8, 4, 1), (False, 1, 64, 1))
    def test_there_are_as_many_as_help(self, has_gil, cores, max_threads, lanes):
        with (mock.patch("sys._is_gil_enabled", return_value=has_gil, create=True),
              mock.patch("os.cpu_count", return_value=cores)):
            self.assertEqual(lanes, HTTPServer(max_threads=max_threads).lane_count)

    def test_one_that_is_full_is_not_waited_for_by_the_others(self):
        server = HTTPServer("127.0.0.1", 0, Quiet, lanes=2)
        server.start()
        self.addCleanup(server.stop)
        first, second = server._engines
        wait_for(lambda: first.connections and second.connections)  # the listener
        acceptor = first._list.watches[server.socket.fileno()].turner
        self.assertEqual([True], acceptor.others_lead())
        second.max_connections = 0
        self.assertEqual([False], acceptor.others_lead())

    def test_the_last_one_closes_the_listener(self):
        server = HTTPServer("127.0.0.1", 0, Quiet, lanes=2)
        server.start()
        self.addCleanup(server.stop)
        first, second = server._engines
        first.stop()
        wait_for(lambda: first.has_ended)
        with socket.create_connection(server.server_address, PATIENCE) as client:
            client.sendall(GET)
            self.assertIn(b"200 OK", client.recv(65536))
        second.stop()
        server._over.wait(PATIENCE)
        self.assertIsNone(server.socket)


class DescriptorsTest(ServerTest):
    @params((32, 16), (1000, 936), (100_000, 10_000))
    def test_there_are_connections_for_however_few(self, descriptors, connections):
        with mock.patch("ownhands.lifecycle.max_descriptors", return_value=descriptors):
            server = self.serve(lanes=1)
        self.assertEqual(connections, server._engines[0].max_connections)


class StartTest(ServerTest):
    def test_raises_what_keeps_it_from_serving(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        with mock.patch.object(EngineThread, "start", side_effect=RuntimeError("no thread left")):
            self.assertRaisesRegex(RuntimeError, "no thread left", server.start)
        self.assertIsNone(server.socket)


class StopTest(ServerTest):
    def setUp(self):
        self.enterContext(mock.patch("ownhands.stopping.TIDY_FOR", 0.01))

    def test_with(self):
        with HTTPServer("127.0.0.1", 0, Quiet) as server:
            self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))
        self.assertIsNone(server.socket)

    def test_no_thread_is_left(self):
        with HTTPServer("127.0.0.1", 0, Quiet) as server:
            self.answer(self.connect(server, GET))
            engines = server._engines
        threads = [thread for thread in threading.enumerate()
                   if isinstance(thread, EngineThread) and thread.engine in engines]
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())

    def test_start_and_stop_any_number_of_times(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        for _ in range(5):
            server.start()
            server.start()
            self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))
            server.stop()
            server.stop()

    def test_whoever_starts_it_as_well_finds_it_open(self):
        found = []

        class Server(HTTPServer):
            def server_bind(self):
                other.start()
                other.join(0.05)  # as opening takes its time
                super().server_bind()

        server = Server("127.0.0.1", 0, Quiet)
        other = threading.Thread(target=lambda: (server.start(), found.append(server.server_address[1])))
        server.start()
        self.addCleanup(server.stop)
        other.join(PATIENCE)
        self.assertEqual(found, [server.server_address[1]])

    def test_from_many_threads_at_once(self):
        server = self.serve()
        threads = [threading.Thread(target=server.stop) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())

    def test_from_inside_a_handler(self):
        class Stopper(RequestHandler):
            def do_GET(self, request):
                self.server.stop()
                return "bye"

        server = self.serve(Stopper)
        self.assertIn(b"Connection: close", self.read(self.connect(server, GET)))
        wait_for(lambda: not server._engines)

    def test_before_serving(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        server.stop()
        with contextlib.redirect_stdout(io.StringIO()) as said:
            server.serve()
        self.assertIsNone(server.socket)
        self.assertEqual(said.getvalue(), "")

    def test_a_request_in_flight_is_answered_and_its_connection_closed(self):
        server, client, block = self.hold()
        thread = threading.Thread(target=server.stop)
        thread.start()
        while not server.is_stopping:
            pass
        block.end()
        received = self.read(client)
        thread.join(PATIENCE)
        self.assertIn(b"Connection: close\r\n", received)
        self.assertTrue(received.endswith(b"/slow\n"))

    def test_meanwhile_the_listener_is_closed(self):
        server, _, block = self.hold()
        thread = threading.Thread(target=server.stop)
        thread.start()

        def is_refused():
            try:
                socket.create_connection(server.server_address, PATIENCE).close()
            except ConnectionError:
                return True

        wait_for(is_refused)
        block.end()
        thread.join(PATIENCE)

    def test_an_idle_connection_is_closed(self):
        server = self.serve()
        client = self.connect(server, GET)
        self.answer(client)
        server.stop()
        self.assertEqual(b"", self.read(client))

    def test_what_outlives_the_timeout_is_named_and_cut(self):
        server, client, _ = self.hold(shutdown_timeout=0.01)
        with self.assertLogs("ownhands", "ERROR") as logs:
            server.stop()
        self.assertRegex(logs.output[0], r"(?s)Held did not end in 0\.01 s.*do_GET")
        self.assertEqual(b"", self.read(client))

    def test_then_serve_says_so(self):
        server, _, block = self.hold(shutdown_timeout=0.01)
        with self.assertLogs("ownhands", "ERROR"):
            server.stop()
        block.end()
        self.assertTrue(server._was_cut)

    def test_half_a_request_is_cut_too(self):
        server = self.serve(shutdown_timeout=0.01)
        client = self.connect(server, GET.replace(b"GET", b"POST").replace(
            b"\r\n\r\n", b"\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
        self.assertIn(b"100", self.answer(client))
        with self.assertLogs("ownhands", "ERROR") as logs:
            server.stop()
        self.assertRegex(logs.output[0], r"<Quiet of .* at <Request POST / HTTP/1\.1>> was not done in 0\.01 s")
        self.assertEqual(b"", self.read(client))

    def test_so_is_an_answer_that_nobody_takes(self):
        server = self.serve(type("Large", (Quiet,), {"do_GET": lambda *_: Response(b"x" * 50_000_000)}),
                            shutdown_timeout=0.01, lanes=1)
        self.connect(server, GET)
        wait_for(lambda: any(watch.wanted == WRITE for watch in list(server._engines[0]._list.watches.values())))
        with self.assertLogs("ownhands", "ERROR") as logs:
            server.stop()
        self.assertRegex(logs.output[0], r"<Large of .* at <Request GET / HTTP/1\.1>> was not done")
        self.assertTrue(server._was_cut)

    def test_what_is_cut_in_a_turn_does_not_look_whole_either(self):
        def pieces():
            yield b"one"
            block()

        block = Block()
        self.addCleanup(block.end)
        server = self.serve(type("Endless", (Quiet,), {"do_GET": lambda *_: Response(pieces())}), shutdown_timeout=0.01)
        client = self.connect(server, GET.replace(b"1.1", b"1.0"))
        block.wait()
        with self.assertLogs("ownhands", "ERROR"):
            server.stop()
        self.assertIn(b"one", self.answer(client))
        block.end()
        self.assertRaises(ConnectionResetError, self.read, client)

    def test_can_be_waited_for(self):
        server = HTTPServer("127.0.0.1", 0, Quiet)
        server.wait()
        server.start()
        threading.Thread(target=server.stop).start()
        server.wait()
        self.assertIsNone(server.socket)

    def test_from_a_handler_of_another_server_waits(self):
        class Stopper(RequestHandler):
            def do_GET(self, request):
                other.stop()
                return f"{other.socket} {other._over.is_set()}"

        other, client, block = self.hold()
        asking = self.connect(self.serve(Stopper), GET)
        wait_for(lambda: other.is_stopping)
        block.end()
        self.assertTrue(self.answer(asking).endswith(b"None True"))

    def test_though_server_close_fails(self):
        class Failing(HTTPServer):
            closed = 0

            def server_close(self):
                self.closed += 1
                super().server_close()
                raise FileNotFoundError("there is no such socket")

        server = Failing("127.0.0.1", 0, Quiet)
        server.start()
        with self.assertLogs("ownhands", "ERROR"):
            server.stop()
        self.assertEqual((1, None), (server.closed, server.socket))

    def test_what_is_left_of_one_life_does_not_end_the_next(self):
        server = self.serve()
        left = Acceptor(server, server.clock, life=server._over)
        server.stop()
        server.start()
        server._close_turner(left)
        self.assertIn(b"200 OK", self.answer(self.connect(server, GET)))
