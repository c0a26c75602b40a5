"""How a WSGI application's content ends: lengths, close, failures, files; and early hints."""
import bz2
import contextvars
import gzip
import io
import lzma
import os
import socket
import tempfile
import threading
import unittest
from http.client import HTTPConnection
from itertools import product
from typing import Any
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.gateway import FileWrapper
from ownhands.testing import MockClient, MockConnection, parse_replies
from ownhands.wsgi import WSGIHandler, make_server

from .applications import TEXT, answering, head, hello, send, server_for, without_log
from .turns import Session


class Closable:
    """An iterable of these pieces that counts how often it is closed; an exception among them is raised."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces, self.closed = iter(pieces), 0

    def __iter__(self) -> "Closable":
        return self

    def __next__(self) -> bytes:
        piece = next(self.pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1


class ContentLengthTest(unittest.TestCase):
    @params([b"ab"], [b"abcd"], [], iter([b"abcd"]), iter([]), ((b"a", b"b"),))
    @without_log
    def test_that_is_wrong_and_known_to_be_is_an_error(self, result: Any) -> None:
        self.assertIn(b" 500 ", send(answering(result, headers=[("Content-Length", "3")]), head()).sent)

    @params((iter([b"ab", b"cd"]), b"\r\n\r\nab"), (iter([b"a", b"b"]), b"\r\n\r\nab"))
    @without_log
    def test_that_is_not_kept_ends_the_connection(self, result: Any, end: bytes) -> None:
        sent = send(answering(result, headers=[("Content-Length", "3")]), head() * 2).sent
        self.assertEqual((sent.count(b"HTTP/1.1"), sent.endswith(end)), (1, True))

    def test_of_the_application_is_sent_once(self) -> None:
        sent = send(answering(iter([b"ab", b"c"]), headers=[("content-length", "3")]), head()).sent
        self.assertEqual((sent.lower().count(b"content-length"), b"Transfer-Encoding" in sent), (1, False))


class CloseTest(unittest.TestCase):
    @params(
        ("GET", b"a", b"b"), ("GET",), ("GET", b""), ("HEAD", b"a", b"b"), ("GET", ValueError()),
        ("GET", b"a", ValueError()),
        ("GET", "text"), ("GET", b"a", "text"))
    @without_log
    def test_is_called_once(self, method: str, *pieces: Any) -> None:
        result = Closable(*pieces)
        send(answering(result), head(method=method))
        self.assertEqual(result.closed, 1)

    @params(0, 10, 200)
    def test_is_called_when_the_client_leaves(self, after: int) -> None:
        result = Closable(b"a" * 100, b"b" * 100)
        server_for(answering(result)).on_connect(MockConnection(head(), fail_after=after))
        self.assertEqual(result.closed, 1)

    @without_log
    def test_is_called_without_start_response(self) -> None:
        result = Closable(b"a")
        send(lambda environ, start_response: result, head())
        self.assertEqual(result.closed, 1)

    @without_log
    def test_that_fails_costs_nobody_the_answer(self) -> None:
        result = Closable(b"a", b"b")
        result.close = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        self.assertEqual(parse_replies(send(answering(result), head()).sent)[0].content, b"ab")

    def test_comes_when_all_is_sent(self) -> None:
        connection = MockConnection(head())
        sent = []
        result = Closable(b"a", b"b")
        result.close = lambda: sent.append(connection.sent)  # type: ignore[method-assign]
        server_for(answering(result)).on_connect(connection)
        self.assertTrue(sent[0].endswith(b"0\r\n\r\n"))


class SizedClosable(Closable):
    """One that says how many pieces it has."""

    def __init__(self, length: Any, *pieces: Any) -> None:
        super().__init__(*pieces)
        self.length = length

    def __len__(self) -> int:
        if isinstance(self.length, Exception):
            raise self.length
        return self.length  # type: ignore[no-any-return]


class PiecesTest(unittest.TestCase):
    """Of iterables that are the application's own: nobody else's request may come between two of their pieces."""

    def test_come_from_one_thread_that_serves_nobody_else_meanwhile(self) -> None:
        user = contextvars.ContextVar("user", default="nobody")
        threads: set[int] = set()
        seen: list[str] = []

        def pieces() -> Any:
            for _ in range(200):
                threads.add(threading.get_ident())
                user.set("alice")
                yield b"x" * 65536
            user.set("nobody")

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/slow":
                threads.add(threading.get_ident())
                return pieces()
            seen.append(user.get())
            return [b"ok"]

        def ask(path: str) -> socket.socket:
            client = socket.create_connection(server.server_address, 10)
            client.sendall(head(path, version="1.0"))
            return client

        with HTTPServer("127.0.0.1", 0, WSGIHandler, application=staticmethod(application)) as server:
            with ask("/slow") as slow:
                slow.recv(1)
                for _ in range(5):
                    with ask("/") as quick:
                        quick.recv(1000)
                while slow.recv(1 << 20):
                    pass
            with ask("/") as quick:
                quick.recv(1000)
        self.assertEqual((seen, len(threads)), (["nobody"] * 6, 1))

    @params((iter, ()), (lambda pieces: SizedClosable(1, *pieces), (1,)))
    def test_that_are_all_there_wait_for_no_client(self, make: Any, closed: Any) -> None:
        result = make([b"x" * 100])
        session = Session(WSGIHandler, room=50, application=staticmethod(
            answering(result, headers=[("Content-Length", "100")])))
        session.send(head())
        self.assertEqual((len(session.wire.sent), getattr(result, "closed", None)), (50, closed[0] if closed else None))
        session.take()
        self.assertEqual(session.replies()[0].content, b"x" * 100)

    def test_end_where_the_server_has_to_end(self) -> None:
        handlers: list[Any] = []

        class Handler(WSGIHandler):
            def on_request(self, request: Any) -> Any:
                handlers.append(self)
                return super().on_request(request)

        class Endless(Closable):
            def __next__(self) -> bytes:
                if len(sent := handlers[0].connection.sent) > 5000:
                    raise AssertionError("it goes on")
                if sent:
                    handlers[0].cut()
                return b"x" * 100

        result = Endless()
        connection = MockConnection(head(version="1.0"))
        with self.assertNoLogs("ownhands", "ERROR"):
            HTTPServer(handler=Handler, application=staticmethod(answering(result))).on_connect(connection)
        self.assertEqual(result.closed, 1)

    def test_do_not_wait_for_one_who_takes_too_little_of_all_of_them(self) -> None:
        def wait(connection: Any, timeout: float) -> bool:
            session.clock.now += 1
            session.wire.room = 100
            return timeout > 0

        result = Closable(*[b"x" * 100] * 100)
        session = Session(WSGIHandler, room=0, application=staticmethod(answering(result)))
        with mock.patch("ownhands.wsgi_answers.wait_until_taken", wait), self.assertLogs("ownhands", "INFO") as logs:
            session.send(head())
        self.assertEqual((session.clock.now < 1020, result.closed, session.is_over), (True, 1, True))
        self.assertIn("octets of an answer and then no more", logs.output[0])

    @params(*product((False, True), ("200 OK", "204 No Content"), (0, 1, 2), (5, 2_000_000)))
    def test_may_be_closed_by_what_reads_the_rest_of_the_content(
            self, streams: bool, status: str, count: int, size: int) -> None:
        class Reading(SizedClosable):
            def close(self) -> None:
                rests.append(len(environs[0]["wsgi.input"].read()))

        def application(environ: Any, start_response: Any) -> Any:
            environs.append(environ)
            start_response(status, [])
            return Reading(count, *[b"x"] * count)

        environs: list[Any] = []
        rests: list[int] = []
        octets = [head(method="POST", fields=f"Content-Length: {size}\r\n"), bytes(size)]
        send(application, octets, stream_content=streams)
        self.assertEqual(rests, [size])

    def test_that_are_all_there_tell_whether_the_connection_goes_on(self) -> None:
        octets = [head(method="POST", fields="Content-Length: 200000\r\n")]
        sent = send(answering([b"x" * 40_000] * 2), octets, stream_content=True).sent
        self.assertEqual(parse_replies(sent)[0].fields.get("Connection"), "close")

    def test_that_reach_the_content_length_are_sent_before_the_application_goes_on(self) -> None:
        ends = []

        def pieces() -> Any:
            yield b"a"
            yield b"b"
            ends.append(connection.sent[-2:])

        connection = MockConnection(head())
        server_for(answering(pieces(), headers=[("Content-Length", "2")])).on_connect(connection)
        self.assertEqual(ends, [b"ab"])

    @params(TypeError(), ValueError(), NotImplementedError(), 2)
    def test_may_come_from_what_does_not_know_its_length(self, length: Any) -> None:
        self.assertEqual(parse_replies(send(answering(SizedClosable(length, b"a", b"b")), head()).sent)[0].content, b"ab")

    @params(b"x\r\n", b"")
    def test_that_wait_for_a_content_that_is_none_are_no_fault_of_the_application(self, end: bytes) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            yield b"begun"
            yield environ["wsgi.input"].read()

        octets = head(method="POST", fields="Transfer-Encoding: chunked\r\n") + b"1\r\na\r\n"
        with self.assertNoLogs("ownhands", "WARNING"):
            sent = send(application, [octets, end], stream_content=True).sent
        self.assertEqual((sent.count(b"begun"), sent.endswith(b"0\r\n\r\n")), (1, False))


class FailureTest(unittest.TestCase):
    @without_log
    def test_before_the_head_is_answered(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            raise ValueError("secret")

        sent = send(application, head() * 2).sent
        self.assertEqual([reply.status for reply in parse_replies(sent)], [500, 500])
        self.assertNotIn(b"secret", sent)

    @without_log
    def test_behind_the_head_leaves_out_the_last_chunk(self) -> None:
        sent = send(answering(Closable(b"a", ValueError())), head() * 2).sent
        self.assertEqual((sent.count(b"HTTP/1.1"), sent.endswith(b"1\r\na\r\n")), (1, True))

    @without_log
    def test_without_an_application(self) -> None:
        self.assertEqual(MockClient(HTTPServer(handler=WSGIHandler))("/").status, 500)

    def test_an_application_may_be_false(self) -> None:
        class Empty:
            def __len__(self) -> int:
                return 0

            def __call__(self, environ: Any, start_response: Any) -> Any:
                return hello(environ, start_response)

        class Handler(WSGIHandler):
            application = Empty()

        self.assertEqual(MockClient(HTTPServer(handler=Handler))().content, b"hello")

    def test_connect_is_refused(self) -> None:
        sent = send(hello, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").sent
        self.assertEqual(parse_replies(sent)[0].status, 501)


class FileWrapperTest(unittest.TestCase):
    @staticmethod
    def wrapping(file: Any, headers: Any = TEXT) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", headers)
            return environ["wsgi.file_wrapper"](file, 4)
        return application

    def make_file(self, content: bytes = b"0123456789", at: int = 2) -> Any:
        file = tempfile.TemporaryFile()  # noqa: SIM115  the server closes it
        self.addCleanup(file.close)
        file.write(content)
        file.seek(at)
        return file

    @params((TEXT, b"23456789"), ([("Content-Length", "3")], b"234"))
    def test_of_a_file_has_its_length(self, headers: Any, content: bytes) -> None:
        file = self.make_file()
        reply = parse_replies(send(self.wrapping(file, headers), head()).sent)[0]
        self.assertEqual((reply.content, reply.fields["Content-Length"], file.closed),
                         (content, str(len(content)), True))

    def test_of_another_source_ends_with_its_content_length(self) -> None:
        reply = parse_replies(send(self.wrapping(io.BytesIO(b"0123456789"), [("Content-Length", "3")]), head()).sent)[0]
        self.assertEqual(reply.content, b"012")

    def test_behind_write_ends_with_the_content_length(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "5")])(b"ab")
            return environ["wsgi.file_wrapper"](io.BytesIO(b"cdefgh"))

        self.assertEqual(parse_replies(send(application, head()).sent)[0].content, b"abcde")

    def test_is_closed_by_who_has_only_its_iterator(self) -> None:
        file = io.BytesIO(b"abc")
        iter(FileWrapper(file)).close()  # type: ignore[attr-defined]
        self.assertTrue(file.closed)

    def test_can_be_sought_where_the_file_can(self) -> None:
        wrapper: Any = FileWrapper(io.BytesIO(b"abcdef"))
        wrapper.seek(4)
        self.assertEqual((wrapper.seekable(), wrapper.tell(), list(wrapper)), (True, 4, [b"ef"]))

    def test_of_another_source_is_sent_in_chunks(self) -> None:
        file = io.BytesIO(b"0123456789")
        reply = parse_replies(send(self.wrapping(file), head()).sent)[0]
        self.assertEqual((reply.content, reply.fields["Transfer-Encoding"], file.closed),
                         (b"0123456789", "chunked", True))

    @params((b"", b""), (b"abc", b"abc"))
    def test_of_a_whole_file_may_be_empty(self, content: bytes, expected: bytes) -> None:
        reply = parse_replies(send(self.wrapping(self.make_file(content, 0)), head()).sent)[0]
        self.assertEqual((reply.content, reply.fields["Content-Length"]), (expected, str(len(content))))

    @params(gzip.open, bz2.open, lzma.open)
    def test_of_a_file_with_another_inside_sends_what_is_read(self, open_file: Any) -> None:
        path = self.enterContext(tempfile.TemporaryDirectory()) + "/packed"
        with open_file(path, "wb") as file:
            file.write(b"0123456789" * 20)
        for headers, content in ((TEXT, b"0123456789" * 20), ([("Content-Length", "3")], b"012")):
            with open_file(path, "rb") as file:
                reply = parse_replies(send(self.wrapping(file, headers), head()).sent)[0]
            self.assertEqual((reply.content, reply.fields.get("Content-Length")),
                             (content, "3" if headers != TEXT else None))

    @unittest.skipUnless(os.access("/proc/self/status", os.R_OK), "there is no such file")
    def test_of_a_file_that_the_system_makes_up_sends_what_is_read(self) -> None:
        file = open("/proc/self/status", "rb")  # noqa: PTH123, SIM115  the server closes it
        self.addCleanup(file.close)
        self.assertIn(b"Name:", parse_replies(send(self.wrapping(file), head()).sent)[0].content)

    def test_of_text_is_an_error_that_says_so(self) -> None:
        with tempfile.TemporaryFile("w+") as file, self.assertLogs("ownhands", "ERROR") as logged:
            file.write("text")
            file.seek(0)
            self.assertIn(b" 500 ", send(self.wrapping(file), head()).sent)
        self.assertIn("gives bytes, not str", logged.output[0])

    @without_log
    def test_of_a_file_that_is_too_short_is_an_error(self) -> None:
        file = self.make_file()
        self.assertIn(b" 500 ", send(self.wrapping(file, [("Content-Length", "9")]), head()).sent)
        self.assertTrue(file.closed)

    def test_to_head_sends_its_length_only(self) -> None:
        file = self.make_file()
        sent = send(self.wrapping(file), head(method="HEAD")).sent
        self.assertEqual((parse_replies(sent, "HEAD")[0].fields["Content-Length"], file.closed), ("8", True))

    def test_goes_out_by_sendfile(self) -> None:
        file = self.make_file(b"x" * 300_000, 0)
        file.flush()
        with (make_server("127.0.0.1", 0, self.wrapping(file)) as server,
              mock.patch("os.sendfile", wraps=os.sendfile) as sendfile):
            server.start()
            client = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            client.request("GET", "/", headers={"Connection": "close"})
            self.assertEqual(client.getresponse().read(), b"x" * 300_000)
            client.close()
        self.assertTrue(sendfile.called and file.closed)


class EarlyHintsTest(unittest.TestCase):
    @staticmethod
    def hinting(*headers: Any) -> Any:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            environ["wsgi.early_hints"](list(headers))
            return hello(environ, start_response)
        return application

    def test_come_before_the_answer(self) -> None:
        sent = send(self.hinting(("Link", "</a>; rel=preload"), ("Link", "</b>")), head()).sent
        reply = parse_replies(sent)[0]
        self.assertEqual([(interim.status, interim.pairs) for interim in reply.interim],
                         [(103, (("Link", "</a>; rel=preload"), ("Link", "</b>")))])

    def test_have_the_names_that_were_given(self) -> None:
        sent = send(self.hinting(("x_odd_", "1"), ("content", "2")), head()).sent
        self.assertTrue(sent.startswith(b"HTTP/1.1 103 Early Hints\r\nx_odd_: 1\r\ncontent: 2\r\n\r\n"))

    def test_do_not_go_to_http_1_0(self) -> None:
        self.assertNotIn(b"103", send(self.hinting(("Link", "</a>")), head(version="1.0")).sent)

    @params(("Link", "a\r\nb"), ("Content-Length", "5"), ("Connection", "close"), ("a b", "c"))
    @without_log
    def test_refuse(self, name: str, value: str) -> None:
        sent = send(self.hinting((name, value)), head()).sent
        self.assertEqual([reply.status for reply in parse_replies(sent)], [500])

    def test_are_too_late_when_the_head_is_out(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            yield b"a"
            environ["wsgi.early_hints"]([("Link", "</a>")])
            yield b"b"

        self.assertEqual(parse_replies(send(application, head()).sent)[0].content, b"ab")
